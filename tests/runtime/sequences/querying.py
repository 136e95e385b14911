"""Random objects, values and methods of querysets, as scripts have them."""

from __future__ import annotations

from typing import Any

import django
from hypothesis import strategies as st

from tests.runtime.sequences.fields import KEYS, MANAGERS, OTHER_ENDS, PLAIN
from tests.runtime.sequences.steps import Ahead, Key, Rows, Slot, Sum
from turbo_orm.fetch_modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE

__all__ = [
    "a_kind",
    "a_method",
    "a_prefetch",
    "a_relation",
    "a_slot",
    "a_terminal",
    "a_value",
    "assignable",
    "field_names",
    "kind_of",
    "some_lookups",
    "some_values",
]

#: What a sequence is about: sequences of few kinds and relations come back to the same objects more often.
_kinds: st.SearchStrategy[tuple[str, ...]] = st.shared(
    st.sampled_from(
        [
            ("author", "book"),
            ("author", "book", "poet"),
            ("author", "author", "poet", "scribe", "profile", "passport"),
            ("book", "tag"),
            ("book", "note", "draft"),
            ("author", "place", "member"),
            ("author", "book", "reading"),
            ("author", "diary", "tag"),
            tuple(PLAIN),
        ]
    ),
    key="kinds",
)
#: Which of its relations, by number, the first of these kinds has most to do with.
_number: st.SearchStrategy[int] = st.shared(st.integers(0, 8), key="relation")


@st.composite
def a_kind(draw: Any, *, among: Any = None) -> Any:
    """Return a kind, *among* these."""
    usual = draw(_kinds)
    if among is not None:
        usual = [kind for kind in usual if kind in among] or among
    return draw(st.sampled_from([usual[0], *usual]))


@st.composite
def a_relation(draw: Any, kind: str) -> Any:
    """Return the name of a related manager of a kind that has some."""
    names = [*MANAGERS[kind]]
    return names[draw(_number) % len(names)] if draw(st.integers(0, 3)) else draw(st.sampled_from(names))


@st.composite
def a_slot(draw: Any, kinds: Any = None) -> Slot:
    """Return a variable of one of *kinds*."""
    return Slot(draw(a_kind(among=kinds)), draw(st.sampled_from([0, 0, 1])))


def field_names(kind: str) -> list[str]:
    """Return the names of fields as querysets have them."""
    return [*PLAIN[kind], *(name for name in KEYS[kind] if name != "target")]


def assignable(kind: str) -> list[str]:
    """Return the names of what can be assigned to."""
    keys = [name for name in KEYS[kind] if name != "target"]
    return [*PLAIN[kind], *KEYS[kind], *(f"{name}_id" for name in keys), "pk"]


@st.composite
def a_value(draw: Any, kind: str, name: str) -> Any:
    """Return a value for a field, which may be another's key."""
    if name in PLAIN[kind]:
        values = PLAIN[kind][name]
        if type(values[-1]) is int and draw(st.integers(0, 7)) == 7:
            return Sum(name, 1)
        return draw(st.sampled_from(values))
    if name == "pk":
        return draw(st.none() | a_slot((kind,)).map(Key) | st.integers(1, 60)) if kind != "place" else None
    of_key = name.removesuffix("_id")
    kinds, nullable = KEYS[kind][of_key]
    slots: st.SearchStrategy[Any] = a_slot(kinds)
    if name != of_key:
        slots = slots.map(Key) if kinds != ("place",) else st.sampled_from(["c1", "c2"])
    return draw(slots | st.none() if nullable or draw(st.integers(0, 9)) == 9 else slots)


@st.composite
def some_values(draw: Any, kind: str) -> dict[str, Any]:
    """Return values for fields, that make an object."""
    found = {}
    for name, (kinds, nullable) in KEYS[kind].items():
        if not nullable or draw(st.integers(0, 3)) == 3:
            found[name] = draw(a_slot(kinds))
    for name, values in PLAIN[kind].items():
        if draw(st.booleans()):
            found[name] = draw(st.sampled_from(values))
    return found


