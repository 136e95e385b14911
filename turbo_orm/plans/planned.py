"""The state of a queryset in plan mode."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from django.db.models import Model, QuerySet
from django.db.models.sql import Query

from turbo_orm.plans.shapes import Node, make_root, seen
from turbo_orm.plans.steps import Step
from turbo_orm.plans.values import CONTAINERS, as_it_is_now

__all__ = [
    "Planned",
    "further",
    "has_all_rows",
    "loads_field",
    "made_query",
    "renewed_state",
    "replayed",
]

#: What a queryset in plan mode has instead of a `Query`, shared by its clones:
#:
#: * the node of its shape;
#: * the values of the steps, as Django's lookups store them;
#: * the values as they were given, where that is not the same, else None;
#: * the limits of its slice, or None;
#: * whether it was cloned after the last step: Django's `Query.chain()` forgets which joins may be reused.
#:
#: A plain tuple, for each step makes one: a named tuple takes three times as long to make and to unpack.
Planned: TypeAlias = (
    "tuple[Node, tuple[Any, ...], tuple[Any, ...] | None, tuple[int, int | None] | None, bool]"
)


def further(planned: Planned, node: Node, values: tuple[Any, ...], stored: tuple[Any, ...]) -> Planned:
    """Return the state after the step to *node* with *values*, which Django stores as *stored*."""
    _, before, given, limits, _ = planned
    if stored is not values:
        given = (*(before if given is None else given), *map(_keep, values, stored))
    elif given is not None:
        given += values
    return node, before + stored, given, limits, False


def renewed_state(planned: Planned) -> Planned | None:
    """Return the same state among the shapes of today; None where there are no templates for it.

    Of a queryset that is older than what its shape depends on, as a lookup that was registered since.
    """
    node, stored, given, limits, chained = planned
    values = iter(stored if given is None else given)
    state: Planned = make_root(node.model), (), None, None, False
    for former in node.path():
        assert former.parent is not None
        own = tuple(islice(values, former.slots - former.parent.slots))
        child = seen(state[0], former.key, partial(_step_of, former))
        prepared = child.prepared(own)
        if prepared is None:
            return None
        state = further(state, child, own, prepared)
    return state[0], state[1], state[2], limits, chained


def _step_of(node: Node) -> Step:
    assert node.step is not None
    return node.step


def replayed(planned: Planned) -> Any:
    """Return a plain queryset, without limits, on which Django's own methods were called with the values."""
    shape, stored, given, _, _ = planned
    values = iter(stored if given is None else given)
    queryset: Any = QuerySet(model=shape.model)
    for node in shape.path():
        queryset = _step_of(node).apply(queryset, values)
    return queryset


def made_query(planned: Planned) -> Query:
    """Return the query of a queryset in the state *planned*."""
    *_, limits, chained = planned
    query: Any = replayed(planned).query
    if chained:
        query = query.chain()
    if limits is not None:
        query.set_limits(*limits)
    return query  # type: ignore[no-any-return]


def has_all_rows(planned: Planned) -> bool:
    """Whether nothing was done to the queryset."""
    node, _, _, limits, _ = planned
    return node.parent is None and limits is None


def loads_field(planned: Planned, field: Any) -> bool:
    """Whether the objects come with *field*, and it is not deferred."""
    mask = planned[0].template.query.get_select_mask()
    return not mask or field in mask


def _keep(value: Any, stored: Any) -> Any:
    """Return what a replay is given for *value*: as it is now, and keeping no instances alive."""
    if value is stored:
        return value  # Django too sees what becomes of it
    kind = type(value)
    if kind in CONTAINERS:
        return stored if any(isinstance(each, Model) for each in value) else as_it_is_now(value)
    if kind is dict:
        return deepcopy(value)
    return stored if isinstance(value, Model) else value
