"""Row loaders: generated functions that make of rows exactly what Django's iterables do.

A loader is made once for a compiled query. Its source names each column, so that a row becomes
an instance in a few bytecodes, where Django calls ``from_db()`` and ``__init__()``. Where a
model, a field or a converter runs code of the project in between, that code is called as Django
would call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import Model
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.signals import post_init, pre_init
from django.db.models.utils import create_namedtuple_class

from turbo_orm.bridge.straight import django_errors
from turbo_orm.db.late import check_datetimes
from turbo_orm.plans.columns import RowColumns
from turbo_orm.plans.instances import Instances, WithPeers
from turbo_orm.plans.signals import has_init_receivers
from turbo_orm.plans.unsupported import Unsupported

FETCH_ONE: Any
try:
    from django.db.models.fetch_modes import FETCH_ONE
except ImportError:  # before Django 6.1
    FETCH_ONE = None

__all__ = ["Loader", "assign_known_related", "row_loader", "values_loader"]

#: Since 6.1, Django leaves an instance alone whose fields would have to be queried for.
_SKIPS_DEFERRED = "rel_attnames" in ModelIterable.__iter__.__code__.co_varnames

Known = Mapping[Any, Mapping[Any, Any]]


_init = Model.__init__
_from_db = vars(Model)["from_db"].__func__


class Loader:
    """Makes of the rows of one query what its iterable class would yield.

    Safe to share between threads and connections.
    """

    __slots__ = (
        "_alone",
        "_functions",
        "_make",
        "_make_one",
        "calls_user_code",
        "late",
        "loaded",
        "made_one",
        "model",
        "models",
        "source",
    )

    #: The model whose instances are returned; none for ``values()``.
    model: type[Model] | None
    #: The models whose instances are made without their `from_db()`, without repetition.
    models: tuple[type[Model], ...]
    #: Whether code of the project runs: converters, descriptors, a `from_db()` or what that calls. It may
    #: query: call this in the bridge.
    calls_user_code: bool
    #: The attribute names of the fields that instances of the first model get.
    loaded: frozenset[str]
    #: What `one` is, once somebody has asked for it.
    made_one: Callable[..., Any] | None
    #: The text of the function, for people.
    source: str
    #: The oids of the types of columns that may be texts, by position: see `turbo_orm.db.late`.
    late: Mapping[int, int]

    def __init__(
        self,
        make: Callable[[WithPeers], Callable[..., list[Any]]],
        source: str,
        *,
        model: type[Model] | None = None,
        models: Iterable[type[Model]] = (),
        loaded: Iterable[str] = (),
        calls_user_code: bool = False,
        late: Mapping[int, int] | None = None,
        make_one: Callable[[], Callable[..., Any]] | None = None,
    ) -> None:
        self._make = make
        self._make_one = make_one
        self.made_one = None
        self._alone = make("none")
        self._functions: dict[WithPeers, Callable[..., list[Any]]] = {}
        self.source = source
        self.model = model
        self.models = tuple(dict.fromkeys(models))
        self.loaded = frozenset(loaded)
        self.calls_user_code = calls_user_code
        self.late = late or {}

    def usable(self) -> bool:
        """Whether making the instances of `models` is still Django's work alone.

        Receivers of ``pre_init`` and ``post_init`` come and go, and tests replace methods.
        """
        for model in self.models:
            if model.__init__ is not _init or model.from_db.__func__ is not _from_db:  # type: ignore[attr-defined]
                return False
        if pre_init.receivers or post_init.receivers:
            return not any(map(has_init_receivers, self.models))
        return True

    @property
    def one(self) -> Callable[..., Any] | None:
        """Makes ``one(row, db, fetch_mode)`` the object of the only row; None where it takes a call.

        *fetch_mode* is one that knows of no peers.
        """
        if self.made_one is None and self._make_one is not None and not self.calls_user_code:
            self.made_one = self._make_one()
        return self.made_one

    def takes(self, known: Known) -> bool:
        """Whether `assign_known_related()` can do with *known* what Django does, without queries."""
        if _SKIPS_DEFERRED or not known or self.model is None:
            return True
        return all(name in self.loaded for field in known for name in _attnames(field, self.model))

    def __call__(
        self,
        rows: Sequence[tuple[Any, ...]],
        db: str,
        fetch_mode: Any = None,
        peers: list[Any] | None = None,
    ) -> list[Any]:
        """Return the objects of *rows*, which came from the database *db*.

        *fetch_mode* is the queryset's (Django 6.1; default: Django's). *peers*, an empty list,
        becomes the ``_state.peers`` of the instances of the query's own model and is filled
        with weak references to them.
        """
        if fetch_mode is None:
            fetch_mode = FETCH_ONE
        if peers is None and (fetch_mode is None or not fetch_mode.track_peers):
            load = self._alone
        else:
            wanted: WithPeers = "own"
            if fetch_mode is not None and fetch_mode.track_peers:
                wanted = "all"
                peers = [] if peers is None else peers
            load = self._functions.get(wanted) or self._functions.setdefault(wanted, self._make(wanted))
        try:
            return load(rows, db, fetch_mode, peers)
        except ValueError:
            with django_errors:
                check_datetimes(rows, self.late)
            raise


def row_loader(compiler: Any, iterable_class: type, fields: Sequence[str] | None = None) -> Loader:
    """Return the loader of the query *compiler* has compiled: its ``as_sql()`` has been called.

    *iterable_class* and *fields* are the queryset's ``_iterable_class`` and ``_fields``.
    Raises `Unsupported` where only Django itself does what Django does.
    """
    columns = RowColumns(compiler)
    if iterable_class is ModelIterable:
        # With all that an instance costs, texts have shown no gain.
        return _instances_loader(compiler, columns)
    columns.leave_texts([selected[0] for selected in compiler.select[: compiler.col_count]])
    if iterable_class is ValuesIterable:
        names = _values_names(compiler.query)
        items = ", ".join(f"{name!r}: {columns.value(position)}" for position, name in enumerate(names))
        return values_loader(columns, f"{{{items}}}", len(names))
    if iterable_class is FlatValuesListIterable:
        return values_loader(columns, columns.value(0), 1)
    if iterable_class is ValuesListIterable:
        return values_loader(
            columns, _tuple(columns, _values_list_order(compiler.query, fields, columns.count))
        )
    if iterable_class is NamedValuesListIterable:
        names = list(fields or _values_names(compiler.query))
        order = _values_list_order(compiler.query, fields, columns.count)
        columns.namespace.update(N=create_namedtuple_class(*names), fill=tuple.__new__)
        return values_loader(columns, f"fill(N, {_tuple(columns, order)})")
    raise Unsupported(f"the queryset iterates with {iterable_class.__qualname__}")


def values_loader(columns: RowColumns, expression: str, needed: int = 0) -> Loader:
    """Return what makes *expression* of each row, in which *needed* columns at least have names.

    Raises `Unsupported` if there are fewer.
    """
    if needed > columns.count:
        raise Unsupported("fewer columns than names")
    load, source = columns.function(expression)
    return Loader(lambda peers: load, source, calls_user_code=columns.calls_user_code, late=columns.late)


def _instances_loader(compiler: Any, columns: RowColumns) -> Loader:
    if compiler.klass_info is None:
        raise Unsupported("the query selects no columns of its model")
    instances = Instances(compiler.select, compiler.klass_info, compiler.annotation_col_map, columns)
    return Loader(
        instances.function,
        instances.source("none"),
        model=compiler.klass_info["model"],
        models=instances.models,
        loaded=instances.loaded,
        calls_user_code=columns.calls_user_code or instances.calls_user_code,
        make_one=instances.function_of_one,
    )


def _values_names(query: Any) -> list[str]:
    if getattr(query, "selected", None):
        return list(query.selected)
    return [*query.extra_select, *query.values_select, *query.annotation_select]


def _values_list_order(query: Any, fields: Sequence[str] | None, count: int) -> list[int]:
    """The positions of the columns of a row in the order ``values_list()`` gives them."""
    if fields and not hasattr(query, "selected"):  # before 5.2, SQL had an order of its own
        names = _values_names(query)
        wanted = [*fields, *(name for name in query.annotation_select if name not in fields)]
        if wanted != names:
            if len(wanted) < 2:
                raise Unsupported("Django makes no tuple of a single reordered value")
            positions = {name: position for position, name in enumerate(names)}
            return [positions[name] for name in wanted]
    return list(range(count))


def _tuple(columns: RowColumns, order: Sequence[int]) -> str:
    return "(" + "".join(f"{columns.value(position)}, " for position in order) + ")"


class _KnownField(NamedTuple):
    field: Any
    objects: Mapping[Any, Any]
    attnames: list[str]
    key: Callable[[Any], Any]


def assign_known_related(objects: Sequence[Any], known: Known) -> None:
    """Give *objects* the related objects that are known already, as related managers want it.

    *known* is the queryset's ``_known_related_objects``. Where Django before 6.1 would query
    for a deferred field, so does this: ask `Loader.takes` first.
    """
    if not objects:
        return
    model = type(objects[0])
    fields = [
        _KnownField(field, related, names := _attnames(field, model), attrgetter(*names))
        for field, related in known.items()
    ]
    for found in objects:
        for field, related, attnames, key in fields:
            if field.is_cached(found):
                continue
            if _SKIPS_DEFERRED and any(name not in found.__dict__ for name in attnames):
                continue
            try:
                value = related[key(found)]
            except KeyError:  # of another parent: querysets of two were combined
                continue
            setattr(found, field.name, value)


def _attnames(field: Any, model: type[Model]) -> list[str]:
    return [
        field.attname if name == "self" else model._meta.get_field(name).attname  # type: ignore[union-attr]
        for name in field.from_fields
    ]