@st.composite
def some_lookups(draw: Any, kind: str) -> dict[str, Any]:
    """Return the arguments of a filter."""
    name = draw(st.sampled_from(["pk", "pk__in", *field_names(kind)]))
    if name == "pk":
        return {"pk": draw(a_slot((kind,)).map(Key))}
    if name == "pk__in":
        return {"pk__in": [draw(a_slot((kind,)).map(Key)), draw(a_slot((kind,)).map(Key))]}
    if name in PLAIN[kind]:
        ending = draw(st.sampled_from(["", "", "__gt", "__in"]))
        value = draw(st.sampled_from([each for each in PLAIN[kind][name] if each is not None]))
        return {name + ending: [value] if ending == "__in" else value}
    if draw(st.booleans()):
        return {f"{name}__isnull": draw(st.booleans())}
    return {name: draw(a_slot(KEYS[kind][name][0]))}


def _to_one(kind: str) -> list[str]:
    return [*(name for name in KEYS[kind] if name != "target"), *OTHER_ENDS.get(kind, ())]


def kind_of(kind: str, name: str) -> str:
    """Return the kind of the objects that a relation leads to."""
    if name in MANAGERS.get(kind, {}):
        return MANAGERS[kind][name][0]
    if name in KEYS[kind]:
        return KEYS[kind][name][0][0]
    return {"author_ptr": "author"}.get(name, name)


@st.composite
def a_prefetch(draw: Any, kind: str, *, deep: bool = True) -> Any:
    """Return a lookup for `prefetch_related()`."""
    others = [*KEYS[kind], *OTHER_ENDS.get(kind, ())]
    if kind in MANAGERS and (not others or draw(st.integers(0, 2))):
        name = draw(a_relation(kind))
    else:
        name = draw(st.sampled_from(others))
    if name == "target":
        return name
    related = kind_of(kind, name)
    if deep and draw(st.integers(0, 2)) == 2:
        then = draw(a_prefetch(related, deep=False))
        if isinstance(then, str):
            return f"{name}__{then}"
    how = draw(st.integers(0, 3))
    if how < 2:
        return name
    # Of one object: Django, having put that there, may load it once more.
    to_attr = draw(st.sampled_from([None, "those"])) if name in MANAGERS.get(kind, ()) else None
    rows = None
    if how == 3:
        manager = "every" if related == "draft" and draw(st.booleans()) else "objects"
        rows = Rows(related, tuple(draw(st.lists(a_method(related, ahead=deep), max_size=2))), manager)
    return Ahead(name, rows, to_attr)


@st.composite
def a_method(draw: Any, kind: str, *, ahead: bool = True) -> Any:
    """Return a method of querysets with its arguments, after which rows are objects still."""
    sorts = ["filter", "filter", "exclude", "order_by", "only", "defer", "select_related", "all"]
    if ahead:
        sorts += ["prefetch_related"] * 4
    if django.VERSION >= (6, 1):
        sorts.append("fetch_mode")
    sort = draw(st.sampled_from(sorts))
    if sort in ("filter", "exclude"):
        return sort, (), draw(some_lookups(kind))
    if sort == "order_by":
        return sort, (draw(st.sampled_from(["pk", "-pk"])),), {}
    if sort in ("only", "defer"):
        return sort, tuple(draw(st.lists(st.sampled_from(field_names(kind)), min_size=1, max_size=2))), {}
    if sort == "select_related" and _to_one(kind):
        return sort, (draw(st.sampled_from(_to_one(kind))),), {}
    if sort == "prefetch_related":
        return sort, tuple(draw(st.lists(a_prefetch(kind), min_size=1, max_size=2))), {}
    if sort == "fetch_mode":
        return sort, (draw(st.sampled_from([FETCH_ONE, FETCH_PEERS, FETCH_PEERS, FETCH_RAISE])),), {}
    return "all", (), {}


_TERMINALS = (
    *("list", "list", "each", "iterator", "count", "exists", "first", "last", "get", "aggregate"),
    *("contains", "in_bulk", "earliest", "update", "delete"),
)


@st.composite
def a_terminal(draw: Any, kind: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return a method that ends a chain, with its arguments."""
    verb = draw(st.sampled_from(_TERMINALS))
    if verb == "get":
        return verb, (), draw(some_lookups(kind))
    if verb == "contains":
        return verb, (draw(a_slot((kind,))),), {}
    if verb == "in_bulk":
        return verb, ([draw(a_slot((kind,)).map(Key))],), {}
    if verb == "earliest":
        return verb, ("pk",), {}
    if verb == "update":
        name = draw(st.sampled_from(field_names(kind)))
        return verb, (), {name: draw(a_value(kind, name))}
    return verb, (), {}
