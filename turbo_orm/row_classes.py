"""What `values_as()` does: rows as instances of a dataclass, a NamedTuple or a TypedDict.

The class is compared with the model when the queryset is made, so that a misspelt name or a type
which the column does not have is an error at once, and not in the row which shows it first.
"""

from __future__ import annotations

import copyreg
import dataclasses
import datetime as dt
import decimal
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Union, get_args, get_origin

import typing_extensions
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import FlatValuesListIterable, NamedValuesListIterable, ValuesListIterable

from turbo_orm.columns import Column, Columns, paths_of

__all__ = ["values_as"]

#: What fields of Django's own classes give, by what `get_internal_type()` calls them.
_PYTHON_TYPES: Mapping[str, type[Any]] = {
    **dict.fromkeys(("CharField", "TextField", "SlugField", "FilePathField", "FileField"), str),
    **dict.fromkeys(("GenericIPAddressField", "IPAddressField"), str),
    **dict.fromkeys(("AutoField", "BigAutoField", "SmallAutoField"), int),
    **dict.fromkeys(("IntegerField", "BigIntegerField", "SmallIntegerField"), int),
    **dict.fromkeys(("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"), int),
    "BooleanField": bool,
    "DateField": dt.date,
    "DateTimeField": dt.datetime,
    "DecimalField": decimal.Decimal,
    "DurationField": dt.timedelta,
    "FloatField": float,
    "TimeField": dt.time,
    "UUIDField": uuid.UUID,
}


@dataclasses.dataclass(frozen=True)
class _Member:
    """A field of a row class."""

    name: str
    #: ``None`` where the annotation cannot be evaluated.
    type: Any
    #: Whether a row class can be made without it.
    is_optional: bool


def values_as(queryset: Any, row_class: Any, sources: Mapping[str, Any]) -> Any:
    """Return a clone of *queryset* whose rows are instances of *row_class*.

    *sources* are columns or expressions, by the field of the class they are for; the others are
    paths of the model. After `values_list()` or `select()` the fields take its columns in order.
    Raises `TypeError` where class and columns do not fit.
    """
    members = _members(row_class)
    if queryset._fields is None:
        pairs = _named(queryset, row_class, members, sources)
        clone = queryset.values_list(*(source for _, source in pairs))
    else:
        pairs = _ordered(queryset, row_class, members, sources)
        clone = queryset._chain()
    for member, source in pairs:
        if isinstance(source, str):
            _check(row_class, member, queryset, source)
    clone._iterable_class = _iterable(row_class, tuple(member.name for member, _ in pairs))
    return clone


def _named(
    queryset: Any, row_class: type[Any], members: Sequence[_Member], sources: Mapping[str, Any]
) -> list[tuple[_Member, Any]]:
    names = [member.name for member in members]
    for name in sources:
        if name not in names:
            raise TypeError(
                f"values_as() got {name!r}, but {row_class.__name__} has no such field. "
                f"It has: {', '.join(names)}."
            )
    pairs: list[tuple[_Member, Any]] = []
    for member in members:
        source = sources.get(member.name, member.name)
        if isinstance(source, Column | Columns):
            (source,) = paths_of(queryset.model, [source], "values_as()")
        elif member.name not in sources and not _is_path(queryset, member.name):
            if member.is_optional:
                continue
            raise TypeError(
                f"{row_class.__name__}.{member.name} is not a field of {queryset.model.__name__}. Say what "
                f"it is of: values_as({row_class.__name__}, {member.name}=...), a column or an expression."
            )
        pairs.append((member, source))
    return pairs


def _ordered(
    queryset: Any, row_class: type[Any], members: Sequence[_Member], sources: Mapping[str, Any]
) -> list[tuple[_Member, Any]]:
    if sources or not queryset._fields or queryset._iterable_class is not ValuesListIterable:
        made = {FlatValuesListIterable: "flat values", NamedValuesListIterable: "named tuples"}
        raise TypeError(
            f"values_as({row_class.__name__}) cannot be made of "
            f"{made.get(queryset._iterable_class, 'dictionaries')}"
            f"{' with more columns' if sources else ''}: call it on rows of the model, or after select()."
        )
    if _is_typed_dict(row_class):
        raise TypeError(
            f"{row_class.__name__} is a TypedDict, whose keys have no order, so it cannot follow select(): "
            f"use values_as({row_class.__name__}) alone; its keys name the columns."
        )
    required = sum(not member.is_optional for member in members)
    if not required <= len(queryset._fields) <= len(members):
        raise TypeError(
            f"{row_class.__name__} has {len(members)} fields, and the query selects "
            f"{len(queryset._fields)} columns: {', '.join(queryset._fields)}."
        )
    return list(zip(members, queryset._fields, strict=False))


def _members(row_class: Any) -> list[_Member]:
    if not isinstance(row_class, type):
        raise TypeError(f"values_as() takes a class, not {row_class!r}.")
    if dataclasses.is_dataclass(row_class):
        found = [(field.name, _has_default(field)) for field in dataclasses.fields(row_class) if field.init]
    elif issubclass(row_class, tuple) and hasattr(row_class, "_fields"):
        defaults: Mapping[str, Any] = getattr(row_class, "_field_defaults", {})
        found = [(name, name in defaults) for name in typing.cast(Any, row_class)._fields]
    elif _is_typed_dict(row_class):
        required = typing.cast(Any, row_class).__required_keys__
        found = [(name, name not in required) for name in row_class.__annotations__]
    else:
        raise TypeError(
            f"values_as() makes dataclasses, NamedTuples and TypedDicts, and {row_class.__name__} is none."
        )
    hints = _hints(row_class)
    return [
        _Member(name, _unwrapped(hints.get(name)), is_optional or _is_not_required(hints.get(name)))
        for name, is_optional in found
    ]


