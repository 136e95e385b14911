"""Plan mode: a queryset that only notes what was called, and builds no `Query` unless it must."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import Query
from typing_extensions import Self

from turbo_orm.conf import get_config
from turbo_orm.db.originals import original
from turbo_orm.plans.bodies import runs_in_body
from turbo_orm.plans.own_clones import CLONING, FOLLOWED, copy_of
from turbo_orm.plans.planned import Planned, further, made_query, renewed_state
from turbo_orm.plans.queries import OfQueryset, Passed, pending_query
from turbo_orm.plans.shapes import ROOT, Node, make_root, note_use, seen, trie
from turbo_orm.plans.steps import Call, Taken
from turbo_orm.plans.unmade import become
from turbo_orm.plans.values import Bail

__all__ = ["ALWAYS_CLONES", "DEFAULT_FETCH_MODE", "INTERNALS", "PlanMode", "djangos"]

T = TypeVar("T")

DEFAULT_FETCH_MODE: Any
try:
    from django.db.models.query import DEFAULT_FETCH_MODE
except ImportError:  # before Django 6.1
    DEFAULT_FETCH_MODE = None


#: Overriding one of these, a subclass may do anything to its query: there is no plan mode.
INTERNALS = (
    "__getattr__",
    "_chain",
    "_filter_or_exclude",
    "_filter_or_exclude_inplace",
    "_next_is_sticky",
    "_values",
    "db",
    "query",
)

#: What ``__init_subclass__()`` notes in a class.
_NOTED = frozenset({"_plan_mode", "_clones_itself", "_plannable_terminals", "_may_be_kept"})

#: Attributes that pickles of a queryset do not have.
_OF_PLAN_MODE = ("_trace", "_pending")

#: What Django does with slices as with all rows: the methods that say which columns there are.
_OF_SLICES = frozenset({"defer", "only", "select_related", "values", "values_list"})


def _is_of_slices(taken: Taken) -> bool:
    """Whether *taken* is one of these with nothing but names."""
    key = taken.key
    return type(key) is tuple and key[0] in _OF_SLICES and type(key[-1]) is tuple


_CHAINED = Taken("all", lambda: Call("all", ()))

_new = object.__new__
_query_of = QuerySet.query.fget  # type: ignore[attr-defined]
_set_query_of = QuerySet.query.fset  # type: ignore[attr-defined]

#: Before Django 6.1 querysets always are cloned.
ALWAYS_CLONES = not hasattr(QuerySet, "_disable_cloning")

_clone_of_django = original(QuerySet, "_clone")


def _replace_anything(classes: Iterable[type]) -> bool:
    """Whether one of *classes*, of a project, defines anything that querysets have."""
    return any(
        hasattr(PlanMode, name) and name not in _NOTED and (callable(value) or not name.startswith("__"))
        for each in classes
        for name, value in vars(each).items()
    )


def djangos(queryset: PlanMode, name: str) -> Callable[..., Any]:
    """Return the method *name* that comes after ours: Django's, or of a class that stands between.

    That is `TheirQuerySet` in ``class Books(AsyncQuerySet, TheirQuerySet)``.
    """
    method: Callable[..., Any] = getattr(super(PlanMode, queryset), name)
    return method


class PlanMode(QuerySet[Any, Any]):
    """A `QuerySet` in plan mode, or, from the moment its ``query`` is needed, an ordinary one."""

    # Django's, private. What is seldom looked at is the class's, until it is anything else. Whatever
    # clones set has no default here: CPython finds it sooner then.
    _defer_next_filter: bool
    _deferred_filter: Any = None
    _fields: Any
    _for_write: bool
    _iterable_class: Any
    _known_related_objects: Mapping[Any, Mapping[Any, Any]]
    _prefetch_done = False
    _prefetch_related_lookups: tuple[Any, ...]
    _result_cache: list[Any] | None
    _sticky_filter: bool

    # Since Django 6.1.
    _cloning_enabled: bool
    _fetch_mode: Any
    if ALWAYS_CLONES:
        _fetch_mode = None

    #: In plan mode, and never together with a query.
    _planned: Planned | None
    #: The shape, of a queryset that left plan mode because its shape was new.
    _trace: Node | None = None
    #: What ``query`` is in plan mode, of a queryset whose query is only looked at: see `_readable()`.
    _peek: Query | None = None
    #: What `query` is in plan mode otherwise, as long as somebody has it.
    _pending: weakref.ref[OfQueryset] | None = None

    _plan_mode: ClassVar[bool] = True
    #: The class has a part in making clones: see `plans.own_clones`.
    _clones_itself: ClassVar[bool] = False
    #: In each class of the library itself.
    _runtime = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_runtime" not in vars(cls):
            # In plan mode ours would note what the methods of a class behind them are to see first.
            cls._plan_mode = not (any(map(cls._overrides, INTERNALS)) or _replace_anything(cls._behind()))
            cls._clones_itself = cls._plan_mode and any(map(cls._overrides, CLONING))
            if cls._clones_itself:
                for name, method in FOLLOWED.items():
                    setattr(cls, name, method)

    @classmethod
    def _behind(cls) -> tuple[type, ...]:
        """The classes between the library's and Django's: see `djangos()`."""
        mro = cls.__mro__
        return mro[mro.index(PlanMode) + 1 : mro.index(QuerySet)]

    @classmethod
    def _overrides(cls, name: str) -> bool:
        """Whether a class of a project has another attribute *name* than the library's."""
        base: Any = next(each for each in cls.__mro__ if "_runtime" in vars(each))
        return getattr(cls, name, None) is not getattr(base, name, None) or any(
            name in vars(each) for each in cls._behind()
        )

    @classmethod
    def _replaces_anything(cls) -> bool:
        """Whether a class of a project defines anything that the library's has."""
        mro = cls.__mro__
        end = next(index for index, each in enumerate(mro) if "_runtime" in vars(each))
        return _replace_anything((*mro[:end], *cls._behind()))

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
            # Whose clones those would be is for nobody to say.
            or (self._clones_itself and QuerySet._clone is not _clone_of_django)  # type: ignore[attr-defined]
        ):
            self._planned = None
            super().__init__(model=model, query=query, using=using, hints=hints)
            if isinstance(query, Passed):
                del self._query
                self._planned = query.planned
            return
        # As Django's __init__(), but for the query.
        self.model = model
        self._db = using
        self._hints = hints or {}
        self._result_cache = None
        self._sticky_filter = False
        self._prefetch_related_lookups = ()
        self._known_related_objects = {}
        self._iterable_class = ModelIterable
        self._fields = None
        self._for_write = False
        self._defer_next_filter = False
        if not ALWAYS_CLONES:
            self._fetch_mode = DEFAULT_FETCH_MODE
            self._cloning_enabled = True
        root = model._meta.__dict__.get(ROOT)
        if root is None or root.epoch != trie.epoch:
            root = make_root(model)
        self._planned = root, (), None, None, False

    # Leaving plan mode.

    def _materialise(self) -> None:
        planned = self._planned
        if planned is not None:
            query = self._make_query(planned)
            pending = pending_query(self._pending, self)
            self._query = query if pending is None else become(pending, query)
            self._trace = planned[0]
            self._planned = None
            vars(self).pop("_pending", None)

    def _make_query(self, planned: Planned) -> Query:
        query: Any = made_query(planned)
        if self._result_cache is not None:
            query.get_initial_alias()  # compiling has done so
        return query  # type: ignore[no-any-return]

    if not TYPE_CHECKING:

        @property
        def query(self) -> Query:
            planned = self._planned
            if planned is not None:
                if self._peek is not None:
                    return self._peek
                pending = pending_query(self._pending, self) or OfQueryset(self, planned)
                self._pending = weakref.ref(pending)
                return pending
            return _query_of(self)

        @query.setter
        def query(self, value: Query) -> None:
            self._planned = self._trace = None
            _set_query_of(self, value)

    def __getattr__(self, name: str) -> Any:
        if name == "_query":
            if self._planned is not None:
                self._materialise()
            if "_query" in self.__dict__:
                return self.__dict__["_query"]
        if name == "_planned":
            return self.__dict__.get(name)  # made without __init__(), or by another thread just now
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # In plan mode, for serializers copy the querysets of their fields with each object they serve.
        if vars(self).get("_planned") is not None:
            with suppress(Exception):  # values that only Django's lookups make copies of
                copied: Any = super().__deepcopy__(memo)
                vars(copied).pop("_query", None)  # its constructor has made one
                return copied  # type: ignore[no-any-return]
        self._materialise()
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        self._materialise()
        state: dict[str, Any] = super().__getstate__()
        for name in _OF_PLAN_MODE:
            state.pop(name, None)
        return state

    # Cloning, as Django does it.

    def _derive(self, planned: Planned) -> Self:
        """Return a clone in the state *planned*."""
        if QuerySet._clone is not _clone_of_django:  # type: ignore[attr-defined]
            return self._cloned_by_others(planned)
        # One attribute after the other: CPython needs no dictionary then. Others are the class's.
        clone: Any = _new(type(self))
        clone.model = self.model
        clone._db = self._db
        clone._hints = self._hints or {}  # shared only when there are any
        clone._result_cache = None
        clone._sticky_filter = False
        clone._prefetch_related_lookups = self._prefetch_related_lookups
        clone._known_related_objects = self._known_related_objects or {}
        clone._iterable_class = self._iterable_class
        clone._fields = self._fields
        clone._for_write = self._for_write
        clone._defer_next_filter = False
        if not ALWAYS_CLONES:
            clone._fetch_mode = self._fetch_mode
            clone._cloning_enabled = True
        clone._planned = planned
        return clone  # type: ignore[no-any-return]

    def _cloned_by_others(self, planned: Planned) -> Self:
        """Do what `_derive()` does, with the ``_clone()`` that stands in the place of Django's.

        It keeps something in querysets that is to be in their clones too, as those of
        strawberry-django and django-cacheops do.
        """
        # A copy, for this queryset may be cloned in another thread at the same time.
        copy: Any = _new(type(self))
        copy.__dict__.update(self.__dict__)
        copy._planned, copy._peek = planned, Passed(planned, self._make_query)
        clone: Any = QuerySet._clone(copy)  # type: ignore[attr-defined]
        if clone is copy:  # django-cacheops' `inplace()`: nothing is to be cloned
            clone = self
            clone._planned = planned
        clone._sticky_filter = False
        return clone  # type: ignore[no-any-return]

    def _clone(self) -> Self:
        planned = self._planned
        if planned is None:
            return super()._clone()  # type: ignore[misc, no-any-return]
        node, values, given, limits, _ = planned
        planned = node, values, given, limits, True
        # Of a class with a constructor of its own Django calls that.
        clone = self._cloned_by_others(planned) if self._clones_itself else self._derive(planned)
        clone._sticky_filter = self._sticky_filter
        return clone

    def _chain(self) -> Self:
        planned = self._planned
        if planned is not None and not self._sticky_filter:
            if not (ALWAYS_CLONES or self._cloning_enabled):
                return self
            if not planned[0].sticky:
                return self._clone()
            # Here the chain() of Django's Query has an effect on the filters to come.
            with suppress(Bail):
                found = self._step(_CHAINED)
                if found is not None:
                    return found
        self._materialise()
        return super()._chain()  # type: ignore[misc, no-any-return]

    def _copy(self, planned: Planned) -> Self:
        """Return a copy in the state *planned*, for Django's methods to be called on instead of this one."""
        return copy_of(self, planned) if self._clones_itself else self._derive(planned)

    def _readable(self) -> Self:
        """Return this queryset, or a copy in plan mode for methods of Django's that only look at ``query``.

        They see the query of the template, which has no values. What they derive from the copy is as if it
        were derived from this one.
        """
        planned = self._planned
        if (
            planned is None
            or planned[3] is not None
            or self._sticky_filter
            or self._result_cache is not None
            or not (ALWAYS_CLONES or self._cloning_enabled)
        ):
            return self
        copy = self._copy(planned)
        if copy is not self:
            copy._peek = planned[0].template.query
        return copy

    def _ordinary(self) -> Self:
        """Return this queryset if it is an ordinary one, or an ordinary copy of it."""
        planned = self._planned
        if planned is None or self._sticky_filter or not (ALWAYS_CLONES or self._cloning_enabled):
            return self
        # A copy, for this one may go on in plan mode in another direction.
        copy = self._copy(planned)
        copy._defer_next_filter, self._defer_next_filter = self._defer_next_filter, False
        copy._materialise()
        return copy

    # Steps.

    def _known(self, key: Any, limits: tuple[int, int | None] | None = None) -> Planned | None:
        """Return the state one step further, to a shape that has its template; None for others.

        The short way, for steps without values, of a query that was seen before.
        """
        planned = self._planned
        if planned is None:
            return None
        node, values, given, before, _ = planned
        child = node.children.get(key)
        if child is None or not child.built or node.epoch != trie.epoch:
            return None
        child.used = trie.clock
        return child, values, given, limits or before, False

    def _known_filter(self, planned: Planned | None, kwargs: Mapping[str, Any]) -> Planned | None:
        """Return the state after ``filter(**kwargs)`` of the state *planned*, as `_known()` does."""
        if planned is None or self._sticky_filter:  # filters after a sticky one are other shapes
            return None
        values = tuple(kwargs.values())
        node, before, given, limits, _ = planned
        child: Any = node.filters.get((*kwargs, *map(type, values)))
        if type(child) is tuple:
            constants, others, children = child
            child = children.get(constants(values))
            values = others(values)
        if child is None:
            child, values = node.find_filtered(kwargs)
            if child is None:
                return None
        if node.epoch != trie.epoch:
            return None
        child.used = trie.clock
        if values and (prepare := child.prepare) is not None:
            try:
                stored = prepare(values)
            except Exception:  # the long way finds out how it is meant
                return None
            if stored is not values:
                return further(planned, child, values, stored)
        if given is not None:
            given += values
        return child, before + values, given, limits, False

    def _step(self, taken: Taken, *, note: bool = True) -> Self | None:
        """Return this queryset one step further, in plan mode; None where only Django can go.

        With *note*, a shape that was never seen is noted. May raise: the caller lets Django find
        out how it is really meant.
        """
        planned = self._planned
        assert planned is not None
        node = planned[0]
        if node.epoch != trie.epoch:
            renewed = renewed_state(planned)
            if renewed is None:
                return None
            self._planned = planned = renewed
            node = planned[0]
        child = node.children.get(taken.key)
        if child is None:
            if (node.sliced and not _is_of_slices(taken)) or not (note or trie.at_once):
                return None
            child = seen(node, taken.key, taken.make_step)
            if not (child.built or trie.at_once or runs_in_body()):
                return None
        note_use(child)
        values = taken.values
        stored = child.prepared(values)
        return None if stored is None else self._at(further(planned, child, values, stored))

    def _at(self, planned: Planned) -> Self:
        """Return a clone in the state *planned*, or this queryset itself where nothing is cloned."""
        if ALWAYS_CLONES or self._cloning_enabled:
            return self._derive(planned)
        self._planned = planned
        self._sticky_filter = False
        return self

    def _note(self, result: T, trace: Node | None, taken: Taken) -> T:
        """Let *result*, an ordinary queryset, know its shape."""
        if trace is not None and isinstance(result, PlanMode) and (not trace.sliced or _is_of_slices(taken)):
            result._trace = seen(trace, taken.key, taken.make_step)
        return result
