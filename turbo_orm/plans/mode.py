"""The terminals of a queryset in plan mode: the planned statements they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import DEFAULT_DB_ALIAS, router
from django.db.models.deletion import Collector
from django.db.utils import ConnectionRouter
from typing_extensions import Self

from turbo_orm.bridge.refusals import refusals
from turbo_orm.plans.aggregates import aggregation_of, named_aggregates
from turbo_orm.plans.chaining import Chaining
from turbo_orm.plans.finding import keep_plan, plan_for
from turbo_orm.plans.own_clones import clones_as_django
from turbo_orm.plans.plan import Bound, Plan
from turbo_orm.plans.planned import Planned
from turbo_orm.plans.shapes import trie
from turbo_orm.plans.updates import update_of
from turbo_orm.plans.values import Bail
from turbo_orm.plans.verify import verify

__all__ = ["COMPOSED_OF", "PlannedQuerySet", "is_replaced"]

_LOADED_BY = ("_fetch_all", "_prefetch_related_objects")

_GET_OR_CREATE = ("get_or_create", "get", "filter", "order_by", "__len__", "__iter__", *_LOADED_BY)

#: Django's terminals, and the methods they are composed of. A plan stands for all of them.
COMPOSED_OF = {
    "list": ("__iter__", *_LOADED_BY),
    "get": ("get", "filter", "order_by", "__len__", "__iter__", *_LOADED_BY),
    "first": ("first", "ordered", "order_by", "__getitem__", "__iter__", *_LOADED_BY),
    "last": ("last", "ordered", "order_by", "reverse", "__getitem__", "__iter__", *_LOADED_BY),
    "count": ("count",),
    "exists": ("exists",),
    "contains": ("contains", "filter", "exists"),
    "in_bulk": ("in_bulk", "filter", "__iter__", *_LOADED_BY),
    "get_or_create": _GET_OR_CREATE,
    "update_or_create": ("update_or_create", "select_for_update", *_GET_OR_CREATE),
    "aggregate": ("aggregate",),
    "update": ("update",),
    "bulk_update": ("bulk_update", "using", "filter", "update"),
    "delete": ("delete", "_raw_delete"),
    "_raw_delete": ("_raw_delete",),
    "create": ("create",),
    "earliest": ("earliest", "_earliest", "get", "order_by", "__getitem__", "__iter__", *_LOADED_BY),
    "latest": ("latest", "_earliest", "get", "reverse", "order_by", "__getitem__", "__iter__", *_LOADED_BY),
}

#: Terminals whose answer does not depend on what becomes of rows.
_WITHOUT_ROWS = frozenset({"count", "exists"})


def is_replaced(queryset: Any, name: str) -> bool:
    """Whether somebody has replaced the method *name* of this one queryset: Django's a-methods call that.

    As django-money does, to have currencies compared too; as a view does that has a `count()` of its own.
    """
    return getattr(getattr(queryset, name), "__self__", None) is not queryset


class PlannedQuerySet(Chaining):
    """A queryset whose terminals may have plans.

    In plan mode, chainable methods move through the trie of shapes; ``_bound()`` finds the
    plan of a terminal. Whatever else is done to it makes the `Query` first, by calling Django's
    own methods again, and is Django's.
    """

    #: The terminals plans may stand for in this class.
    _plannable_terminals: ClassVar[frozenset[str]] = frozenset(COMPOSED_OF)
    #: Nothing of a project is called with the querysets of this class: several calls may share one.
    _may_be_kept: ClassVar[bool] = True
    _runtime = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_runtime" not in vars(cls):
            cls._plannable_terminals = frozenset(
                terminal for terminal, methods in COMPOSED_OF.items() if not any(map(cls._overrides, methods))
            )
            cls._may_be_kept = not cls._replaces_anything()
            if cls._clones_itself:
                cls._plannable_terminals -= {"bulk_update"}
                for name, method in _OF_CLONES.items():
                    setattr(cls, name, method)

    def _bound(self, terminal: str, planned: Planned | None = None) -> Bound | None:
        """Return the planned statement of *terminal* with its parameters; None without a plan.

        Of this queryset, or of one in the state *planned*.
        """
        if planned is None:
            # Of rows that are there it is not looked at: that makes the query of prefetched ones.
            planned = self._planned if self._result_cache is None else None
            if planned is None:
                return None
        node, values, _, limits, _ = planned
        if terminal not in self._plannable_terminals or (
            (node.iterable is not self._iterable_class or node.fields is not self._fields)
            and terminal not in _WITHOUT_ROWS
        ):
            return None
        if self._hints or _router.get("routers", True) or ConnectionRouter.db_for_read is not _db_for_read:
            alias = self.db
        else:
            alias = self._db or DEFAULT_DB_ALIAS
        plan = node.plans.get((terminal, alias))
        if (
            type(plan) is not Plan
            or plan.epoch != trie.epoch
            or plan.conditional
            or (plan.orderings and not plan.is_current())
        ):
            plan = plan_for(node, terminal, alias, values)
            if plan is None:
                return None
        loader = plan.loader
        if loader is not None and not (
            loader.usable() and (not self._known_related_objects or loader.takes(self._known_related_objects))
        ):
            return None
        # What _bind() does, inline.
        bound: Bound | None
        try:
            bound = plan.bound(values, limits)
        except Exception as exc:
            bound = plan.bound_to_nothing(exc, values, limits)
        if plan.verified and bound is not None:
            verify(bound, self, planned)
        return bound

    def _bound_get(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Self, Bound | None]:
        """Return the planned statement of ``get(*args, **kwargs)``, or None, and whose ``get()`` it is.

        That is this queryset's still; or that of its ``filter(*args, **kwargs)``, which is not to be
        called again. Where the shape is known there is no such queryset: nobody would see it.
        """
        if not args:
            if not kwargs:
                return self, self._bound("get")
            planned = self._known_filter(self._planned, kwargs)
            if planned is not None and (bound := self._bound("get", planned)) is not None:
                return self, bound
        filtered = self._filtered(args, kwargs) if "get" in self._plannable_terminals else None
        return (self, None) if filtered is None else (filtered, filtered._bound("get"))

    def _outermost(self, terminal: str, fields: tuple[Any, ...]) -> Self | None:
        """Return the queryset of the one row that ``earliest(*fields)`` gets, or ``latest()``, by *terminal*.

        None if only Django can make it.
        Raises what Django raises for names which are no fields.
        """
        planned = self._planned
        if planned is None or planned[3] is not None or terminal not in self._plannable_terminals:
            return None
        order = fields or getattr(self.model._meta, "get_latest_by", None) or ()
        if not isinstance(order, tuple | list):
            order = (order,)
        if not order:
            return None
        queryset = self.reverse() if terminal == "latest" else self
        return queryset.order_by(*order)[:1]  # type: ignore[no-any-return]

    def _alias_to_write(self) -> str:
        """Return ``db`` for a write, as which all that follows counts."""
        self._for_write = True
        if (
            self._hints
            or not self._plan_mode  # it may have a `db` of its own
            or _router.get("routers", True)
            or ConnectionRouter.db_for_write is not _db_for_write
        ):
            return self.db
        return self._db or DEFAULT_DB_ALIAS

    def _bound_update(self, kwargs: Mapping[str, Any], returning: tuple[str, ...] = ()) -> Bound | None:
        """Return the planned statement of ``update(**kwargs)``, *returning* fields; None without a plan."""
        planned = self._planned
        if planned is None or "update" not in self._plannable_terminals or not kwargs:
            return None
        # What _alias_to_write() and _bind() do, inline.
        self._for_write = True
        if self._hints or _router.get("routers", True) or ConnectionRouter.db_for_write is not _db_for_write:
            alias = self.db
        else:
            alias = self._db or DEFAULT_DB_ALIAS
        node, before, _, limits, _ = planned
        refused = refusals.count
        values = tuple(kwargs.values())
        # Where all values are parameters, their types say what update_of() would.
        key = (*kwargs, *map(type, values), alias, *returning)
        plan = node.plans.get(key)
        if type(plan) is not Plan or plan.epoch != trie.epoch or plan.conditional:
            try:
                update, arguments = update_of(kwargs, returning)
                plan = plan_for(node, update, alias, before, arguments)
                if plan is None:
                    return None
                values = plan.stored(arguments)
            except Bail:
                return None
            if update.has_only_values:
                keep_plan(node, key, plan)
        bound: Bound | None
        try:
            bound = plan.bound(before + values, limits)
        except Exception as exc:
            bound = plan.bound_to_nothing(exc, before + values, limits)
        if bound is None or refusals.count != refused:
            return None
        if plan.verified:
            verify(bound, self, planned, kwargs)
        return bound

    def _bound_aggregate(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bound | None:
        """Return the planned statement of ``aggregate(*args, **kwargs)``; None without a plan."""
        planned = self._planned
        if planned is None or "aggregate" not in self._plannable_terminals:
            return None
        node, values, _, _, _ = planned
        try:
            named = named_aggregates(args, kwargs)
            aggregation, arguments = aggregation_of(named)
            plan = plan_for(node, aggregation, self.db, values, arguments)
            if plan is None:
                return None
            values += plan.stored(arguments)
        except Exception:  # Django raises it again, or serves what plans can't
            return None
        return self._bind(plan, planned, values, named)

    def _bound_delete(self) -> Bound | None:
        """Return the planned statement of ``delete()`` if it is a single one; None without a plan."""
        planned = self._planned
        if planned is None or "delete" not in self._plannable_terminals:
            return None
        # Unlike other writes it leaves the queryset as it was: Django deletes by a copy.
        for_write = self._for_write
        alias = self._alias_to_write()
        self._for_write = for_write
        if not Collector(using=alias).can_fast_delete(self):  # receivers come and go
            return None
        node, values, _, _, _ = planned
        plan = plan_for(node, "delete", alias, values)
        return None if plan is None else self._bind(plan, planned, values)

    def _bound_raw_delete(self, alias: str) -> Bound | None:
        """Return the planned statement of ``_raw_delete(alias)``; None without a plan."""
        planned = self._planned
        if planned is None or "_raw_delete" not in self._plannable_terminals:
            return None
        node, values, _, limits, _ = planned
        plan = None if limits is not None else plan_for(node, "_raw_delete", alias, values)
        return None if plan is None else self._bind(plan, planned, values)

    def _bind(
        self,
        plan: Plan,
        planned: Planned,
        values: tuple[Any, ...],
        arguments: Mapping[str, Any] | None = None,
    ) -> Bound | None:
        _, _, _, limits, _ = planned
        try:
            bound = plan.bound(values, limits)
        except Exception:  # Django raises it again, or serves the values plans can't
            return None
        if plan.verified:
            verify(bound, self, planned, arguments)
        return bound


#: Terminals that make no clone of their queryset.
_WITHOUT_CLONES = frozenset({"list", "count", "exists"})


def _bound_of_clone(self: PlannedQuerySet, terminal: str, planned: Planned | None = None) -> Bound | None:
    """Do what ``_bound()`` does, for a class with a part in making clones."""
    if self._planned is None or not (terminal in _WITHOUT_CLONES or clones_as_django(self)):
        return None
    return PlannedQuerySet._bound(self, terminal, planned)


def _bound_delete_of_clone(self: PlannedQuerySet) -> Bound | None:
    if self._planned is None or not clones_as_django(self):
        return None
    return PlannedQuerySet._bound_delete(self)


#: What is so in classes with a part in making clones.
_OF_CLONES: dict[str, Any] = {"_bound": _bound_of_clone, "_bound_delete": _bound_delete_of_clone}

#: Where ``router.routers`` is once somebody has asked for it: a cached property takes longer.
_router = vars(router)

# Without routers, unless somebody replaces the methods, everything goes to the default database.
_db_for_read = ConnectionRouter.db_for_read
_db_for_write = ConnectionRouter.db_for_write
