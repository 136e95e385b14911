"""Who listens to the signals of a model."""

from __future__ import annotations

from typing import Any
from weakref import ref

from django.db.models import Model
from django.db.models.signals import m2m_changed, post_init, post_save, pre_init, pre_save
from django.dispatch import dispatcher

__all__ = ["has_init_receivers", "has_m2m_receivers", "has_save_receivers"]

_NO_RECEIVERS: Any = dispatcher.NO_RECEIVERS


def has_init_receivers(model: type[Model]) -> bool:
    """Whether somebody is told when an instance of *model* is made."""
    return bool(
        (pre_init.receivers or post_init.receivers)
        and (_has_listeners(pre_init, model) or _has_listeners(post_init, model))
    )


def has_save_receivers(model: type[Model]) -> bool:
    """Whether somebody is told when an instance of *model* is saved."""
    return bool(
        (pre_save.receivers or post_save.receivers)
        and not model._meta.auto_created  # for tables that it has made Django sends none
        and (_has_listeners(pre_save, model) or _has_listeners(post_save, model))
    )


def has_m2m_receivers(through: type[Model]) -> bool:
    """Whether somebody is told when rows of *through*, between two models, come or go."""
    return bool(m2m_changed.receivers and _has_listeners(m2m_changed, through))


def _has_listeners(signal: Any, model: type[Model]) -> bool:
    """Return ``signal.has_listeners(model)``; ask *signal* itself only where its cache does not know."""
    if not signal._dead_receivers and signal.sender_receivers_cache.data.get(ref(model)) is _NO_RECEIVERS:
        return False
    return bool(signal.has_listeners(model))
