"""The plans of what is saved: kept by shape, in a dictionary of their model's, up to a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from django.db.models import Model

from turbo_orm.plans.unsupported import Unsupported

__all__ = ["MAX_PLANS", "known_of", "make_and_keep"]

T = TypeVar("T")


class _Known(Protocol):
    """What is known of a model, with the ``local_concrete_fields`` it is known for."""

    @property
    def fields(self) -> Any: ...


K = TypeVar("K", bound=_Known)

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


def known_of(model: type[Model], attribute: str, make: Callable[[type[Model]], K]) -> K:
    """Return what is known of *model*, made by *make*, and made anew when the model gets a field.

    It is kept with the model's options, as *attribute*, so that it goes where they go.
    """
    attributes = model._meta.__dict__
    found: K | None = attributes.get(attribute)
    if found is None or found.fields is not attributes.get("local_concrete_fields"):
        found = attributes[attribute] = make(model)
    return found
