"""Run Django's own query building with parameters in place of values.

A template is a real queryset over a `TemplateQuery`, whose ``filter()`` was given `Param`
objects. Django's checks see the values inside them; the lookups it builds hold `Slot` objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models.sql import Query, UpdateQuery

from turbo_orm.plans.arrays import elements_of
from turbo_orm.plans.recording import ArraySlot, LateSlot, Recording, Slot, stands_for_several
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["LateParam", "Param", "TemplateQuery"]


class Param:
    """A value on its way through `QuerySet.filter()` into a template."""

    __slots__ = ("bad", "found", "index", "is_negated", "is_stored_as_given", "prepared", "value")

    def __init__(self, index: int, value: Any) -> None:
        self.index = index
        self.value = value
        #: What the lookup made of it.
        self.prepared: Any = None
        #: The lookups (class, left-hand side) Django built with it.
        self.found: list[tuple[type, Any]] = []
        #: It is compared in a condition that rows are not to meet.
        self.is_negated = False
        #: Why no parameter can stand for it.
        self.bad: str | None = None
        #: It is no lookup's, which would have prepared it.
        self.is_stored_as_given = False

    @property
    def sample(self) -> Any:
        """A value that it stands for."""
        return self.value

    def take_place(self, lookup: Any, *, is_negated: bool) -> None:
        """Stand for what *lookup* compares with."""
        elements = elements_of(lookup)
        self.bad = self.bad or (_why_not(lookup) if elements is None else None)
        if self.bad is None:
            self.found.append((type(lookup), lookup.lhs))
            self.is_negated = self.is_negated or is_negated
            self.prepared = lookup.rhs if elements is None else elements
            _put(Slot(self.index) if elements is None else ArraySlot(self.index), lookup)


class LateParam(Param):
    """A value in what is resolved where the template is compiled, anew each time: `order_by()`."""

    __slots__ = ()

    def __init__(self, index: int, value: Any) -> None:
        super().__init__(index, value)
        self.is_stored_as_given = True

    @property
    def sample(self) -> Any:
        if Recording.current is None:
            raise Unsupported("it is resolved where nothing is compiled")
        return Recording.current.samples[self.index]

    def take_place(self, lookup: Any, *, is_negated: bool) -> None:
        bad = _why_not(lookup)
        if bad is not None:
            raise Unsupported(bad)
        _put(LateSlot(self.index, self.sample, lookup.rhs), lookup)


class _TakesParams(Query):
    """A `Query` that takes `Param` objects for values."""

    _param: Param | None = None
    _is_negated = False

    def chain(self, klass: type[Query] | None = None) -> Any:
        return super().chain(_TemplateUpdateQuery if klass is UpdateQuery else klass)

    def resolve_lookup_value(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        self._param = None
        if not isinstance(value, Param):
            return super().resolve_lookup_value(value, *args, **kwargs)
        resolved = super().resolve_lookup_value(value.sample, *args, **kwargs)
        self._param = value
        return resolved

    def build_filter(
        self,
        filter_expr: Any,
        branch_negated: bool = False,
        current_negated: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        self._param = None  # left behind where Django gave up a join that goes to many rows
        before, self._is_negated = self._is_negated, current_negated
        try:
            return super().build_filter(filter_expr, branch_negated, current_negated, *args, **kwargs)
        finally:
            self._param = None  # templates live long, the values they were made with must not
            self._is_negated = before

    def build_lookup(self, lookups: Sequence[str], lhs: Any, rhs: Any) -> Any:
        param, self._param = self._param, None
        lookup: Any = super().build_lookup(lookups, lhs, rhs)
        if param is not None and lookup is not None:
            param.take_place(lookup, is_negated=self._is_negated)
        return lookup


class TemplateQuery(_TakesParams):
    """The query of a template."""


class _TemplateUpdateQuery(_TakesParams, UpdateQuery):
    """What ``update()`` makes of one: there may be conditions in what is assigned."""


def _put(slot: Slot, lookup: Any) -> None:
    lookup.rhs = slot
    # Expressions remember what they were made of; values must not live as long as templates.
    lookup._constructor_args = ((lookup.lhs, slot), {})


def _why_not(lookup: Any) -> str | None:
    rhs = lookup.rhs
    if rhs is None or isinstance(rhs, bool):
        return "it becomes part of the SQL"
    if hasattr(rhs, "as_sql") or hasattr(rhs, "resolve_expression"):
        return "it becomes an expression"
    if getattr(lookup, "bilateral_transforms", None):
        return "a transform applies to it"
    if stands_for_several(lookup.lhs):
        return "it stands for several columns"
    if lookup.lookup_name == "isnull":
        return "it is part of IS NULL"
    return None
