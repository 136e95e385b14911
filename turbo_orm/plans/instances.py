"""Model instances out of the columns of a row: what ``from_db()`` and select_related() do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any, Literal, NamedTuple
from weakref import ref

from django.db.models import Model, query
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute

from turbo_orm.plans.columns import RowColumns
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.signals import has_init_receivers
from turbo_orm.plans.unsupported import Unsupported

__all__ = [
    "Instances",
    "WithPeers",
    "cache_key",
    "is_djangos",
    "is_free",
    "is_made_by_django",
    "stores_directly",
]

#: Data descriptors that only put the value into the ``__dict__`` of an instance which has none yet.
_DIRECT = (ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)

#: Which instances get peers: none, those of the query's own model, or all (`FETCH_PEERS`).
WithPeers = Literal["none", "own", "all"]

#: Names of attributes, and the positions of their columns.
_Fields = list[tuple[str, int]]

_HAS_FETCH_MODES = hasattr(ModelState, "fetch_mode")

#: Since 6.1 the end of an instance needs the dictionary, and it is cheaper to make here.
_ALWAYS_HAS_CACHE = hasattr(ModelState, "__del__")

#: Django 6.1 looks whether a `from_db()` takes the fetch mode.
_get_from_db = getattr(query, "_get_from_db", lambda model, fetch_mode: model.from_db)

#: More nested relations than this are not worth a thought about Python's limits.
_MAX_DEPTH = 40

#: Where Django keeps `Model`; a method that was replaced from outside has another.
_BASE = sys.modules[Model.__module__].__file__


def is_made_by_django(model: type[Model]) -> bool:
    """Whether making an instance of *model* is Django's work alone, but for receivers of its signals."""
    return (
        model.__init__ is Model.__init__
        and is_djangos(Model.__init__)
        and getattr(model.from_db, "__func__", None) is vars(Model)["from_db"].__func__
        and is_djangos(vars(Model)["from_db"].__func__)
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and type(model).__call__ is type.__call__
        # Model.__init__() ends with super().__init__().
        and not any("__init__" in vars(base) for base in model.__mro__[model.__mro__.index(Model) + 1 : -1])
    )


