"""The shapes of querysets as a trie: what was called, with which names and kinds of values.

Each node holds a template, a queryset on which Django's own methods were called. A shape is only
noted when it is first seen, and gets its template when it is seen again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.db.models import Model, Q, QuerySet
from django.db.models.fields import related_descriptors
from django.db.models.query_utils import RegisterLookupMixin

from turbo_orm.conf import get_config
from turbo_orm.plans.prepare import at_filter
from turbo_orm.plans.template import Param, TemplateQuery
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import CONTAINERS, Bail, check_container, is_plannable, kind_of

__all__ = [
    "LOCK",
    "Annotate",
    "Call",
    "Extra",
    "Filter",
    "Node",
    "Prefetched",
    "Slice",
    "Step",
    "build_at_once",
    "builds_at_once",
    "clear",
    "epoch",
    "note_use",
    "q_shape",
    "root_of",
    "seen",
    "watch",
]

#: Held while templates are built and compiled, so that nothing is published half made.
LOCK = threading.RLock()


class Filter(NamedTuple):
    """`filter()` or `exclude()`."""

    negated: bool
    sticky: bool
    #: The shapes of the positional `Q` objects.
    qs: tuple[Any, ...]
    names: tuple[str, ...]
    kinds: tuple[Any, ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        args = [_make_q(shape, values) for shape in self.qs]
        kwargs = {
            name: next(values) if isinstance(kind, type) else kind
            for name, kind in zip(self.names, self.kinds, strict=True)
        }
        if self.sticky:
            queryset = _flagged(queryset)
        method = QuerySet.exclude if self.negated else QuerySet.filter
        return method(queryset, *args, **kwargs)

    def value_kinds(self) -> Iterator[type]:
        for shape in self.qs:
            yield from _kinds_in_q(shape)
        yield from (kind for kind in self.kinds if isinstance(kind, type))


class Call(NamedTuple):
    """A method whose arguments are all part of the shape."""

    name: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return getattr(QuerySet, self.name)(queryset, *self.args, **dict(self.kwargs))

    def value_kinds(self) -> Iterator[type]:
        return iter(())


class Slice(NamedTuple):
    """``[low:high]``: the limits themselves are no part of the shape."""

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return queryset

    def value_kinds(self) -> Iterator[type]:
        return iter(())


class Extra(NamedTuple):
    """``extra(select=...)`` without parameters, as Django uses it to prefetch."""

    select: tuple[tuple[str, str], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return QuerySet.extra(queryset, select=dict(self.select))

    def value_kinds(self) -> Iterator[type]:
        return iter(())


class Annotate(NamedTuple):
    """``annotate()`` with expressions which are all part of the shape."""

    expressions: tuple[tuple[str, Any], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return QuerySet.annotate(queryset, **dict(self.expressions))

    def value_kinds(self) -> Iterator[type]:
        return iter(())


#: Django's own, which filters the rows to prefetch for some instances.
_filter_prefetch_queryset: Any = related_descriptors._filter_prefetch_queryset  # type: ignore[attr-defined]


class Prefetched(NamedTuple):
    """The filter of a prefetch, whose value is a list of instances."""

    name: str
    sticky: bool

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        # Of its own: some versions of Django filter in place.
        queryset = _flagged(queryset) if self.sticky else queryset._chain()
        return _filter_prefetch_queryset(queryset, self.name, next(values))

    def value_kinds(self) -> Iterator[type]:
        return iter((list,))


Step = Filter | Call | Slice | Extra | Annotate | Prefetched


def _flagged(queryset: Any) -> Any:
    """Return a copy on which `_next_is_sticky()` was called: templates are shared."""
    # Not through _chain(), which would use the flag up.
    flagged: Any = object.__new__(QuerySet)
    flagged.__dict__.update(queryset.__dict__)
    flagged._sticky_filter = True
    return flagged


def q_shape(q: Any, values: list[Any]) -> tuple[Any, ...]:
    """Return the shape of the `Q` object *q*, adding its values to *values*.

    Raises `Bail` for what can't be a parameter.
    """
    if type(q) is not Q or q.connector == Q.XOR:
        raise Bail
    children: list[Any] = []
    for child in q.children:
        if type(child) is tuple:
            name, value = child
            kind = kind_of(value)
            if kind is not value:
                values.append(value)
            children.append((name, kind))
        else:
            children.append(q_shape(child, values))
    return ("Q", q.connector, q.negated, tuple(children))


def _make_q(shape: tuple[Any, ...], values: Iterator[Any]) -> Q:
    _, connector, negated, children = shape
    q = Q()
    q.connector, q.negated = connector, negated
    q.children = [
        _make_q(child, values)
        if len(child) == 4
        else (child[0], next(values) if isinstance(child[1], type) else child[1])
        for child in children
    ]
    return q


def _kinds_in_q(shape: tuple[Any, ...]) -> Iterator[type]:
    for child in shape[3]:
        if len(child) == 4:
            yield from _kinds_in_q(child)
        elif isinstance(child[1], type):
            yield child[1]


class Node:
    """One shape. Immutable once it is *built*, but for its children, plans and use."""

    __slots__ = (
        "__weakref__",
        "built",
        "children",
        "epoch",
        "fields",
        "forgotten",
        "hopeless",
        "iterable",
        "key",
        "model",
        "parent",
        "plans",
        "prepare",
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
        self.epoch: int = _trie.epoch if parent is None else parent.epoch
        #: No longer in the trie; a queryset of a program still has it.
        self.forgotten = False
        self.children: dict[Any, Node] = {}
        #: By terminal and alias; see ``plans.plan``.
        self.plans: dict[Any, Any] = {}
        self.built = False
        #: No template can be made: Django's path, always.
        self.hopeless = False
        self.template: Any = None
        #: How many values there are up to here.
        self.slots = 0
        #: From this step's values to what Django stores of them; None if that is the same.
        self.prepare: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None
        self.sliced = isinstance(step, Slice)
        self.sticky = False
        self.fields: Any = None
        self.iterable: Any = None
        self.used = 0
        #: Why there is no template.
        self.refused: str | None = None

    def __repr__(self) -> str:
        steps = ", ".join(repr(node.step) for node in self.path())
        return f"<Node {self.model.__name__} [{steps}]>"

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
                    return None if self.hopeless else self._build(values)
        return values if self.prepare is None else self.prepare(values)

    def _build(self, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        assert self.parent is not None
        assert self.step is not None
        foreign = [kind for kind in self.step.value_kinds() if not is_plannable(kind)]
        if foreign:
            self._give_up(f"a {foreign[0].__name__} is not plain data")
            return None
        for value in values:
            if type(value) in CONTAINERS:
                check_container(value)
        before = self.parent.slots
        params = [Param(before + index, value) for index, value in enumerate(values)]
        template = self.step.apply(self.parent.template, iter(params))
        for param in params:
            if param.bad or len(param.found) != 1:
                self._give_up(param.bad or f"a value is used {len(param.found)} times")
                return None
            if type(param.prepared) is list and None in param.prepared:
                raise Bail
        try:
            prepares = [at_filter(*param.found[0], param.value) for param in params]
        except Unsupported as exc:
            self._give_up(str(exc))
            return None
        if any(prepares):
            self.prepare = _each(prepares)
        self.slots = before + len(params)
        self._adopt(template)
        return values if self.prepare is None else tuple([param.prepared for param in params])

    def _adopt(self, template: Any) -> None:
        self.template = template
        self.fields = template._fields
        self.iterable = template._iterable_class
        self.sticky = template.query.filter_is_sticky
        self.built = True  # last: other threads look at it without the lock

    def _give_up(self, why: str) -> None:
        self.refused = why
        self.hopeless = True


def _each(prepares: Sequence[Callable[[Any], Any] | None]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(prepares) == 1 and (only := prepares[0]) is not None:
        return lambda values: (only(values[0]),)

    def prepare(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            [value if each is None else each(value) for each, value in zip(prepares, values, strict=True)]
        )

    return prepare


class _Trie:
    """All shapes, and how many there are."""

    def __init__(self) -> None:
        #: Each belongs to its model, and goes with it: migrations make many that are soon gone.
        self.roots: weakref.WeakSet[Node] = weakref.WeakSet()
        self.count = 0
        #: Counts uses, so that shapes know when they were last used.
        self.clock = 0
        #: Plans of an older epoch are not used: something they depend on has changed.
        self.epoch = 0
        #: Make a template when a shape is first seen; tests see most shapes once.
        self.at_once = False


_trie = _Trie()


def root_of(model: type[Model]) -> Node:
    """Return the node of ``QuerySet(model)``."""
    root: Node | None = model._meta.__dict__.get("_turbo_root")
    return root if root is not None and root.epoch == _trie.epoch else _make_root(model)


def _make_root(model: type[Model]) -> Node:
    with LOCK:
        root: Node | None = model._meta.__dict__.get("_turbo_root")
        if root is None or root.epoch != _trie.epoch:
            root = Node(None, None, None, model)
            root._adopt(QuerySet(model=model, query=TemplateQuery(model)))
            model._meta.__dict__["_turbo_root"] = root
            _trie.roots.add(root)
        return root


def seen(parent: Node, key: Any, step: Step) -> Node:
    """Return the child of *parent* at *key*, a new one if the shape was never seen."""
    with LOCK:
        if parent.epoch != _trie.epoch:
            return Node(parent, key, step, parent.model)
        if parent.forgotten:
            parent = _attached(parent)
        child = parent.children.get(key)
        if child is None:
            limit = get_config().max_shapes
            if _trie.count >= limit:
                note_use(parent)
                _forget_oldest(keeping=limit // 2)
                parent = _attached(parent)
            child = Node(parent, key, step, parent.model)
            note_use(child)
            parent.children[key] = child
            _trie.count += 1
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
        _trie.count += 1
    return found


def note_use(node: Node) -> None:
    _trie.clock += 1
    node.used = _trie.clock


def _forget_oldest(keeping: int) -> None:
    """Drop the shapes that were not used for longest, but for the number to keep.

    A shape is in use as long as one that extends it is, so whole branches go.
    """
    nodes: list[Node] = [child for root in _trie.roots for child in root.children.values()]
    for node in nodes:  # which grows: parents come before their children
        nodes.extend(node.children.values())
    for node in reversed(nodes):
        parent = node.parent
        if parent is not None and parent.used < node.used:
            parent.used = node.used
    uses = sorted([node.used for node in nodes], reverse=True)
    if len(uses) > keeping:
        last_use = uses[keeping]
        for node in nodes:
            if node.used <= last_use:
                _forget(node)
    _trie.count = sum([not node.forgotten for node in nodes])


def _forget(node: Node) -> None:
    node.forgotten = True
    node.children = {}
    if node.parent is not None:
        node.parent.children.pop(node.key, None)


def builds_at_once() -> bool:
    """Whether shapes get their templates when they are first seen."""
    return _trie.at_once


def build_at_once(at_once: bool = True) -> None:
    """Make templates, and so plans, for shapes which are seen for the first time; or not any more."""
    _trie.at_once = at_once


def epoch() -> int:
    """Return a number that changes when plans made so far must not be used any more."""
    return _trie.epoch


def clear() -> None:
    """Forget every shape and its plans."""
    with LOCK:
        _trie.roots.clear()
        _trie.count = 0
        _trie.epoch += 1


_WATCHED = {"USE_TZ", "TIME_ZONE", "DATABASES", "DATABASE_ROUTERS", "INSTALLED_APPS", "TURBO_ORM"}


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in _WATCHED:
        clear()


def watch() -> None:
    """Forget the shapes when settings or registered lookups change what Django would make of them."""
    setting_changed.connect(_on_setting_changed, dispatch_uid="turbo_orm.plans.shapes")
    mixin = vars(RegisterLookupMixin)
    clear_cached = mixin["_clear_cached_class_lookups"]
    if hasattr(clear_cached.__func__, "_turbo"):
        return
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

    clear_too._turbo = True  # type: ignore[attr-defined]
    return clear_too
