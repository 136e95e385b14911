"""The chainable methods of a queryset in plan mode: each is a step in the trie of shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.db.models import Model, Prefetch
from django.utils.functional import Promise
from typing_extensions import Self

from turbo_orm.plans.planned import Planned
from turbo_orm.plans.state import ALWAYS_CLONES, PlanMode, djangos
from turbo_orm.plans.steps import (
    Call,
    Extra,
    PrefetchFilter,
    PrefetchFilterOne,
    Slice,
    Taken,
    take_annotations,
    take_combination,
    take_filter,
    take_order,
    take_selection,
    take_union,
)
from turbo_orm.plans.values import Bail

__all__ = ["Chaining"]


def _has_instance(kwargs: Mapping[str, Any]) -> bool:
    """Whether it matters when a filter is done: an instance may get another key."""
    return any(isinstance(value, Model) for value in kwargs.values())


class Chaining(PlanMode):
    """Chainable methods which move through the trie of shapes, or are Django's where they can't."""

    _runtime = True

    #: The state before a filter that is not done yet, and the filter: see `_with_later()`.
    _later: tuple[Planned, dict[str, Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_planned" and (later := self._later) is not None:
            return self._catch_up(*later)
        return super().__getattr__(name)

    def _take(self, taken: Taken | None, django: Callable[[Any], Any]) -> Any:
        """Take a step in plan mode, or let *django* do it and have the result know its shape."""
        planned, trace = self._planned, self._trace
        if planned is not None and taken is not None:
            try:
                found = self._step(taken)
            except Exception:  # Django raises it again, at the time and in the way it does
                found = None
            if found is not None:
                return found
            trace = planned[0]
        result = django(self._ordinary())
        return result if taken is None else self._note(result, trace, taken)

    # Filters.

    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return self._filter_packed(args, kwargs)

    def _filter_packed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = self._planned
        if (
            self._defer_next_filter
            and before is not None
            and not self._sticky_filter
            and not args
            and _has_instance(kwargs)
        ):
            return self._with_later(before, kwargs)
        if not args and (planned := self._known_filter(before, kwargs)) is not None:
            if self._defer_next_filter:
                self._defer_next_filter = False
            return self._derive(planned) if ALWAYS_CLONES or self._cloning_enabled else self._at(planned)
        return self._take_filter(False, args, kwargs)

    def _with_later(self, before: Planned, kwargs: dict[str, Any]) -> Self:
        """Return ``filter(**kwargs)`` of the state *before*, done when the result is first looked at.

        So Django does it for the managers of reverse foreign keys: until then, the instance may get
        another key.
        """
        try:
            found = self._at(before)
        except Exception:  # its class does something to the query, or Django raises it again
            return djangos(self._ordinary(), "filter")(**kwargs)  # type: ignore[no-any-return]
        self._defer_next_filter = False
        return found._put_off(kwargs)

    def _put_off(self, kwargs: dict[str, Any]) -> Self:
        """Have ``filter(**kwargs)`` done here when somebody looks, in the place of what is put off."""
        if self._later is not None:
            self._later = self._later[0], kwargs
        elif self._planned is not None:
            self._later = self._planned, kwargs
            del self._planned  # `__getattr__()` is asked for it then, and for no other queryset
        else:
            self._deferred_filter = False, (), kwargs
        return self

    def _catch_up(self, before: Planned, kwargs: dict[str, Any]) -> Planned | None:
        """Do what `_with_later()` has put off; return the state."""
        planned = self._known_filter(before, kwargs)
        if planned is None:
            # Of no class that has a part in making clones: Django filters in place.
            found: Any = Chaining(self.model)
            found._planned = before
            found = found._take_filter(False, (), kwargs)
            planned = found._planned
            if planned is None:
                self._query, self._trace = found.query, found._trace
        # Another thread may have done it meanwhile.
        kept: Planned | None = vars(self).setdefault("_planned", planned)
        vars(self).pop("_later", None)
        return kept

    def _materialise(self) -> None:
        if self._later is None:
            super()._materialise()
            return
        # Copies and pickles have it still put off, as Django's do: there may be no key to filter by.
        self._planned, kwargs = self._later
        del self._later
        super()._materialise()
        self._trace, self._deferred_filter = None, (False, (), kwargs)

    def exclude(self, *args: Any, **kwargs: Any) -> Any:
        return self._take_filter(True, args, kwargs)

    def _take_filter(self, negated: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        taken = None
        if self._planned is not None or self._trace is not None:
            try:
                taken = take_filter(self._sticky_filter, negated, args, kwargs)
            except Exception:  # Django raises it again
                taken = None
        name = "exclude" if negated else "filter"
        found = self._take(taken, lambda queryset: djangos(queryset, name)(*args, **kwargs))
        if found._planned is not None:
            self._defer_next_filter = False
        return found

    def complex_filter(self, filter_obj: Any) -> Any:
        # As the validation of foreign keys calls it, mostly with an empty one.
        if self._planned is None or type(filter_obj) is not dict:
            return super().complex_filter(filter_obj)
        return self._filter_packed((), filter_obj)

    def _filtered(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Self | None:
        """Return ``filter(*args, **kwargs)`` if that is possible without running foreign code.

        None for a shape that was never seen, and for values such as lazy objects, which
        may query the database when they are looked at.
        """
        planned = self._planned
        if planned is None or planned[0].sliced:
            return None
        try:
            return self._step(take_filter(self._sticky_filter, False, args, kwargs), note=False)
        except Exception:  # Django raises it again, at the time and in the way it does
            return None

    def _prefetched_for(self, name: str, instances: Any) -> Self | None:
        """Return the rows which *name* relates to *instances*, in plan mode; None where it can't."""
        sticky = self._sticky_filter
        key = ("prefetched", name, sticky)
        return self._prefetched(Taken(key, lambda: PrefetchFilter(name, sticky), ([*instances],)))

    def _prefetched_one(self, field: Any, values: list[Any], *, forward: bool) -> Self | None:
        """Return the rows for the keys *values* of *field*, a foreign key, in plan mode; None where it can't.

        Unless *forward*, those whose *field* is one of the instances *values*.
        """
        sticky = self._sticky_filter
        key = ("prefetched", field, forward, sticky)
        return self._prefetched(Taken(key, lambda: PrefetchFilterOne(field, forward, sticky), (values,)))

    def _prefetched(self, taken: Taken) -> Self | None:
        if self._planned is None:
            return None
        try:
            return self._step(taken)
        except Exception:  # Django raises it again
            return None

    # Methods which take names.

    def _take_names(
        self,
        name: str,
        args: tuple[Any, ...],
        options: tuple[tuple[str, bool], ...] = (),
        otherwise: Callable[..., Any] | None = None,
    ) -> Any:
        """Call the method *name*, whose arguments are to be names and flags; *otherwise* with other ones."""
        if self._sticky_filter or not _STRINGS.issuperset(map(type, args)):
            call = djangos(self, name) if otherwise is None else partial(otherwise, self)
            return call(*args, **dict(options))
        key = (name, options, args)
        planned = self._known(key)
        if planned is not None:
            found = self._derive(planned) if ALWAYS_CLONES or self._cloning_enabled else self._at(planned)
        else:
            if self._planned is None and self._trace is None:
                return djangos(self, name)(*args, **dict(options))
            taken = Taken(key, lambda: Call(name, args, options))
            found = self._take(taken, lambda queryset: djangos(queryset, name)(*args, **dict(options)))
            planned = found._planned
        if name in _CHANGES_ROWS and planned is not None:
            found._fields, found._iterable_class = planned[0].fields, planned[0].iterable
        return found

    def order_by(self, *field_names: Any) -> Any:
        return self._take_names("order_by", field_names, (), Chaining._order_by_expressions)

    def _clear_ordering(self) -> bool:
        """Have no order any more, in place; return False, and do nothing, if that ends plan mode."""
        if self._planned is None or self._planned[3] is not None:
            return False
        planned = Chaining.order_by(self)._planned
        if planned is None:
            return False
        self._planned = planned
        return True

    def reverse(self) -> Any:
        return self._take_names("reverse", ())

    def none(self) -> Any:
        return self._take_names("none", ())

    def distinct(self, *field_names: Any) -> Any:
        return self._take_names("distinct", field_names)

    def only(self, *fields: Any) -> Any:
        return self._take_names("only", fields)

    def defer(self, *fields: Any) -> Any:
        return self._take_names("defer", fields)

    def select_related(self, *fields: Any) -> Any:
        if not fields:  # Django warns of it, each time
            return super().select_related()
        return self._take_names("select_related", fields)

    def values(self, *fields: Any, **expressions: Any) -> Any:
        if expressions or not _STRINGS.issuperset(map(type, fields)):
            return self._take_selection("values", fields, expressions, ())
        return self._take_names("values", fields)

    def values_list(self, *fields: Any, flat: bool = False, named: bool = False) -> Any:
        if flat and not fields:  # Django warns of it, each time
            return super().values_list(flat=flat, named=named)
        if type(flat) is not bool or type(named) is not bool:
            return super().values_list(*fields, flat=flat, named=named)
        options = (("flat", flat), ("named", named))
        if not _STRINGS.issuperset(map(type, fields)):
            return self._take_selection("values_list", fields, {}, options)
        return self._take_names("values_list", fields, options)

    def _take_selection(
        self,
        name: str,
        fields: tuple[Any, ...],
        expressions: Mapping[str, Any],
        options: tuple[tuple[str, bool], ...],
    ) -> Any:
        """Call the method *name*, ``values`` or ``values_list``, some of whose arguments are expressions."""
        taken = None
        # Django calls annotate(). And it warns of odd names, which it must not when steps are repeated.
        if self._notes() and not self._overrides("annotate") and all(map(str.isidentifier, expressions)):
            try:
                taken = take_selection(name, fields, expressions, options)
            except Exception:  # Django raises it again, or does what plans can't
                taken = None
        found = self._take(
            taken,
            lambda queryset: djangos(queryset, name)(*fields, **expressions, **dict(options)),
        )
        planned = found._planned
        if planned is not None:
            found._fields, found._iterable_class = planned[0].fields, planned[0].iterable
        return found

    def _notes(self) -> bool:
        """Whether a step is looked for: the shape is known, and Django does nothing special next."""
        return (self._planned is not None or self._trace is not None) and not self._sticky_filter

    # Others.

    def _order_by_expressions(self, *expressions: Any) -> Any:
        taken = None
        if self._notes():
            with suppress(Bail):
                taken = take_order(expressions)
        return self._take(taken, lambda queryset: djangos(queryset, "order_by")(*expressions))

    def select_for_update(
        self, nowait: bool = False, skip_locked: bool = False, of: Sequence[str] = (), no_key: bool = False
    ) -> Any:
        options: dict[str, Any] = {"nowait": nowait, "skip_locked": skip_locked, "of": of, "no_key": no_key}
        taken = None
        names = tuple(of) if isinstance(of, list | Promise) else of  # lazy, where a project asks the backend
        if (
            not self._sticky_filter
            and _BOOLEANS.issuperset(map(type, (nowait, skip_locked, no_key)))
            and type(names) is tuple
            and _STRINGS.issuperset(map(type, names))
        ):
            items = tuple({**options, "of": names}.items())
            taken = Taken(("select_for_update", *items), lambda: Call("select_for_update", (), items))
        found = self._take(taken, lambda queryset: djangos(queryset, "select_for_update")(**options))
        found._for_write = True
        return found

    def annotate(self, *args: Any, **kwargs: Any) -> Any:
        return self._take_annotations("annotate", args, kwargs)

    def alias(self, *args: Any, **kwargs: Any) -> Any:
        return self._take_annotations("alias", args, kwargs)

    def _take_annotations(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        taken = None
        if self._notes():
            try:
                named = _named(args, kwargs)
                # Django warns of odd names, and must not do so again when steps are repeated.
                if all(map(str.isidentifier, named)):
                    taken = take_annotations(method, named)
            except Exception:  # Django raises it again, or does what plans can't
                taken = None
        return self._take(taken, lambda queryset: djangos(queryset, method)(*args, **kwargs))

    def __and__(self, other: Any) -> Any:
        return self._combine("__and__", other)

    def __or__(self, other: Any) -> Any:
        return self._combine("__or__", other)

    def __xor__(self, other: Any) -> Any:
        return self._combine("__xor__", other)

    def _combine(self, operator: str, other: Any) -> Any:
        if (
            not (self._notes() and isinstance(other, PlanMode))
            or (self._fields is not None or other._fields is not None)
            or (self._is_none() or other._is_none())  # Django returns one of the two
        ):
            return djangos(self, operator)(other)
        try:
            taken = take_combination(operator, other)
        except Bail:
            return djangos(self, operator)(other)
        found = self._take(taken, lambda queryset: djangos(queryset, operator)(other._ordinary()))
        if found._planned is not None:
            found._merge_known_related_objects(other)
        return found

    def union(self, *other_qs: Any, all: bool = False) -> Any:  # noqa: A002 - Django's name
        return self._unite("union", other_qs, (("all", all),))

    def intersection(self, *other_qs: Any) -> Any:
        return self._unite("intersection", other_qs)

    def difference(self, *other_qs: Any) -> Any:
        return self._unite("difference", other_qs)

    def _unite(self, method: str, others: tuple[Any, ...], options: tuple[tuple[str, bool], ...] = ()) -> Any:
        taken = None
        # Of those which are none Django returns another one, or leaves it out.
        if (
            others
            and self._notes()
            and _BOOLEANS.issuperset([type(value) for _, value in options])
            and all(isinstance(each, Chaining) and not each._is_none() for each in (self, *others))
        ):
            with suppress(Bail):
                taken = take_union(method, others, options)
        return self._take(taken, lambda queryset: djangos(queryset, method)(*others, **dict(options)))

    def _is_none(self) -> bool:
        """Whether it is in plan mode, and `none()` was called."""
        return self._planned is not None and self._planned[0].template.query.is_empty()

    def extra(self, *args: Any, **kwargs: Any) -> Any:
        select = kwargs.get("select")
        if (
            self._planned is None
            or self._sticky_filter
            or args
            or any(value for name, value in kwargs.items() if name != "select")
            or not isinstance(select, dict)
            or not all(type(each) is str for item in select.items() for each in item)
        ):
            return super().extra(*args, **kwargs)
        items = tuple(select.items())
        return self._take(
            Taken(("extra", items), lambda: Extra(items)),
            lambda queryset: djangos(queryset, "extra")(select=select),
        )

    def prefetch_related(self, *lookups: Any) -> Any:
        none = lookups == (None,)
        if (
            self._planned is None
            or self._planned[0].template.query.combinator  # Django refuses that
            or not (
                _STRINGS.issuperset(map(type, lookups))
                or none
                or all(isinstance(each, str | Prefetch) for each in lookups)
            )
        ):
            return super().prefetch_related(*lookups)
        clone = self._chain()
        clone._prefetch_related_lookups = () if none else (*clone._prefetch_related_lookups, *lookups)
        return clone

    @property
    def ordered(self) -> bool:
        """Whether the rows have an order; see Django."""
        return super().ordered if self._planned is None else self._planned[0].template.ordered

    def __getitem__(self, key: Any) -> Any:
        if type(key) is not slice or self._result_cache is not None or self._sticky_filter:
            return super().__getitem__(key)
        low, high = key.start, key.stop
        if low is None and type(high) is int and high > 0 and key.step is None:
            limits: tuple[int, int | None] | None = (0, high)  # as _limits() says
        else:
            limits = _limits(key)
        if limits is None or self._planned is None:
            return self._note(super().__getitem__(key), self._trace, _SLICED)
        planned = self._known("slice", limits)
        if planned is not None:
            return self._derive(planned) if ALWAYS_CLONES or self._cloning_enabled else self._at(planned)
        found = self._take(_SLICED, lambda queryset: djangos(queryset, "__getitem__")(key))
        if found._planned is not None:
            node, values, given, _, chained = found._planned
            found._planned = node, values, given, limits, chained
        return found


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all annotations by name. Raises `Bail` where two have the same."""
    named = {**{each.default_alias: each for each in args}, **kwargs}
    if len(named) != len(args) + len(kwargs):
        raise Bail
    return named


#: The methods after which rows are not instances.
_CHANGES_ROWS = frozenset({"values", "values_list"})
_STRINGS = frozenset({str})
_BOOLEANS = frozenset({bool})

_SLICED = Taken("slice", Slice)


def _limits(key: slice) -> tuple[int, int | None] | None:
    """Return the limits of a slice which makes a queryset, has rows, and may not have all."""
    low, high = key.start or 0, key.stop
    if key.step is not None or (low == 0 and high is None):
        return None
    if type(low) is not int or low < 0:
        return None
    if high is not None and (type(high) is not int or high <= low):
        return None
    return low, high