def is_djangos(function: Any) -> bool:
    """Whether *function* is written where Django's `Model` is, not put in its place later."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename == _BASE


def stores_directly(model: type[Model], name: str) -> bool:
    """Whether ``setattr(new_instance, name, value)`` only puts *value* into its ``__dict__``."""
    for cls in model.__mro__:
        if name in vars(cls):
            kind = type(vars(cls)[name])
            return kind in _DIRECT or not (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))
    return True


class _Relation(NamedTuple):
    """An instance that select_related() hangs on another one."""

    variable: str
    cache: str
    local_setter: Any
    remote_setter: Any
    #: The keys in the ``fields_cache`` of the two, where the setter does nothing but set it.
    local_key: str | None
    remote_key: str | None


class Instances:
    """Generates the functions that make the instances of one query."""

    def __init__(
        self,
        select: Sequence[Any],
        klass_info: Mapping[str, Any],
        annotations: Mapping[str, int] | None,
        columns: RowColumns,
    ) -> None:
        #: Those whose instances are made here, as they are met, with repetitions.
        self.models: list[type[Model]] = []
        #: Their numbers, and the models whose `from_db()` makes them: the project has its part in that.
        self._called: dict[int, type[Model]] = {}
        #: Attribute names the query's own model gets.
        self.loaded: list[str] = []
        #: Whether a descriptor or cache of the project is set, or its `from_db()` called.
        self.calls_user_code = False
        self._select = select
        self._klass_info = klass_info
        self._annotations = annotations or {}
        self._columns = columns
        self._names: dict[int, str] = {}
        self._nodes = 0
        columns.namespace.update(
            new=object.__new__, ModelState=ModelState, ref=ref, Base=Model, get_from_db=_get_from_db
        )
        self.source("none")

    def function(self, peers: WithPeers) -> Callable[..., list[Any]]:
        """Return ``load(rows, db, fetch_mode, peers)``; what *peers* is for says the parameter."""
        load: Callable[..., list[Any]] = make_function(
            "load", self.source(peers), dict(self._columns.namespace)
        )
        return load

    def function_of_one(self) -> Callable[..., Any]:
        """Return ``load_one(row, db, fetch_mode)``, for the only row of a query."""
        lines = [
            f"{self._columns.targets} = row",
            *self._columns.conversions,
            *self._body("none"),
            "return o0",
        ]
        source = "\n".join(["def load_one(row, db, fetch_mode):", *(f"    {line}" for line in lines), ""])
        load_one: Callable[..., Any] = make_function("load_one", source, dict(self._columns.namespace))
        return load_one

    def _body(self, peers: WithPeers) -> list[str]:
        """Return the statements which make the instances of one row."""
        self.models = []
        self._called = {}
        self._nodes = 0
        body: list[str] = []
        self._emit(self._klass_info, body, peers, 0)
        return body

    def source(self, peers: WithPeers) -> str:
        """Return the text of `function`."""
        body = self._body(peers)
        lines = [
            *self._columns.setup,
            *(f"peers{node} = []" for node in range(1, self._nodes) if peers == "all"),
            *(
                f"from_db{node} = get_from_db({self._name('Model', model)}, fetch_mode)"
                for node, model in self._called.items()
            ),
            "loaded = []",
            "add = loaded.append",
            # Of a single row, nobody is a peer.
            *self._columns.for_each_row([*body, "add(o0)"], many=peers != "none"),
            *([f"peers += map(ref, {self._peers()})"] if peers != "none" else []),
            "return loaded",
        ]
        return "\n".join(["def load(rows, db, fetch_mode, peers):", *(f"    {line}" for line in lines), ""])

    def _emit(self, info: Mapping[str, Any], lines: list[str], peers: WithPeers, depth: int) -> int:
        """Append to *lines* what makes the instance of *info*; return its number."""
        if depth > _MAX_DEPTH:
            raise Unsupported("relations are selected too deeply")
        model: type[Model] = info["model"]
        if model._meta.abstract:
            raise Unsupported(f"{model.__qualname__} is abstract")
        node = self._nodes
        self._nodes += 1
        if not is_made_by_django(model) or has_init_receivers(model):
            self._emit_call(node, info, lines, peers, depth)
            return node
        self.models.append(model)
        # The other instances come first: their number and order is nothing Django shows.
        relations = [
            self._emit_relation(related, lines, peers, depth)
            for related in info.get("related_klass_infos", ())
        ]
        fields = self._fields(info)
        if node == 0:
            self.loaded = [name for name, _ in fields]
        direct, late = _split_where_seen(model, fields)
        self.calls_user_code = self.calls_user_code or bool(late)
        annotations = list(self._annotations.items()) if node == 0 else []
        plain = not late and all(relation.local_key is not None for relation in relations)
        if plain and all(is_free(model, name) for name, _ in annotations):
            direct, annotations = [*direct, *annotations], []
        lines.append(f"s{node} = ModelState()")
        if relations or depth > 0 or _ALWAYS_HAS_CACHE or _has_foreign_keys(model, fields):
            cached = [f"{each.local_key!r}: {each.variable}" for each in relations] if plain else []
            # As a variable, for the other end of a one-to-one relation.
            lines.append(f"s{node}.fields_cache = f{node} = {{{', '.join(cached)}}}")
        items = "".join(f", {name!r}: c{position}" for name, position in direct)
        made = [
            f"o{node} = new({self._name('Model', model)})",
            f"o{node}.__dict__ = {{'_state': s{node}{items}}}",
        ]
        known = _known_of(node, peers)
        # A descriptor sees what it would in __init__(): an object that is being made.
        lines += [*known, *made] if not late else [*made, *(_set(node, *field) for field in late), *known]
        if peers == "all" and node:
            lines.append(f"peers{node}.append(ref(o{node}))")
        for relation in relations:
            lines += self._connect(node, relation, local=not plain)
        for name, position in annotations:
            self.calls_user_code = self.calls_user_code or not stores_directly(model, name)
            lines.append(_set(node, name, position))
        return node

    def _emit_call(
        self, node: int, info: Mapping[str, Any], lines: list[str], peers: WithPeers, depth: int
    ) -> None:
        """Append to *lines* what has `from_db()` make the instance of *info*, in Django's order."""
        self._called[node] = info["model"]
        self.calls_user_code = True
        positions = [position for _, position in self._fields(info)]
        names = [self._select[position][0].target.attname for position in positions]
        if node == 0:
            self.loaded = names
        values = "".join(f"c{position}, " for position in positions)
        # The project may look at the lists Django passes.
        values = f"[{values}]" if self._columns.converts and not info.get("from_parent") else f"({values})"
        lines.append(f"o{node} = from_db{node}(db, {self._name('names', names)}, {values})")
        if _has_peers(node, peers):
            lines.append(f"if isinstance(o{node}, Base): o{node}._state.peers = peers{node or ''}")
        if peers == "all" and node:
            lines.append(f"peers{node}.append(ref(o{node}))")
        for related in info.get("related_klass_infos", ()):
            relation = self._emit_relation(related, lines, peers, depth)._replace(local_key=None)
            lines += self._connect(node, relation, local=True)
        for name, position in self._annotations.items() if node == 0 else ():
            lines.append(_set(node, name, position))

    def _peers(self) -> str:
        # What a `from_db()` returns may be anything.
        return "[each for each in loaded if isinstance(each, Base)]" if 0 in self._called else "loaded"

    def _emit_relation(
        self, info: Mapping[str, Any], lines: list[str], peers: WithPeers, depth: int
    ) -> _Relation:
        inner: list[str] = []
        node = self._emit(info, inner, peers, depth + 1)
        positions = dict(self._fields(info))
        key = _key_attname(info["model"])
        if key not in positions:
            raise Unsupported("a related object is selected without its key")
        lines += [
            f"if c{positions[key]} is None:",
            f"    o{node} = None",
            "else:",
            *(f"    {line}" for line in inner),
        ]
        local_setter, remote_setter = info["local_setter"], info["remote_setter"]
        for setter in (local_setter, remote_setter):
            owner = getattr(setter, "__self__", None)
            if isinstance(owner, FieldCacheMixin) and _cache_key(setter) is None:
                self.calls_user_code = True
        return _Relation(
            f"o{node}",
            f"f{node}",
            local_setter,
            None if _does_nothing(remote_setter) else remote_setter,
            _cache_key(local_setter),
            None if node in self._called else _cache_key(remote_setter),
        )

    def _connect(self, node: int, relation: _Relation, *, local: bool) -> list[str]:
        lines = []
        other = relation.variable
        if local and relation.local_key is not None:
            lines.append(f"f{node}[{relation.local_key!r}] = {other}")
        elif local:
            lines.append(f"{self._name('set_local', relation.local_setter)}(o{node}, {other})")
        if relation.remote_key is not None:
            lines.append(f"if {other} is not None: {relation.cache}[{relation.remote_key!r}] = o{node}")
        elif relation.remote_setter is not None:
            setter = self._name("set_remote", relation.remote_setter)
            lines.append(f"if {other} is not None: {setter}({other}, o{node})")
        return lines

    def _fields(self, info: Mapping[str, Any]) -> _Fields:
        """The attribute names an instance gets, in the order it gets them, and their columns."""
        numbers: list[int] = info["select_fields"]
        concrete = [field.attname for field in info["model"]._meta.concrete_fields]
        if info.get("from_parent"):
            columns = {self._select[number][0].target.attname: number for number in numbers}
            found = [(name, columns[name]) for name in concrete if name in columns]
            if len(found) < 2:
                raise Unsupported("Django makes no row of a single column of a parent")
            return found
        positions = range(numbers[0], numbers[-1] + 1)
        names = [self._select[position][0].target.attname for position in positions]
        if len(names) != len(concrete):
            concrete = [name for name in concrete if name in names]
        if len(names) != len(concrete):
            raise Unsupported(f"the columns of {info['model'].__qualname__} are not its fields")
        return list(zip(concrete, positions, strict=True))

    def _name(self, prefix: str, value: Any) -> str:
        # By identity: setters are bound methods, and klass_info keeps them alive.
        if id(value) not in self._names:
            self._names[id(value)] = self._columns.name(prefix, value)
        return self._names[id(value)]


