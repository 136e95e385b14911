"""Random scripts."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeAlias

import django
from hypothesis import strategies as st

from tests.runtime.sequences.fields import KEYS, MANAGERS, OF_AUTHORS, OTHER_ENDS, PLAIN
from tests.runtime.sequences.playing import SIGNALS
from tests.runtime.sequences.querying import (
    a_kind,
    a_method,
    a_prefetch,
    a_relation,
    a_slot,
    a_terminal,
    a_value,
    assignable,
    field_names,
    kind_of,
    some_lookups,
    some_values,
)
from tests.runtime.sequences.steps import Block, Key, Rows, Script, Slot, Step

__all__ = ["scripts"]


@st.composite
def _load(draw: Any) -> Step:
    kind = draw(a_kind())
    slot = draw(a_slot((kind,)))
    methods = draw(st.lists(a_method(kind), max_size=3))
    manager = "every" if kind == "draft" and draw(st.booleans()) else "objects"
    verb = draw(st.sampled_from(["list", "list", "each", "iterator", "first", "last", "get", "in_bulk"]))
    if verb == "get":
        methods.append(("filter", (), {"pk": draw(a_slot((kind,)).map(Key))}))
    args = ([draw(a_slot((kind,)).map(Key))],) if verb == "in_bulk" else ()
    return Step("load", (slot, Rows(kind, tuple(methods), manager), verb, *args))


#: An object and one of its relations, with the kind and the sort of that.
_Related: TypeAlias = "tuple[Slot, str, str, str]"


@st.composite
def _related(draw: Any) -> _Related:
    slot = draw(a_slot(tuple(MANAGERS)))
    relation = draw(a_relation(slot.kind))
    return slot, relation, *MANAGERS[slot.kind][relation]


@st.composite
def _ask(draw: Any, of: st.SearchStrategy[_Related]) -> Step:
    slot, relation, kind, _ = draw(of)
    methods = draw(st.lists(a_method(kind), max_size=2))
    verb, args, kwargs = draw(a_terminal(kind))
    if verb == "delete" and not methods:
        methods = [("all", (), {})]
    into = draw(st.none() | a_slot((kind,)))
    return Step("ask", (slot, relation, methods, verb, args, kwargs, into))


_WRITING_OF_KEYS = ("add", "add", "set", "create", "get_or_create", "update_or_create")
_WRITING = (*_WRITING_OF_KEYS, "remove", "clear")


@st.composite
def _change(draw: Any, of: st.SearchStrategy[_Related]) -> Step:
    slot, relation, kind, sort = draw(of)
    verb = draw(st.sampled_from(_WRITING if sort != "key" else _WRITING_OF_KEYS))
    kinds = OF_AUTHORS if kind == "author" else (kind,)
    options: dict[str, Any] = {}
    if sort in ("many", "through") and verb not in ("remove", "clear"):
        if draw(st.integers(0, 2)) == 2:
            options["through_defaults"] = {"stars": 5} if sort == "through" else {}
    elif (
        sort not in ("many", "through") and verb in ("add", "remove", "clear", "set") and draw(st.booleans())
    ):
        options["bulk"] = draw(st.booleans())
    if verb in ("add", "remove", "set"):
        objects = draw(st.lists(a_slot(kinds), max_size=3))
        if sort in ("many", "through") and draw(st.booleans()):
            objects = [Key(each) for each in objects]
        if verb == "set" and draw(st.booleans()):
            options["clear"] = draw(st.booleans())
        return Step("change", (slot, relation, verb, [objects] if verb == "set" else objects, options))
    if verb == "clear":
        return Step("change", (slot, relation, verb, [], options))
    into = draw(st.none() | a_slot((kind,)))
    if verb == "create":
        return Step("change", (slot, relation, verb, [], {**draw(some_values(kind)), **options}, into))
    found = {**draw(_or_create(kind)), **options}
    return Step("change", (slot, relation, verb, [], found, into))


@st.composite
def _or_create(draw: Any, kind: str) -> dict[str, Any]:
    """Return the arguments of `get_or_create()`."""
    name = draw(st.sampled_from([*PLAIN[kind]]))
    defaults = {key: value for key, value in draw(some_values(kind)).items() if key != name}
    return {name: draw(st.sampled_from(PLAIN[kind][name])), "defaults": defaults}


@st.composite
def _hold(draw: Any) -> Step:
    slot, relation, kind, _ = draw(_related())
    return Step("hold", (Slot("held", 0), slot, relation, draw(st.lists(a_method(kind), max_size=1))))


@st.composite
def _ask_held(draw: Any) -> Step:
    methods = draw(st.sampled_from([[], [], [("all", (), {})], [("filter", (), {"pk__gt": 1})]]))
    verb = draw(st.sampled_from(["list", "list", "count", "exists", "first"]))
    return Step("ask_held", (Slot("held", 0), methods, verb, ()))


@st.composite
def _together(draw: Any) -> Step:
    """Return a step of questions only: what is asked at the same time comes in no order."""
    asked: list[Any] = []
    slot, relation, kind, _ = draw(_related())
    for _ in range(draw(st.integers(2, 4))):
        methods = draw(st.lists(a_method(kind), max_size=2))
        verb, args, kwargs = draw(a_terminal(kind).filter(lambda found: found[0] in _QUESTIONS))
        of_relation = draw(st.booleans())
        owner: Any = (slot, relation) if of_relation else Rows(kind, tuple(methods))
        asked.append((owner, methods if of_relation else (), verb, args, kwargs))
    return Step("together", (asked, draw(_HOW)))


#: Which have a statement that is the same in whatever order: server-side cursors are numbered.
_QUESTIONS = ("list", "each", "count", "exists", "first", "last", "get", "aggregate", "contains", "in_bulk")
#: How they are asked at the same time.
_HOW = st.sampled_from(["gather", "batch"])


@st.composite
def _twice(draw: Any) -> Step:
    kind = draw(a_kind())
    return Step("twice", (Rows(kind, tuple(draw(st.lists(a_method(kind), max_size=3)))),))


@st.composite
def _fetch(draw: Any) -> Step:
    kind = draw(a_kind())
    methods = draw(st.lists(a_method(kind), max_size=3))
    relations = [*KEYS[kind], *OTHER_ENDS.get(kind, ()), *MANAGERS.get(kind, ())]
    one = st.sampled_from([*PLAIN[kind], *relations, *relations])
    paths = draw(st.lists(one, min_size=1, max_size=2))
    if paths[0] in relations and paths[0] != "target" and draw(st.booleans()):
        related = kind_of(kind, paths[0])
        then = [*PLAIN[related], *KEYS[related], *MANAGERS.get(related, ())]
        paths[0] += "__" + draw(st.sampled_from(then))
    return Step("fetch", (draw(a_slot((kind,))), Rows(kind, tuple(methods)), paths))


@st.composite
def _read(draw: Any) -> Step:
    slot = draw(a_slot())
    names = [*PLAIN[slot.kind], *KEYS[slot.kind], *OTHER_ENDS.get(slot.kind, ()), "those"]
    name = draw(st.sampled_from(names))
    if draw(st.booleans()):
        return Step("read", (slot, name))
    kinds = KEYS[slot.kind][name][0] if name in KEYS[slot.kind] else (kind_of(slot.kind, name),)
    return Step("take", (draw(a_slot(tuple(k for k in kinds if k in PLAIN) or ("book",))), slot, name))


@st.composite
def _refresh(draw: Any) -> Step:
    slot = draw(a_slot())
    kwargs: dict[str, Any] = {}
    how = draw(st.integers(0, 3))
    if how == 1:
        names = [*field_names(slot.kind), *MANAGERS.get(slot.kind, ())]
        kwargs["fields"] = draw(st.lists(st.sampled_from(names), max_size=2))
    elif how == 2 and django.VERSION >= (5, 1):
        methods = tuple(draw(st.lists(a_method(slot.kind), max_size=2)))
        kwargs["from_queryset"] = Rows(slot.kind, methods)
    return Step("refresh", (slot, kwargs))


@st.composite
def _prefetch(draw: Any) -> Step:
    kind = draw(a_kind())
    slots = draw(st.sampled_from([[Slot(kind, 0)], [Slot(kind, 0), Slot(kind, 1)], [Slot(kind, 1)]]))
    return Step("prefetch", (slots, [draw(a_prefetch(kind))]))


@st.composite
def _assign(draw: Any) -> Step:
    slot = draw(a_slot())
    name = draw(st.sampled_from(assignable(slot.kind)))
    return Step("assign", (slot, name, draw(a_value(slot.kind, name))))


@st.composite
def _assign_key(draw: Any) -> Step:
    slot = draw(a_slot())
    return Step("assign", (slot, "pk", draw(a_value(slot.kind, "pk"))))


@st.composite
def _save(draw: Any) -> Step:
    slot = draw(a_slot())
    how = draw(st.integers(0, 7))
    kwargs: dict[str, Any] = {}
    if how == 5:
        kwargs["force_insert"] = True
    elif how == 6:
        kwargs["force_update"] = True
    elif how > 3:
        kwargs["update_fields"] = draw(st.lists(st.sampled_from(field_names(slot.kind)), max_size=2))
    return Step("save", (slot, kwargs))


@st.composite
def _write(draw: Any) -> Step:
    kind = draw(a_kind())
    slot = draw(a_slot((kind,)))
    verb = draw(
        st.sampled_from(["create", "create", "get_or_create", "update_or_create", "update", "delete"])
    )
    if verb in ("update", "delete"):
        methods: Any = (("filter", (), draw(some_lookups(kind))),)
        name = draw(st.sampled_from(field_names(kind)))
        kwargs = {name: draw(a_value(kind, name))} if verb == "update" else {}
    else:
        methods = ()
        kwargs = draw(some_values(kind) if verb == "create" else _or_create(kind))
    return Step("write", (slot, Rows(kind, methods), verb, (), kwargs))


@st.composite
def _bulk(draw: Any) -> Step:
    if draw(st.booleans()):
        kind = draw(a_kind())
        fields = draw(st.lists(st.sampled_from(field_names(kind)), min_size=1, max_size=2))
        return Step("bulk_update", ([Slot(kind, 0), Slot(kind, 1)], fields))
    slot = draw(a_slot())
    objects = draw(st.lists(some_values(slot.kind), min_size=1, max_size=3))
    kwargs: dict[str, Any] = {}
    how = draw(st.integers(0, 3))
    if how == 1:
        kwargs["ignore_conflicts"] = True
    elif how == 2 and slot.kind in ("tag", "place"):
        unique = "label" if slot.kind == "tag" else "code"
        fields = ["label"] if slot.kind == "tag" else ["size"]
        kwargs = {"update_conflicts": True, "unique_fields": [unique], "update_fields": fields}
    return Step("bulk_create", (slot, objects, kwargs))


@st.composite
def _copy(draw: Any) -> Step:
    kind = draw(a_kind())
    how = draw(st.sampled_from(["copy", "copy", "deepcopy", "pickle"]))
    return Step("copy", (draw(a_slot((kind,))), draw(a_slot((kind,))), how))


@st.composite
def _new(draw: Any) -> Step:
    slot = draw(a_slot())
    return Step("new", (slot, draw(some_values(slot.kind))))


@st.composite
def _alias(draw: Any) -> Step:
    kind = draw(a_kind())
    return Step("alias", (draw(a_slot((kind,))), draw(a_slot((kind,)))))


_steps = st.one_of(
    *([_load()] * 5),
    *([_ask(_related())] * 4),
    *([_change(_related())] * 4),
    *([_read()] * 3),
    *([_assign()] * 3),
    *([_assign_key()] * 2),
    *([_save()] * 3),
    *([_prefetch()] * 3),
    *([_refresh()] * 2),
    *([_write()] * 2),
    *([_copy()] * 2),
    *([_together()] * 2),
    *([_fetch()] * 2),
    _twice(),
    _bulk(),
    _hold(),
    _ask_held(),
    _new(),
    _alias(),
    a_slot().map(lambda slot: Step("unsave", (slot,))),
    a_slot().map(lambda slot: Step("delete", (slot,))),
    a_slot().map(lambda slot: Step("drop", (slot,))),
)
_blocks = st.builds(Block, st.lists(_steps, min_size=1, max_size=4).map(tuple), st.booleans())


@st.composite
def _about_one(draw: Any) -> list[Step]:
    """Return steps that are about one object, and one of its relations."""
    slot, relation, kind, _ = related = draw(_related())
    key = draw(st.none() | st.integers(1, 60) | a_slot((slot.kind,)).map(Key))
    key_step = Step("unsave", (slot,)) if slot.kind == "place" else Step("assign", (slot, "pk", key))
    look = Step("ask", (slot, relation, [], "list", (), {}, draw(st.none() | a_slot((kind,)))))
    found: list[Step] = draw(
        st.lists(
            st.one_of(
                st.just(Step("prefetch", ([slot], [relation]))),
                st.just(look),
                _ask(st.just(related)),
                _change(st.just(related)),
                st.just(key_step),
                st.sampled_from(
                    [
                        Step("save", (slot, {})),
                        Step("refresh", (slot, {})),
                        Step("delete", (slot,)),
                        Step("copy", (Slot(slot.kind, 1 - slot.number), slot, "copy")),
                        Step("hold", (Slot("held", 0), slot, relation, [])),
                        Step("ask_held", (Slot("held", 0), [], "list", ())),
                    ]
                ),
            ),
            min_size=2,
            max_size=5,
        )
    )
    return found


def scripts(longest: int = 8) -> st.SearchStrategy[Script]:
    """Return a strategy for scripts of up to *longest* parts, each a step, a block or a few steps."""
    several = st.lists(_steps, min_size=1, max_size=2)
    part = st.one_of(several, several, _blocks.map(lambda block: [block]), _about_one(), _about_one())
    parts = st.integers(1, longest).flatmap(lambda number: st.lists(part, min_size=number, max_size=number))
    return st.builds(
        Script,
        parts.map(lambda found: tuple(chain.from_iterable(found))),
        st.booleans(),
        st.sampled_from(["none", "none", *SIGNALS]),
    )
