"""Plan mode: a queryset that only notes what was called, and builds no `Query` unless it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from django.db.models import Model, Prefetch, QuerySet
from django.db.models.deletion import Collector
from django.db.models.sql import Query
from typing_extensions import Self

from turbo_orm.conf import get_config
from turbo_orm.plans.plan import Bound, Plan, plan_for
from turbo_orm.plans.shapes import (
    Annotate,
    Call,
    Extra,
    Filter,
    Node,
    Prefetched,
    Slice,
    Step,
    builds_at_once,
    epoch,
    note_use,
    q_shape,
    root_of,
    seen,
)
from turbo_orm.plans.updates import identity, update_of
from turbo_orm.plans.values import CONTAINERS, Bail, kind_of
from turbo_orm.plans.verify import verify

__all__ = ["Planned", "PlannedQuerySet"]

T = TypeVar("T")


class Planned(NamedTuple):
    """What a queryset in plan mode has instead of a `Query`. Shared by its clones."""

    node: Node
    #: The values of the steps, as Django's lookups store them.
    values: tuple[Any, ...]
    #: The values as they were given, where that is not the same; else None.
    given: tuple[Any, ...] | None
    limits: tuple[int, int | None] | None
    #: Cloned after the last step: Django's `Query.chain()` forgets which joins may be reused.
    chained: bool


_new_planned: Callable[[type[Planned], tuple[Any, ...]], Planned] = tuple.__new__

#: Overriding one of these, a subclass may do anything to its query: there is no plan mode.
_INTERNALS = (
    "__init__",
    "__getattr__",
    "_chain",
    "_clone",
    "_filter_or_exclude",
    "_filter_or_exclude_inplace",
    "_next_is_sticky",
    "_values",
    "db",
    "query",
)

_LOADED_BY = ("_fetch_all", "_prefetch_related_objects")

#: Django's terminals, and the methods they are composed of. A plan stands for all of them.
_COMPOSED_OF = {
    "list": ("__iter__", *_LOADED_BY),
    "get": ("get", "filter", "order_by", "__len__", "__iter__", *_LOADED_BY),
    "first": ("first", "ordered", "order_by", "__getitem__", "__iter__", *_LOADED_BY),
    "last": ("last", "ordered", "order_by", "reverse", "__getitem__", "__iter__", *_LOADED_BY),
    "count": ("count",),
    "exists": ("exists",),
    "update": ("update",),
    "delete": ("delete", "_raw_delete"),
    "create": ("create",),
}

_query_of = QuerySet.query.fget  # type: ignore[attr-defined]
_set_query_of = QuerySet.query.fset  # type: ignore[attr-defined]


class PlannedQuerySet(QuerySet[Any, Any]):
    """A `QuerySet` in plan mode, or, from the moment its ``query`` is needed, an ordinary one.

    In plan mode, chainable methods move through the trie of shapes; ``_bound()`` finds the
    plan of a terminal. Whatever else is done to it makes the `Query` first, by calling Django's
    own methods again, and is Django's.
    """

    # Django's, private; not in every version.
    _cloning_enabled: bool
    _deferred_filter: Any
    _fetch_mode: Any
    _fields: Any
    _prefetch_related_lookups: tuple[Any, ...]
    _sticky_filter: bool

    #: In plan mode, and never together with a query.
    _planned: Planned | None = None
    #: The shape, of a queryset that left plan mode because its shape was new.
    _trace: Node | None = None

    #: The terminals plans may stand for in this class.
    _plannable_terminals: ClassVar[frozenset[str]] = frozenset(_COMPOSED_OF)
    _plan_mode: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_runtime" in vars(cls):
            return  # the library's own subclass
        base: Any = next(each for each in cls.__mro__ if "_runtime" in vars(each))

        def overrides(name: str) -> bool:
            return getattr(cls, name, None) is not getattr(base, name, None)

        cls._plan_mode = not any(map(overrides, _INTERNALS))
        cls._plannable_terminals = frozenset(
            terminal for terminal, methods in _COMPOSED_OF.items() if not any(map(overrides, methods))
        )

    _runtime = True

    def __init__(
        self,
        model: type[Model] | None = None,
        query: Query | None = None,
        using: str | None = None,
        hints: dict[str, Any] | None = None,
    ) -> None:
        if (
            query is not None
            or model is None
            or not self._plan_mode
            or model._meta.abstract
            or not get_config().plans
        ):
            super().__init__(model=model, query=query, using=using, hints=hints)
            return
        root = root_of(model)
        attributes: Any = self.__dict__
        attributes.update(root.template.__dict__)
        del attributes["_query"]
        attributes["_db"] = using
        attributes["_hints"] = hints or {}
        attributes["_known_related_objects"] = {}
        attributes["_planned"] = Planned(root, (), None, None, False)

    # Leaving plan mode.

    def _materialise(self) -> None:
        planned = self._planned
        if planned is not None:
            self._query = self._make_query(planned)
            self._trace = planned.node
            self._planned = None

    def _make_query(self, planned: Planned) -> Query:
        twin = self._replay(planned)
        query: Any = _query_of(twin)
        if planned.chained:
            query = query.chain()
        if planned.limits is not None:
            query.set_limits(*planned.limits)
        if self._result_cache is not None:
            query.get_initial_alias()  # compiling has done so
        return query  # type: ignore[no-any-return]

    def _replay(self, planned: Planned) -> QuerySet[Any, Any]:
        """Return a plain queryset on which Django's own methods were called with our values."""
        values = iter(planned.values if planned.given is None else planned.given)
        queryset: Any = QuerySet(model=self.model)
        for node in planned.node.path():
            assert node.step is not None
            queryset = node.step.apply(queryset, values)
        return queryset  # type: ignore[no-any-return]

    if not TYPE_CHECKING:

        @property
        def query(self) -> Query:
            if self._planned is not None:
                self._materialise()
            return _query_of(self)

        @query.setter
        def query(self, value: Query) -> None:
            self._planned = self._trace = None
            _set_query_of(self, value)

    def __getattr__(self, name: str) -> Any:
        if name == "_query" and self._planned is not None:
            self._materialise()
            return self.__dict__["_query"]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        self._materialise()
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        self._materialise()
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in {"_planned", "_trace"}}

    # Cloning, as Django does it.

    def _derive(self, planned: Planned) -> Self:
        attributes = self.__dict__
        clone: Any = object.__new__(type(self))
        clone.__dict__ = {
            "model": attributes["model"],
            "_db": attributes["_db"],
            "_hints": attributes["_hints"] or {},  # shared only when there are any
            "_result_cache": None,
            "_sticky_filter": False,
            "_for_write": attributes["_for_write"],
            "_prefetch_related_lookups": attributes["_prefetch_related_lookups"],
            "_prefetch_done": False,
            "_known_related_objects": attributes["_known_related_objects"],
            "_iterable_class": attributes["_iterable_class"],
            "_fields": attributes["_fields"],
            "_defer_next_filter": False,
            "_deferred_filter": None,
            "_planned": planned,
        }
        if "_fetch_mode" in attributes:
            clone._fetch_mode = attributes["_fetch_mode"]
        if "_cloning_enabled" in attributes:
            clone._cloning_enabled = True
        derived: Self = clone
        return derived

    def _clone(self) -> Self:
        planned = self._planned
        if planned is None:
            return super()._clone()  # type: ignore[misc, no-any-return]
        clone = self._derive(planned if planned.chained else planned._replace(chained=True))
        clone._sticky_filter = self._sticky_filter
        return clone

    def _chain(self) -> Self:
        planned = self._planned
        if planned is not None and not self._sticky_filter:
            if not self._may_clone():
                return self
            if not planned.node.sticky:
                return self._clone()
            # Here the chain() of Django's Query has an effect on the filters to come.
            found = self._step_to("all", lambda: Call("all", ()), ())
            if found is not None:
                return found
        self._materialise()
        return super()._chain()  # type: ignore[misc, no-any-return]

    def _may_clone(self) -> bool:
        return self.__dict__.get("_cloning_enabled", True)  # type: ignore[no-any-return]

    # Steps.

    def _step_to(
        self, key: Any, make_step: Callable[[], Step], values: tuple[Any, ...], *, note: bool = True
    ) -> Self | None:
        """Return this queryset one step further, in plan mode; None where only Django can go.

        May raise: the caller lets Django find out how it is really meant.
        """
        planned = self._planned
        assert planned is not None
        node = planned.node
        if node.epoch != epoch():
            return None
        child = node.children.get(key)
        if child is None:
            if node.sliced or not (note or builds_at_once()):
                return None
            child = seen(node, key, make_step())
            if not child.built and not builds_at_once():
                return None
        return self._advance(child, values, planned, planned.limits)

    def _known_step(
        self, key: Any, values: tuple[Any, ...], limits: tuple[int, int | None] | None = None
    ) -> Self | None:
        """Do what `_step_to()` does for a shape that has its template; None for others.

        The short way, which a query that was seen before takes for each of its steps.
        """
        planned = self._planned
        if planned is None:
            return None
        node = planned.node
        child = node.children.get(key)
        if child is None or not child.built or node.epoch != epoch():
            return None
        try:
            return self._advance(child, values, planned, limits or planned.limits)
        except Exception:  # the long way finds out how it is meant
            return None

    def _known_filter(self, kwargs: Mapping[str, Any]) -> Self | None:
        """Return ``filter(**kwargs)`` of a shape that has its template; None for others."""
        values = tuple(kwargs.values())
        kinds: list[Any] = [*map(type, values)]
        if bool in kinds or _NoneType in kinds:
            kinds = [*map(kind_of, values)]
            values = tuple([value for value, kind in zip(values, kinds, strict=True) if kind is not value])
        return self._known_step((False, self._sticky_filter, (), *kwargs, *kinds), values)

    def _advance(
        self,
        child: Node,
        values: tuple[Any, ...],
        planned: Planned,
        limits: tuple[int, int | None] | None,
    ) -> Self | None:
        note_use(child)
        prepared = child.prepared(values) if values or not child.built else values
        if prepared is None:
            return None
        given = planned.given
        if prepared is not values:
            if given is None:
                given = planned.values
            given = (*given, *map(_keep, values, prepared))
            values = prepared
        elif given is not None:
            given = (*given, *values)
        further = _new_planned(Planned, (child, (*planned.values, *values), given, limits, False))
        if self.__dict__.get("_cloning_enabled", True):
            return self._derive(further)
        self._planned = further
        self._sticky_filter = False
        return self

    def _note(self, result: T, trace: Node | None, key: Any, make_step: Callable[[], Step]) -> T:
        """Let *result*, an ordinary queryset, know its shape."""
        if trace is not None and isinstance(result, PlannedQuerySet) and not trace.sliced:
            result._trace = seen(trace, key, make_step())
        return result

    def _filter(
        self, negated: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, note: bool = True
    ) -> Self | None:
        """Return the filtered queryset in plan mode, or None."""
        planned = self._planned
        if planned is None or planned.node.sliced:
            return None
        try:
            key, make_step, values = _filter_step(self._sticky_filter, negated, args, kwargs)
            return self._step_to(key, make_step, values, note=note)
        except Exception:  # Django raises it again, at the time and in the way it does
            return None

    def _filtered(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Self | None:
        """Return ``filter(*args, **kwargs)`` if that is possible without running foreign code.

        None for a shape that was never seen, and for values such as lazy objects, which
        may query the database when they are looked at.
        """
        planned = self._planned
        if planned is None or "get" not in self._plannable_terminals:
            return None
        if not args and (known := self._known_filter(kwargs)) is not None:
            return known
        return self._filter(False, args, kwargs, note=False)

    def _take_filter(
        self, negated: bool, django: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        planned, trace = self._planned, self._trace
        if planned is None and trace is None:
            return django(self, *args, **kwargs)
        found = step = None
        try:
            step = _filter_step(self._sticky_filter, negated, args, kwargs)
            if planned is not None and not planned.node.sliced:
                found = self._step_to(*step)
        except Exception:  # Django raises it again, at the time and in the way it does
            found = None
        if found is not None:
            self._defer_next_filter = False
            return found
        result = django(self._ordinary(), *args, **kwargs)
        if step is not None:
            self._note(result, trace if planned is None else planned.node, step[0], step[1])
        return result

    def _ordinary(self) -> Self:
        """Return this queryset if it is an ordinary one, or an ordinary copy of it."""
        planned = self._planned
        if planned is None or self._sticky_filter or not self._may_clone():
            return self
        # A copy, for this one may go on in plan mode in another direction.
        copy = self._derive(planned)
        copy._defer_next_filter, self._defer_next_filter = self._defer_next_filter, False
        copy._materialise()
        return copy

    def _take(self, name: str, args: tuple[Any, ...], django: Callable[..., Any], **kwargs: Any) -> Any:
        """Take a step whose arguments are all names."""
        planned, trace = self._planned, self._trace
        if (
            (planned is None and trace is None)
            or not _STRINGS.issuperset(map(type, args))
            or not _BOOLEANS.issuperset(map(type, kwargs.values()))
        ):
            return django(self, *args, **kwargs)
        options = tuple(kwargs.items())
        key = (name, options, args)
        if name not in _CHANGES_ROWS and not self._sticky_filter:
            known = self._known_step(key, ())
            if known is not None:
                return known

        def make_step() -> Step:
            return Call(name, args, options)

        if planned is not None and not self._sticky_filter and not planned.node.sliced:
            try:
                found = self._step_to(key, make_step, ())
            except Exception:  # Django raises it again
                found = None
            if found is not None:
                if name in _CHANGES_ROWS:
                    node = found._planned.node  # type: ignore[union-attr]
                    found._fields, found._iterable_class = node.fields, node.iterable
                return found
            trace = planned.node
        return self._note(django(self._ordinary(), *args, **kwargs), trace, key, make_step)

    def filter(self, *args: Any, **kwargs: Any) -> Any:
        if not args and self._planned is not None:
            found = self._known_filter(kwargs)
            if found is not None:
                self._defer_next_filter = False
                return found
        return self._take_filter(False, QuerySet.filter, args, kwargs)

    def exclude(self, *args: Any, **kwargs: Any) -> Any:
        return self._take_filter(True, QuerySet.exclude, args, kwargs)

    def order_by(self, *field_names: Any) -> Any:
        return self._take("order_by", field_names, QuerySet.order_by)

    def reverse(self) -> Any:
        return self._take("reverse", (), QuerySet.reverse)

    def distinct(self, *field_names: Any) -> Any:
        return self._take("distinct", field_names, QuerySet.distinct)

    def only(self, *fields: Any) -> Any:
        return self._take("only", fields, QuerySet.only)

    def defer(self, *fields: Any) -> Any:
        return self._take("defer", fields, QuerySet.defer)

    def select_related(self, *fields: Any) -> Any:
        if not fields:  # Django warns of it, each time
            return super().select_related()
        return self._take("select_related", fields, QuerySet.select_related)

    def values(self, *fields: Any, **expressions: Any) -> Any:
        if expressions:
            return super().values(*fields, **expressions)
        return self._take("values", fields, QuerySet.values)

    def values_list(self, *fields: Any, flat: bool = False, named: bool = False) -> Any:
        if flat and not fields:  # Django warns of it, each time
            return super().values_list(flat=flat, named=named)
        return self._take("values_list", fields, QuerySet.values_list, flat=flat, named=named)

    def annotate(self, *args: Any, **kwargs: Any) -> Any:
        if self._planned is None and self._trace is None:
            return super().annotate(*args, **kwargs)
        try:
            # Django warns of odd names, and must not do so again when steps are repeated.
            if args or self._sticky_filter or not all(map(str.isidentifier, kwargs)):
                raise Bail
            key = ("annotate", *[(name, identity(value)) for name, value in kwargs.items()])
        except Bail:
            return super().annotate(*args, **kwargs)
        items = tuple(kwargs.items())
        return self._take_step(key, lambda: Annotate(items), lambda rows: QuerySet.annotate(rows, **kwargs))

    def _take_step(self, key: Any, make_step: Callable[[], Step], django: Callable[[Any], Any]) -> Any:
        """Take a step without values, in plan mode or as *django* does."""
        planned, trace = self._planned, self._trace
        if planned is not None:
            try:
                found = self._step_to(key, make_step, ())
            except Exception:  # Django raises it again
                found = None
            if found is not None:
                return found
            trace = planned.node
        return self._note(django(self._ordinary()), trace, key, make_step)

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
        return self._take_step(
            ("extra", items), lambda: Extra(items), lambda queryset: QuerySet.extra(queryset, select=select)
        )

    def _prefetched_for(self, name: str, instances: Any) -> Self | None:
        """Return the rows which *name* relates to *instances*, in plan mode; None where it can't."""
        if self._planned is None or self._planned.node.sliced:
            return None
        sticky = self._sticky_filter
        try:
            return self._step_to(
                ("prefetched", name, sticky), lambda: Prefetched(name, sticky), ([*instances],)
            )
        except Exception:  # Django raises it again
            return None

    def prefetch_related(self, *lookups: Any) -> Any:
        if self._planned is None or not all(isinstance(each, str | Prefetch) for each in lookups):
            return super().prefetch_related(*lookups)
        clone = self._chain()
        clone._prefetch_related_lookups = (*clone._prefetch_related_lookups, *lookups)
        return clone

    @property
    def ordered(self) -> bool:
        """Whether the rows have an order; see Django."""
        return super().ordered if self._planned is None else self._planned.node.template.ordered

    def __getitem__(self, key: Any) -> Any:
        if (
            type(key) is slice
            and self._planned is not None
            and self._result_cache is None
            and not self._sticky_filter
            and (limits := _limits(key)) is not None
        ):
            found = self._known_step("slice", (), limits)
            if found is not None:
                return found
            found = self._step_to("slice", Slice, ())
            if found is not None:
                assert found._planned is not None
                found._planned = found._planned._replace(limits=limits)
                return found
            ordinary: Any = QuerySet.__getitem__(self._ordinary(), key)
            return self._note(ordinary, self._planned.node, "slice", Slice)
        if type(key) is slice and self._trace is not None:
            return self._note(super().__getitem__(key), self._trace, "slice", Slice)
        return super().__getitem__(key)

    # Terminals.

    def _bound(self, terminal: str) -> Bound | None:
        """Return the planned statement of *terminal* with its parameters; None without a plan."""
        planned = self._planned
        if planned is None or self._result_cache is not None or terminal not in self._plannable_terminals:
            return None
        node = planned.node
        if (node.iterable is not self._iterable_class or node.fields is not self._fields) and (
            terminal not in {"count", "exists"}
        ):
            return None
        plan = plan_for(node, terminal, self.db, planned.values)
        if plan is None:
            return None
        loader = plan.loader
        if loader is not None and not (loader.usable() and loader.takes(self._known_related_objects)):
            return None
        return self._bind(plan, planned, planned.values)

    def _bound_update(self, kwargs: Mapping[str, Any]) -> Bound | None:
        """Return the planned statement of ``update(**kwargs)``; None without a plan."""
        planned = self._planned
        if planned is None or "update" not in self._plannable_terminals or not kwargs:
            return None
        try:
            update, values, expressions = update_of(kwargs)
        except Bail:
            return None
        self._for_write = True
        values = (*planned.values, *values)
        plan = plan_for(planned.node, update, self.db, values, expressions)
        return None if plan is None else self._bind(plan, planned, values, kwargs)

    def _bound_delete(self) -> Bound | None:
        """Return the planned statement of ``delete()`` if it is a single one; None without a plan."""
        planned = self._planned
        if planned is None or "delete" not in self._plannable_terminals:
            return None
        self._for_write = True
        alias = self.db
        if not Collector(using=alias).can_fast_delete(self):  # receivers come and go
            return None
        plan = plan_for(planned.node, "delete", alias, planned.values)
        return None if plan is None else self._bind(plan, planned, planned.values)

    def _bind(
        self,
        plan: Plan,
        planned: Planned,
        values: tuple[Any, ...],
        arguments: Mapping[str, Any] | None = None,
    ) -> Bound | None:
        try:
            bound = plan.bound(values, planned.limits)
        except Exception:  # Django raises it again, or serves the values plans can't
            return None
        if get_config().verify_plans:
            verify(bound, self._replay(planned), planned.limits, arguments)
        return bound


def _filter_step(
    sticky: bool, negated: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Callable[[], Step], tuple[Any, ...]]:
    """Return the key, the step and the values of a filter. Raises `Bail` for other arguments than Q."""
    kinds: list[Any] = [*map(type, kwargs.values())]
    values = tuple(kwargs.values())
    if bool in kinds or _NoneType in kinds:
        kinds = [*map(kind_of, values)]
        values = tuple([value for value, kind in zip(values, kinds, strict=True) if kind is not value])
    names = tuple(kwargs)
    shapes: tuple[Any, ...] = ()
    if args:
        in_qs: list[Any] = []
        shapes = tuple([q_shape(arg, in_qs) for arg in args])
        values = (*in_qs, *values)
    key = (negated, sticky, shapes, *names, *kinds)
    return key, lambda: Filter(negated, sticky, shapes, names, tuple(kinds)), values


#: The methods after which rows are not instances.
_CHANGES_ROWS = frozenset({"values", "values_list"})
_NoneType = type(None)
_STRINGS = frozenset({str})
_BOOLEANS = frozenset({bool})


def _keep(value: Any, prepared: Any) -> Any:
    """Return what a replay is given for *value*: as it is now, and keeping no instances alive."""
    if value is prepared:
        return value  # Django too sees what becomes of it
    kind = type(value)
    if kind in CONTAINERS:
        return prepared if any(isinstance(each, Model) for each in value) else kind(value)
    return prepared if isinstance(value, Model) else value


def _limits(key: slice) -> tuple[int, int | None] | None:
    """Return the limits of a slice which makes a queryset and has rows."""
    low, high = key.start, key.stop
    if key.step is not None or (low is None and high is None):
        return None
    if low is None:
        low = 0
    if type(low) is not int or low < 0:
        return None
    if high is not None and (type(high) is not int or high <= low):
        return None
    return low, high