def _split_where_seen(model: type[Model], fields: _Fields) -> tuple[_Fields, _Fields]:
    """Split *fields* before the first one whose descriptor does more than to store the value."""
    for number, (name, _) in enumerate(fields):
        if not stores_directly(model, name):
            return fields[:number], fields[number:]
    return fields, []


def _has_peers(node: int, peers: WithPeers) -> bool:
    return peers == "all" or (peers == "own" and node == 0)


def _known_of(node: int, peers: WithPeers) -> list[str]:
    """Return what `from_db()` and the queryset tell the state of an instance."""
    lines = [f"s{node}.adding = False", f"s{node}.db = db"]
    if _HAS_FETCH_MODES:
        lines.append(f"s{node}.fetch_mode = fetch_mode")
    if _has_peers(node, peers):
        lines.append(f"s{node}.peers = peers{node or ''}")
    return lines


def _set(node: int, name: str, position: int) -> str:
    if name.isidentifier() and not iskeyword(name):
        return f"o{node}.{name} = c{position}"
    return f"setattr(o{node}, {name!r}, c{position})"


def is_free(model: type[Model], name: str) -> bool:
    """Whether no data descriptor of *model* hears of *name*, not even one of Django's."""
    kind = next((type(vars(cls)[name]) for cls in model.__mro__ if name in vars(cls)), None)
    return name != "_state" and not (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))


def _has_foreign_keys(model: type[Model], fields: Sequence[tuple[str, int]]) -> bool:
    return any(not is_free(model, name) for name, _ in fields)


def _key_attname(model: type[Model]) -> str:
    fields = getattr(model._meta, "pk_fields", None) or [model._meta.pk]
    name: str = fields[0].attname
    return name


def _cache_key(setter: Any) -> str | None:
    if getattr(setter, "__func__", None) is not FieldCacheMixin.set_cached_value:
        return None
    return cache_key(setter.__self__)


def cache_key(field: Any) -> str:
    """Return the key under which Django caches *field*, or the other end of a relation."""
    # Before Django 5.1 it is a method's.
    key: str = field.cache_name if hasattr(field, "cache_name") else field.get_cache_name()
    return key


def _does_nothing(setter: Any) -> bool:
    return (
        getattr(setter, "__name__", "") == "<lambda>"
        and getattr(setter, "__module__", "") == "django.db.models.sql.compiler"
    )
