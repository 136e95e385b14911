"""From a user's value to the parameters of the SQL, as Django's lookups prepare it.

Django prepares in two steps, and so do plans: `at_filter()` makes what happens when a lookup is
built, with its errors at the moment Django raises them; `at_bind()` what happens when it is
compiled. Both know a shorter way for exactly the fields and lookups of Django they name, by the
identity of the functions; everything else goes through Django's own lookup.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import is_
from types import NoneType
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models import Model, fields, lookups
from django.db.models.fields import related_lookups

from turbo_orm.plans.arrays import compares_arrays, elements_as_params, elements_at_filter
from turbo_orm.plans.recording import Group, TupleIn
from turbo_orm.plans.saving import (
    checked_wrapper_of,
    fitting,
    unchanged_kind,
    without_foreign_keys,
    wrapper_of,
)
from turbo_orm.plans.template import Param
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import CONTAINERS, VIEWS, Bail, NoValues, check_container

__all__ = ["Binding", "PrepareAll", "at_bind", "at_filter", "prepare_all"]

Prepare = Callable[[Any], Any]

#: Prepares the values of a step. Those that are as they were are the same tuple.
PrepareAll = Callable[[tuple[Any, ...]], tuple[Any, ...]]

_INTEGERS = {
    fields.IntegerField,
    fields.BigIntegerField,
    fields.SmallIntegerField,
    fields.PositiveIntegerField,
    fields.PositiveSmallIntegerField,
    fields.PositiveBigIntegerField,
    fields.AutoField,
    fields.BigAutoField,
    fields.SmallAutoField,
}
_TEXTS = {fields.CharField, fields.TextField, fields.EmailField, fields.SlugField, fields.URLField}

#: Field and value classes for which `get_prep_value()` returns its argument.
_UNCHANGED = {
    *((each, int) for each in _INTEGERS),
    *((each, str) for each in _TEXTS),
    (fields.FloatField, float),
    (fields.UUIDField, uuid.UUID),
    (fields.BooleanField, bool),
}

#: Field classes which leave None as it is.
_KEEP_NONE = {base for base, _ in _UNCHANGED}


def prepare_all(params: Sequence[Param]) -> tuple[PrepareAll | None, tuple[Any, ...]]:
    """Return what prepares values like those of *params*, and these, prepared; None for nothing.

    *params* were used in a template, and forget their values. Raises `Unsupported` where they can't
    stand for them, `Bail` where these values can't be parameters.
    """
    stored = tuple([param.value if param.is_stored_as_given else param.prepared for param in params])
    prepares: list[Prepare | None] = []
    for param in params:
        if param.is_stored_as_given:
            prepares.append(None)
            continue
        # Django resolves some conditions twice, and uses one of these.
        if param.bad or not param.found or any(each != param.found[0] for each in param.found):
            raise Unsupported(param.bad or f"a value is used {len(param.found)} times")
        if type(param.prepared) is list and None in param.prepared:
            raise Bail
        prepares.append(at_filter(*param.found[0], param.value, negated=param.is_negated))
    for param in params:
        param.value = param.prepared = None
    return (_each(prepares) if any(prepares) else None), stored


def _each(prepares: Sequence[Prepare | None]) -> PrepareAll:
    """Return what prepares the values of a step: those that are as they were are the same tuple."""
    wanted = [index for index, each in enumerate(prepares) if each is not None]
    if len(wanted) == 1:
        at = wanted[0]
        only: Any = prepares[at]

        def prepare_one(values: tuple[Any, ...]) -> tuple[Any, ...]:
            value = values[at]
            stored = only(value)
            return values if stored is value else (*values[:at], stored, *values[at + 1 :])

        return prepare_one

    def prepare(values: tuple[Any, ...]) -> tuple[Any, ...]:
        stored = [
            value if each is None else each(value) for each, value in zip(prepares, values, strict=True)
        ]
        return values if all(map(is_, stored, values)) else tuple(stored)

    return prepare


def at_filter(lookup_class: Any, lhs: Any, value: Any, *, negated: bool) -> Prepare | None:
    """Return what makes a value like *value* into ``Lookup.rhs``; None if that is the value.

    With *negated*, rows are not to meet the condition.
    The function raises `Bail` where a value would change the SQL, and what Django raises.
    Raises `Unsupported` if a value can't be had again from what was made of it.
    """
    kind = type(value)
    if any(isinstance(each, Model) for each in (value if kind in CONTAINERS else (value,))):
        _demand_plain_key(lookup_class, lhs)
    if kind in CONTAINERS:
        return _container_at_filter(lookup_class, lhs, value, negated)
    output = getattr(lhs, "output_field", None)
    base: Any = without_foreign_keys(output)
    get_prep_lookup = lookup_class.get_prep_lookup
    if get_prep_lookup is lookups.IntegerFieldFloatRounding.get_prep_lookup and kind is not float:
        get_prep_lookup = lookups.Lookup.get_prep_lookup
    if get_prep_lookup in (lookups.Lookup.get_prep_lookup, lookups.Exact.get_prep_lookup):
        if not lookup_class.prepare_rhs or (type(base), kind) in _UNCHANGED:
            return None
        if output is None:
            return _through_lookup(lookup_class, lhs, frozenset())
        get_prep_value = getattr(output, "get_prep_value", None)
        if get_prep_value is None:
            return None
        thorough = _through_field(get_prep_value)
        return _finite(thorough) if (type(base), kind) == (fields.DecimalField, Decimal) else thorough
    if (
        get_prep_lookup is related_lookups.RelatedLookupMixin.get_prep_lookup
        and (type(base), kind) in _UNCHANGED
    ):
        return None
    return _through_lookup(lookup_class, lhs, frozenset())


def _finite(thorough: Prepare) -> Prepare:
    """Return what prepares a `Decimal` for a `DecimalField`, which takes numbers as they are."""
    return lambda value: value if value.is_finite() else thorough(value)


#: Lookups which compare instances by their keys.
_OF_RELATIONS = (related_lookups.RelatedLookupMixin, related_lookups.RelatedIn)


def _demand_plain_key(lookup_class: Any, lhs: Any) -> None:
    """Querysets keep the keys of instances, and prepare them once more when they leave plan mode."""
    if not issubclass(lookup_class, _OF_RELATIONS):
        raise Unsupported("an instance is no key here, and may have no hash where Django asks for it")
    field: Any = without_foreign_keys(getattr(lhs, "output_field", None))
    get_prep_value = getattr(type(field), "get_prep_value", None)
    if not getattr(get_prep_value, "__module__", "django.").startswith("django."):
        raise Unsupported("a field of the project prepares the key of an instance")


def _container_at_filter(lookup_class: Any, lhs: Any, sample: Any, negated: bool) -> Prepare:
    if compares_arrays(lookup_class) and isinstance(sample, list | tuple):
        return elements_at_filter(lookup_class, lhs)
    models = frozenset(type(each) for each in sample if isinstance(each, Model))
    thorough = _through_lookup(lookup_class, lhs, models)
    if lookup_class.get_prep_lookup not in (
        lookups.In.get_prep_lookup,
        related_lookups.RelatedIn.get_prep_lookup,
    ):
        if type(sample) in VIEWS:
            raise Unsupported("it may be kept as it is, and not as the values it has now")
        return thorough
    base = type(without_foreign_keys(getattr(lhs, "output_field", None)))

    def prepare(values: Any) -> Any:
        kinds = set(map(type, values))
        if NoneType in kinds and base in _KEEP_NONE:
            if negated:  # since Django 6.1 it is another condition then
                raise Bail
            kinds.discard(NoneType)  # Django drops it later
        if not kinds:
            return [*values]  # as of others, Django keeps a list
        if len(kinds) == 1 and (base, next(iter(kinds))) in _UNCHANGED:
            return [*values]
        return thorough(values)

    return prepare


def _through_field(get_prep_value: Prepare) -> Prepare:
    def prepare(value: Any) -> Any:
        prepared = get_prep_value(value)
        if (
            prepared is None
            or prepared is True
            or prepared is False
            or hasattr(prepared, "resolve_expression")
        ):
            raise Bail
        return prepared

    return prepare


def _through_lookup(lookup_class: Any, lhs: Any, models: frozenset[type]) -> Prepare:
    def prepare(value: Any) -> Any:
        if isinstance(value, CONTAINERS):
            check_container(value)
            # Query.check_related_objects() looks at the models of the items.
            if {type(each) for each in value if isinstance(each, Model)} != models:
                raise Bail
            if type(value) is list:
                value = [*value]  # as Query.resolve_lookup_value() does
        lookup = lookup_class(lhs, value)
        prepared = lookup.rhs
        if (
            type(lookup) is not lookup_class
            or prepared is None
            or isinstance(prepared, bool)
            or hasattr(prepared, "resolve_expression")
            or (isinstance(prepared, list) and any(each is None for each in prepared))
        ):
            raise Bail
        return prepared

    return prepare


class Binding(NamedTuple):
    """How a group gets its parameters when the SQL is bound."""

    #: None: the prepared value is the parameter.
    prepare: Prepare | None
    #: `prepare` returns a sequence of parameters instead of one.
    many: bool = False
    #: For which values `prepare` is meant: an expression with ``{0}`` for the value. None for all.
    condition: str | None = None
    #: What prepares all values.
    otherwise: Prepare | None = None

    def after(self, prepare: Prepare | None) -> Binding:
        """Return the same for values as they are before *prepare*, which None is nothing for."""
        bind = self.otherwise or self.prepare
        if prepare is None:
            return self
        return Binding(prepare if bind is None else lambda value: bind(prepare(value)), many=self.many)


def at_bind(group: Group, compiler: Any) -> Binding:
    """Return what makes a prepared value into the parameters of *group*."""
    lookup, connection = group.lookup, compiler.connection
    lookup_class = type(lookup)
    output = getattr(lookup.lhs, "output_field", None)
    base: Any = without_foreign_keys(output)
    if lookup_class is TupleIn:
        return Binding(_expand_keys(lookup.lhs.sources[0], connection), many=True)
    if group.list_form is not None and compares_arrays(lookup_class):
        return Binding(elements_as_params(compiler), many=True)
    if group.list_form is not None:
        return Binding(_expand(output, _to_database(base, connection), connection), many=True)
    thorough = _recompile(group, compiler)
    if group.parts > 1:
        return Binding(thorough, many=True)
    if not getattr(lookup_class, f"as_{connection.vendor}", None) and lookup_class.as_sql in _PLAIN_AS_SQL:
        short = _short_binding(lookup, output, base, connection)
        if short is not None:
            return short
    return Binding(lambda value: thorough(value)[0])


_PLAIN_AS_SQL = (
    lookups.BuiltinLookup.as_sql,
    lookups.Exact.as_sql,
    related_lookups.RelatedLookupMixin.as_sql,
)
#: Django 4.2.8 and later: raises for integers the column can't hold.
_CHECKS_OVERFLOW = getattr(getattr(lookups, "IntegerFieldOverflow", None), "process_rhs", None)


def _short_binding(lookup: Any, output: Any, base: Any, connection: Any) -> Binding | None:
    lookup_class = type(lookup)
    process_rhs = lookup_class.process_rhs
    prepares_for_database = (
        lookup_class.get_db_prep_lookup is lookups.FieldGetDbPrepValueMixin.get_db_prep_lookup
    )
    if prepares_for_database and process_rhs in (lookups.Lookup.process_rhs, _CHECKS_OVERFLOW):
        convert = _to_database(base, connection)
        if convert is _ASK_FIELD:
            convert = _database_value_of(output, connection)
        if process_rhs is lookups.Lookup.process_rhs:
            return Binding(_checked(convert))
        low, high = connection.ops.integer_field_range(output.get_internal_type())
        return _within(low, high, convert)
    if lookup_class.get_db_prep_lookup is not lookups.Lookup.get_db_prep_lookup:
        return None
    if process_rhs is lookups.PatternLookup.process_rhs:
        pattern, escape = lookup.param_pattern, connection.ops.prep_for_like_query
        return Binding(lambda value: pattern % escape(value))
    if process_rhs is lookups.IExact.process_rhs:
        return Binding(connection.ops.prep_for_iexact_query)
    return None


def _checked(convert: Prepare | None) -> Prepare | None:
    return checked_wrapper_of(convert) if isinstance(convert, type) else convert


def _within(low: int | None, high: int | None, convert: Prepare | None) -> Binding:
    if low is None or high is None:
        return Binding(_checked(convert))
    wrap = wrapper_of(convert)

    def prepare(value: Any) -> Any:
        if isinstance(value, int) and not low <= value <= high:
            raise Bail
        return value if wrap is None else wrap(value)

    return Binding(wrap, condition=f"{{0}}.__class__ is int and {low} <= {{0}} <= {high}", otherwise=prepare)


def _expand(output: Any, convert: Any, connection: Any) -> Prepare:
    database_value = _database_value_of(output, connection)

    def prepare(values: Any) -> Any:
        try:
            unique = dict.fromkeys(values)
        except TypeError:
            raise Bail from None
        unique.pop(None, None)  # no column is equal to it
        if not unique:
            raise NoValues
        if convert is None and len({*map(type, unique)}) == 1:
            return [*unique]
        return [database_value(each) for each in unique]

    return prepare


def _expand_keys(field: Any, connection: Any) -> Prepare:
    """Return what makes the keys of a `TupleIn` into parameters: as a `Value` of *field* is."""
    unchanged = _to_database(field, connection) is None

    def prepare(values: Any) -> Any:
        if not values:
            raise Bail
        kinds = set(map(type, values))
        if unchanged and len(kinds) == 1 and (type(field), *kinds) in _UNCHANGED:
            return [*values]
        keys = [fitting(field.get_db_prep_value(value, connection)) for value in values]
        if None in keys:
            raise Bail
        return keys

    return prepare


def _recompile(group: Group, compiler: Any) -> Prepare:
    plain_compiler_class = compiler.instrumented()
    template, expected, skip = group.lookup, group.sql, group.lhs_params
    total = skip + group.parts

    def prepare(value: Any) -> Any:
        lookup = copy.copy(template)
        lookup.rhs = value
        try:
            sql, params = plain_compiler_class.compile(compiler, lookup)
        except (EmptyResultSet, FullResultSet):
            raise Bail from None
        if sql != expected or len(params) != total:
            raise Bail
        return tuple(map(fitting, params[skip:]))

    return prepare


def _database_value_of(output: Any, connection: Any) -> Prepare:
    # As FieldGetDbPrepValueMixin.get_db_prep_lookup() looks for it.
    field = getattr(output, "target_field", None)
    get = getattr(field, "get_db_prep_value", None) or output.get_db_prep_value
    return lambda value: fitting(get(value, connection, prepared=True))


def _ASK_FIELD(value: Any) -> Any:  # noqa: N802 - a marker: only the field itself knows
    raise AssertionError("a marker, not a function")


def _to_database(base: Any, connection: Any) -> Prepare | None:
    """Return what `get_db_prep_value(prepared=True)` of *base* does: None for nothing."""
    if unchanged_kind(base, connection) is not None:
        return None
    if type(base) in _INTEGERS:
        types = getattr(connection.ops, "integerfield_type_map", None)
        if types:
            return types[base.get_internal_type()]  # type: ignore[no-any-return]
    return _ASK_FIELD
