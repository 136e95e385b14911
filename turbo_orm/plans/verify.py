"""Always-compare: each planned statement against what Django itself would execute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from django.core.exceptions import EmptyResultSet

from turbo_orm.errors import PlanMismatchError
from turbo_orm.plans.capture import capture_terminal
from turbo_orm.plans.connections import connections_capturing
from turbo_orm.plans.plan import Bound, returning_of
from turbo_orm.plans.planned import Planned, replayed
from turbo_orm.plans.state import PlanMode
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["Verified", "compare", "same_params", "verify"]

#: The text and the parameters.
_Statement = tuple[str, Sequence[Any]]


#: In the place of both where nothing is executed.
_NOTHING: tuple[str, tuple[Any, ...]] = "(no query at all)", ()


class Verified:
    """How many planned statements were compared, and how many were not Django's."""

    same = 0
    different = 0


def verify(
    bound: Bound,
    queryset: PlanMode,
    planned: Planned,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Raise `PlanMismatchError` unless *bound* is what its terminal would execute of a plain queryset.

    That is *queryset* in the state *planned*; *arguments* are those of ``update()`` and ``aggregate()``.
    """
    plan, limits = bound.plan, bound.limits

    def djangos() -> _Statement:
        twin = replayed(planned)
        if limits is not None:
            twin.query.set_limits(*limits)
        with connections_capturing(plan.alias):
            try:
                statement: _Statement = capture_terminal(
                    twin, plan.name, plan.alias, arguments, returning_of(plan.terminal)
                ).as_sql()
            except EmptyResultSet:
                return _NOTHING
        return statement

    ours = _NOTHING if bound.statement.known is not None else bound.as_sql()
    compare(f"for {plan.name}() of {queryset.model.__name__}", ours, djangos)


def compare(what: str, planned: tuple[str, tuple[Any, ...]], djangos: Callable[[], _Statement]) -> None:
    """Raise `PlanMismatchError` unless the statement *planned* is what *djangos* makes.

    *what* is a plan that does what: "to insert Book". Of a value that Django itself makes another one
    each time, such as that of an encrypted field, only the type is compared.
    """
    sql, params = planned
    try:
        text, others = djangos()
    except (EmptyResultSet, Unsupported) as exc:
        _refuse(what, django=f"no statement ({exc})", plan=f"{sql!r} {params!r}")
    if sql != text or not (
        same_params(params, tuple(others)) or _same_but_varying(params, tuple(others), tuple(djangos()[1]))
    ):
        _refuse(what, django=f"{text!r} {tuple(others)!r}", plan=f"{sql!r} {params!r}")
    Verified.same += 1


def _refuse(what: str, *, django: str, plan: str) -> NoReturn:
    Verified.different += 1
    raise PlanMismatchError(
        f"A plan {what} differs from Django's own statement. "
        f"Please report it; until then set TURBO_ORM = {{'PLANS': False}}.\n"
        f"  Django: {django}\n  plan:   {plan}"
    )


def _same_but_varying(params: tuple[Any, ...], others: tuple[Any, ...], again: tuple[Any, ...]) -> bool:
    return len(params) == len(others) == len(again) and all(
        _same_param(param, other) or (type(param) is type(other) and not _same_param(other, anew))
        for param, other, anew in zip(params, others, again, strict=True)
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
