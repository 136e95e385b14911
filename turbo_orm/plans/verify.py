"""Always-compare: each planned statement against what Django itself would execute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from turbo_orm.errors import PlanMismatchError
from turbo_orm.plans.capture import capture
from turbo_orm.plans.connections import connections_capturing
from turbo_orm.plans.plan import Bound

__all__ = ["Verified", "compare", "refuse", "same_params", "verify"]


class Verified:
    """How many planned statements were compared, and how many were not Django's."""

    same = 0
    different = 0


def verify(
    bound: Bound,
    twin: QuerySet[Any, Any],
    limits: tuple[int, int | None] | None,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Raise `PlanMismatchError` unless *bound* is what the terminal of *twin* would execute.

    *twin* is the same queryset made by Django's own methods, without the *limits*; *arguments*
    are those of ``update()`` and ``aggregate()``.
    """
    plan = bound.plan
    django: Any = twin
    if limits is not None:
        django.query.set_limits(*limits)
    with connections_capturing(plan.alias):
        try:
            djangos = capture(django, plan.name, plan.alias, arguments).as_sql()
        except EmptyResultSet:
            djangos = "(no query at all)", ()
    compare(f"for {plan.name}() of {django.model.__name__}", bound.as_sql(), djangos)
    Verified.same += 1


def compare(what: str, planned: tuple[str, tuple[Any, ...]], djangos: tuple[str, Sequence[Any]]) -> None:
    """Raise `PlanMismatchError` unless the statement *planned* is *djangos*; *what* as in `refuse()`."""
    sql, params = djangos
    if planned[0] != sql or not same_params(planned[1], tuple(params)):
        refuse(what, django=f"{sql!r} {tuple(params)!r}", plan=f"{planned[0]!r} {planned[1]!r}")


def refuse(what: str, *, django: str, plan: str) -> NoReturn:
    """Raise `PlanMismatchError`: the plan *what* ("to insert Book") is not what Django has."""
    Verified.different += 1
    raise PlanMismatchError(
        f"A plan {what} differs from Django's own statement. "
        f"Please report it; until then set TURBO_ORM = {{'PLANS': False}}.\n"
        f"  Django: {django}\n  plan:   {plan}"
    )


def same_params(params: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether a cursor would send the same for both: values and their types."""
    return len(params) == len(others) and all(map(_same_param, params, others))


def _same_param(param: Any, other: Any) -> bool:
    if type(param) is not type(other):
        return False
    if isinstance(param, list | tuple):
        return same_params(tuple(param), tuple(other))
    if isinstance(param, Decimal):
        return bool(param.compare_total(other) == 0)  # a signaling NaN raises when it is compared otherwise
    if param == other or (param != param and other != other):
        return True
    # psycopg's wrappers of JSON have no __eq__.
    inner, others_inner = getattr(param, "obj", _NONE), getattr(other, "obj", _NONE)
    return inner is not _NONE and inner == others_inner


_NONE = object()
