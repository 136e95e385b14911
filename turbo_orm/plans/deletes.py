"""DELETE plans: of rows by their keys, as Django's `Collector` deletes objects, wherever it comes from.

What goes with an object is Django's to collect. Replaced is the method that executes the DELETE;
and of an object with which nothing goes and which nobody hears of, that is all there is to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

from django.db import router
from django.db.models import Model
from django.db.models.deletion import Collector
from django.db.models.sql import DeleteQuery
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.plans import running
from turbo_orm.plans.capture import capture
from turbo_orm.plans.instances import is_djangos
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.plan import Bound
from turbo_orm.plans.verify import compare

__all__ = ["install", "planned_delete"]

_patched: Any = DeleteQuery
_djangos_delete_batch = _patched.delete_batch

#: What `Model.delete()` goes through, as Django has it.
_STEPS = [(Collector, name, getattr(Collector, name)) for name in ("__init__", "collect", "add", "delete")]


def planned_delete(obj: Model, using: str | None) -> Bound | None:
    """Return the DELETE that is all ``obj.delete(using)`` does to the database; None without a plan.

    Raises what Django raises for a key that is none.
    """
    model = type(obj)
    key = obj.pk
    if (
        key is None
        or model.delete is not Model.delete
        or "delete" in obj.__dict__
        or not is_djangos(model.delete)
        or any(getattr(owner, name) is not step for owner, name, step in _STEPS)
    ):
        return None
    alias = using or router.db_for_write(model, instance=obj)
    # Receivers come and go, and so do relations.
    alone = Collector(using=alias, origin=obj).can_fast_delete(obj)
    return _by_keys(model, [key], alias) if alone else None


def _by_keys(model: Any, keys: list[Any], alias: str) -> Bound | None:
    rows = PlannedQuerySet(model=model, using=alias)
    bound: Bound | None = rows.filter(**{f"{model._meta.pk.attname}__in": keys})._bound_raw_delete(alias)
    if bound is not None and bound.plan.verified:
        _verify(bound, model, keys, alias)
    return bound


def _verify(bound: Bound, model: Any, keys: Sequence[Any], alias: str) -> None:
    def djangos() -> Any:
        return capture(alias, lambda: _djangos_delete_batch(DeleteQuery(model), keys, alias)).as_sql()

    compare(f"to delete {model.__name__} by key", bound.as_sql(), djangos)


def install() -> None:
    """Replace `DeleteQuery.delete_batch()`."""

    @wraps(_djangos_delete_batch)
    def delete_batch(self: Any, pk_list: Sequence[Any], using: str) -> int:
        if current_bridge() is None or type(self) is not DeleteQuery or self.alias_map:
            return _djangos_delete_batch(self, pk_list, using)  # type: ignore[no-any-return]
        count = 0
        for start in range(0, len(pk_list), GET_ITERATOR_CHUNK_SIZE):
            keys = [*pk_list[start : start + GET_ITERATOR_CHUNK_SIZE]]
            bound = _by_keys(self.model, keys, using)
            if bound is None:
                count += _djangos_delete_batch(self, keys, using)
            else:
                count += running.run_in_bridge(bound).rowcount
        return count

    _patched.delete_batch = delete_batch
    _STEPS.append((_patched, "delete_batch", delete_batch))