def _hints(row_class: Any) -> Mapping[str, Any]:
    try:
        return typing_extensions.get_type_hints(row_class, include_extras=True)
    except (NameError, TypeError):  # names which only type checkers import
        return {}


def _is_not_required(hint: Any) -> bool:
    # Where annotations are strings, the class itself takes NotRequired for required.
    return typing_extensions.get_origin(hint) is typing_extensions.NotRequired


def _unwrapped(hint: Any) -> Any:
    """The type inside ``NotRequired[...]``, ``Annotated[...]`` and the like."""
    wrappers = (typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly)
    while typing_extensions.get_origin(hint) in (*wrappers, typing_extensions.Annotated):
        hint = get_args(hint)[0]
    return hint


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_typed_dict(row_class: Any) -> bool:
    return typing.is_typeddict(row_class) or typing_extensions.is_typeddict(row_class)


def _is_path(queryset: Any, path: str) -> bool:
    return path in queryset.query.annotations or _source(queryset.model, path) is not None


def _source(model: type[Model], path: str) -> tuple[Any, bool] | None:
    """Return the field a path leads to, and whether a row may have no value there.

    ``None`` if it leads nowhere; no field where it ends in a transform.
    """
    options: Any = model._meta
    nullable = False
    field: Any = None
    for name in path.split(LOOKUP_SEP):
        if options is None:
            return (None, nullable) if field.get_transform(name) else None
        try:
            field = options.pk if name == "pk" else options.get_field(name)
        except FieldDoesNotExist:
            return None
        nullable = nullable or field.null or field.many_to_many or not field.concrete
        options = field.related_model._meta if field.is_relation and field.related_model else None
    while field.is_relation:
        if field.related_model is None:
            return None
        field = field.target_field if field.concrete and not field.many_to_many else options.pk
    return field, nullable


def _check(row_class: type[Any], member: _Member, queryset: Any, path: str) -> None:
    """Raise `TypeError` if the type of *member* is not that of the column at *path*."""
    known = None if path in queryset.query.annotations else _source(queryset.model, path)
    members = _union_members(member.type)
    if known is None or not all(isinstance(each, type) for each in members) or {object, Any} & {*members}:
        return
    field, nullable = known
    column = f"{queryset.model.__name__}.{path.replace(LOOKUP_SEP, '.')}"
    wanted = " | ".join("None" if each is type(None) else each.__name__ for each in members)
    if nullable and type(None) not in members:
        raise TypeError(
            f"{row_class.__name__}.{member.name} is {wanted}, but {column} may be NULL: "
            f"make it `{wanted} | None`."
        )
    given = _python_type(field)
    if given is not None and not any(issubclass(given, each) for each in members):
        raise TypeError(f"{row_class.__name__}.{member.name} is {wanted}, but {column} is {given.__name__}.")


def _union_members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _python_type(field: Any) -> type[Any] | None:
    """The type of the values of *field*; ``None`` where they are a matter of the field's class."""
    if field is None or hasattr(field, "from_db_value"):
        return None
    return _PYTHON_TYPES.get(field.get_internal_type())


class _RowsMaker(type):
    """The class of the iterable classes made here, for pickles of querysets."""

    row_class: type[Any]
    names: tuple[str, ...]


class _Rows(ValuesListIterable, metaclass=_RowsMaker):  # type: ignore[type-arg]  # not one at run time
    """Yields instances of its ``row_class``, made of the tuples `ValuesListIterable` yields."""

    def __iter__(self) -> Iterator[Any]:
        cls = type(self)
        return map(_maker(cls.row_class, cls.names), super().__iter__())


@lru_cache(maxsize=512)
def _iterable(row_class: type[Any], names: tuple[str, ...]) -> type[Any]:
    """Return Django's kind of class for what makes rows; a queryset clones and pickles with it."""
    return _RowsMaker(f"RowsAs{row_class.__name__}", (_Rows,), {"row_class": row_class, "names": names})


def _rebuilding(made: _RowsMaker) -> tuple[Any, ...]:
    return _iterable, (made.row_class, made.names)


copyreg.pickle(_RowsMaker, _rebuilding)


def _maker(row_class: Any, names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    if _is_typed_dict(row_class):
        return lambda row: dict(zip(names, row, strict=True))
    if getattr(row_class, "_fields", None) == names:
        make: Callable[[tuple[Any, ...]], Any] = row_class._make
        return make
    if dataclasses.is_dataclass(row_class):
        fields: list[dataclasses.Field[Any]] = [
            field for field in dataclasses.fields(row_class) if field.init
        ]
        if not any(field.kw_only for field in fields) and names == tuple(
            field.name for field in fields[: len(names)]
        ):
            return partial(_make_by_position, typing.cast(Any, row_class))
    row_maker: typing.Any = row_class
    return lambda row: row_maker(**dict(zip(names, row, strict=True)))


def _make_by_position(row_class: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    return row_class(*row)
