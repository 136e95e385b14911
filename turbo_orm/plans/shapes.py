"""The shapes of querysets as a trie: what was called, with which names and kinds of values.

Each node holds a template, a queryset on which Django's own methods were called. A shape is only
noted when it is first seen, and gets its template when it is seen again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from django.core.signals import setting_changed
from django.db.models import Model, QuerySet
from django.db.models.query_utils import RegisterLookupMixin

from turbo_orm.conf import get_config
from turbo_orm.plans.prepare import prepare_all
from turbo_orm.plans.steps import NoneType, Order, Slice, Step, kinds_and_values
from turbo_orm.plans.template import LateParam, Param, TemplateQuery
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import CONTAINERS, check_container, is_plannable

__all__ = [
    "LOCK",
    "ROOT",
    "FilteredNode",
    "Node",
    "build_at_once",
    "clear",
    "make_root",
    "note_use",
    "seen",
    "trie",
    "watch",
]

#: Held while templates are built and compiled, so that nothing is published half made.
LOCK = threading.RLock()


class Node:
    """One shape. Immutable once it is *built*, but for its children, plans and use."""

    __slots__ = (
        "__weakref__",
        "built",
        "children",
        "epoch",
        "fields",
        "filters",
        "forgotten",
        "iterable",
        "key",
        "model",
        "parent",
        "plans",
        "prepare",
        "querysets",
        "refused",
        "sliced",
        "slots",
        "step",
        "sticky",
        "template",
        "used",
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self  # a copied queryset has the same shape

    def __init__(self, parent: Node | None, key: Any, step: Step | None, model: type[Model]) -> None:
        self.parent = parent
        #: Among the children of its parent.
        self.key = key
        self.step = step
        self.model = model
        #: What Django made of the shape then may be something else now.
        self.epoch: int = trie.epoch if parent is None else parent.epoch
        #: No longer in the trie; a queryset of a program still has it.
        self.forgotten = False
        self.children: dict[Any, Node] = {}
        #: Of the children, those that ``filter(**kwargs)`` leads to: see `FilteredNode`.
        self.filters: dict[tuple[Any, ...], FilteredNode] = {}
        #: By terminal and alias; see ``plans.finding``.
        self.plans: dict[Any, Any] = {}
        self.built = False
        self.template: Any = None
        #: How many values there are up to here.
        self.slots = 0
        #: From this step's values to what Django stores of them; None if that is the same.
        self.prepare: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None
        self.sliced: bool = isinstance(step, Slice) or (parent is not None and parent.sliced)
        self.sticky = False
        self.fields: Any = None
        self.iterable: Any = None
        self.used = 0
        #: Why no template can be made: it is Django's path, always.
        self.refused: str | None = None
        #: Of a root: querysets of all rows, by class and alias; see ``plans.beginnings``.
        self.querysets: dict[tuple[type, str | None], Any] = {}

    def __repr__(self) -> str:
        steps = ", ".join(repr(node.step) for node in self.path())
        refused = f", no template: {self.refused}" if self.refused else ""
        return f"<Node {self.model.__name__} [{steps}]{refused}>"

    def find_filtered(self, kwargs: Mapping[str, Any]) -> tuple[Node | None, tuple[Any, ...]]:
        """Return where ``filter(**kwargs)`` leads, and with which values; have it in `filters` from now on.

        None for a shape that has no template.
        """
        kinds, values = kinds_and_values(kwargs)
        child = self.children.get((False, False, (), *kwargs, *kinds))
        if child is None or not child.built:
            return None, ()
        self._keep_filtered(kwargs, child)
        return child, values

    def _keep_filtered(self, kwargs: Mapping[str, Any], child: Node) -> None:
        values = tuple(kwargs.values())
        types = [*map(type, values)]
        key = (*kwargs, *types)
        constants = [at for at, kind in enumerate(types) if kind is bool]
        if not constants and NoneType not in types:
            found: FilteredNode = child
        else:
            known = self.filters.get(key)
            if type(known) is tuple:
                found = known
            else:
                others = [at for at, kind in enumerate(types) if kind is not bool and kind is not NoneType]
                found = _picks(constants), _picks(others), {}
            found[2][found[0](values)] = child
        self.filters[key] = found

    def path(self) -> list[Node]:
        """The nodes from the first step to this one."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def prepared(self, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return what Django stores of *values*; None if there is no template, and none can be made.

        Makes it if it is the first time, by running Django's method with *values*: nothing is
        prepared, and warned of, twice. Raises `Bail` if these values can't be parameters, and
        what Django raises for them.
        """
        if not self.built:
            with LOCK:
                if not self.built:
                    return self._build(values) if self.refused is None else None
        return values if self.prepare is None else self.prepare(values)

    def _build(self, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        assert self.parent is not None
        assert self.step is not None
        foreign = [type(value).__name__ for value in values if not is_plannable(type(value))]
        if foreign:
            self.refused = f"a {foreign[0]} is not plain data"
            return None
        for value in values:
            if type(value) in CONTAINERS:
                check_container(value)
        before = self.parent.slots
        make_param = LateParam if isinstance(self.step, Order) else Param
        params = [make_param(before + index, value) for index, value in enumerate(values)]
        try:
            template = self.step.apply(self.parent.template, iter(params))
            self.prepare, stored = prepare_all(params)
        except Unsupported as exc:
            self.refused = str(exc)
            return None
        self.slots = before + len(params)
        self._adopt(template)
        return values if self.prepare is None else stored

    def _adopt(self, template: Any) -> None:
        self.template = template
        self.fields = template._fields
        self.iterable = template._iterable_class
        self.sticky = template.query.filter_is_sticky
        self.built = True  # last: other threads look at it without the lock


#: By the names of the filters and the types of their values: the child; or, where ``True``, ``False``
#: or ``None`` are among these types, what picks the truth values of a call and what picks the other
#: values, and the children by the former.
FilteredNode: TypeAlias = (
    "Node | tuple[Callable[[tuple[Any, ...]], Any], Callable[[tuple[Any, ...]], Any], dict[Any, Node]]"
)


def _picks(positions: Sequence[int]) -> Callable[[tuple[Any, ...]], Any]:
    """Return what makes the tuple of the values at *positions*."""
    if len(positions) > 1:
        return itemgetter(*positions)
    first = positions[0] if positions else 0
    return itemgetter(slice(first, first + len(positions)))  # of one or none, itemgetter() makes no tuple


class _Trie:
    """All shapes, and how many there are."""

    def __init__(self) -> None:
        #: Each belongs to its model, and goes with it: migrations make many that are soon gone.
        self.roots: weakref.WeakSet[Node] = weakref.WeakSet()
        self.count = 0
        #: Counts shapes, so that each knows which were the newest when it was last used.
        self.clock = 0
        #: Plans of an older epoch are not used: something they depend on has changed.
        self.epoch = 0
        #: Make a template when a shape is first seen; tests see most shapes once.
        self.at_once = False


trie = _Trie()


#: Among the attributes of a model's options: the node of ``QuerySet(model)``.
ROOT = "_turbo_root"


def make_root(model: type[Model]) -> Node:
    """Return the node of ``QuerySet(model)``, a new one if there is none of this epoch."""
    with LOCK:
        root: Node | None = model._meta.__dict__.get(ROOT)
        if root is None or root.epoch != trie.epoch:
            root = Node(None, None, None, model)
            root._adopt(QuerySet(model=model, query=TemplateQuery(model)))
            model._meta.__dict__[ROOT] = root
            trie.roots.add(root)
        return root


def seen(parent: Node, key: Any, make_step: Callable[[], Step]) -> Node:
    """Return the child of *parent* at *key*, a new one with a new step if the shape was never seen."""
    with LOCK:
        if parent.epoch != trie.epoch:
            return Node(parent, key, make_step(), parent.model)
        if parent.forgotten:
            parent = _attached(parent)
        child = parent.children.get(key)
        if child is None:
            limit = get_config().max_shapes
            if trie.count >= limit:
                note_use(parent)
                _forget_oldest(keeping=limit // 2)
                parent = _attached(parent)
            child = Node(parent, key, make_step(), parent.model)
            trie.clock += 1
            note_use(child)
            parent.children[key] = child
            trie.count += 1
        return child


def _attached(node: Node) -> Node:
    """Return the node of that shape in the trie: *node* itself unless another has taken its place."""
    if not node.forgotten:
        return node
    assert node.parent is not None
    parent = _attached(node.parent)
    found = parent.children.setdefault(node.key, node)
    if found is node:
        node.forgotten = False
        trie.count += 1
    return found


def note_use(node: Node) -> None:
    node.used = trie.clock


def _forget_oldest(keeping: int) -> None:
    """Drop the shapes that were not used for longest, but for the number to keep.

    A shape is in use as long as one that extends it is, so whole branches go.
    """
    nodes: list[Node] = [child for root in trie.roots for child in root.children.values()]
    for node in nodes:  # which grows: parents come before their children
        nodes.extend(node.children.values())
    nodes.reverse()  # of equals, too, children go before their parents
    for node in nodes:
        parent = node.parent
        if parent is not None and parent.used < node.used:
            parent.used = node.used
    for node in sorted(nodes, key=attrgetter("used"))[: max(0, len(nodes) - keeping)]:
        _forget(node)
    trie.count = sum([not node.forgotten for node in nodes])


def _forget(node: Node) -> None:
    node.forgotten = True
    node.children = {}
    node.filters = {}
    if node.parent is not None:
        node.parent.children.pop(node.key, None)
        node.parent.filters = {}


def build_at_once(at_once: bool = True) -> None:
    """Make templates, and so plans, for shapes which are seen for the first time; or not any more."""
    trie.at_once = at_once


def clear() -> None:
    """Forget every shape and its plans."""
    with LOCK:
        trie.roots.clear()
        trie.count = 0
        trie.epoch += 1


_WATCHED = {"USE_TZ", "TIME_ZONE", "DATABASES", "DATABASE_ROUTERS", "INSTALLED_APPS", "TURBO_ORM"}


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in _WATCHED:
        clear()


def watch() -> None:
    """Forget the shapes when settings or registered lookups change what Django would make of them."""
    setting_changed.connect(_on_setting_changed, dispatch_uid="turbo_orm.plans.shapes")
    mixin = vars(RegisterLookupMixin)
    clear_cached = mixin["_clear_cached_class_lookups"]
    RegisterLookupMixin._clear_cached_class_lookups = classmethod(  # type: ignore[attr-defined]
        _clearing(clear_cached.__func__)
    )
    for name in ("register_lookup", "_unregister_lookup"):
        mixin[name].instance_method = _clearing(mixin[name].instance_method)


def _clearing(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def clear_too(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        finally:
            clear()

    return clear_too
