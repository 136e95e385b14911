"""The plans of what is saved: kept by shape, in a dictionary of their model's, up to a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from turbo_orm.plans.unsupported import Unsupported

__all__ = ["MAX_PLANS", "make_and_keep"]

T = TypeVar("T")

#: Of one kind, for one model.
MAX_PLANS = 100


def make_and_keep(plans: dict[Any, T | None], shape: Any, make: Callable[[], T]) -> T | None:
    """Return the plan that *make* makes of *shape*; None, from now on, if that raises `Unsupported`.

    Raises what else it raises, and keeps nothing then: the next object may do.
    """
    plan: T | None
    try:
        plan = make()
    except Unsupported:
        plan = None
    if len(plans) >= MAX_PLANS:
        plans.clear()
    plans[shape] = plan
    return plan
