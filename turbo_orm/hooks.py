"""Everything turbo_orm changes in Django and asgiref, installed when it is imported."""

from __future__ import annotations

import sys

from django.core.exceptions import ImproperlyConfigured

from turbo_orm import async_safety, atomic_requests, base_manager, instance, loading, plain_models, related
from turbo_orm.bridge import greenlets, handler, user_code
from turbo_orm.fetch_modes.older_django import descriptors
from turbo_orm.plans import deletes, inner, shapes, single_rows

__all__ = ["install"]

_installed = False


def install() -> None:
    """Hook in, once per process.

    Raises `ImproperlyConfigured` in a process patched by gevent or eventlet.
    """
    global _installed
    if _installed:
        return
    _refuse_green_threads()
    greenlets.watch_collections()
    handler.install()
    user_code.install()
    instance.install()
    base_manager.install()
    plain_models.install()
    related.install()
    descriptors.install()
    loading.install()
    atomic_requests.install()
    async_safety.install()
    inner.install()
    shapes.watch()
    single_rows.install()
    deletes.install()
    _installed = True


def _refuse_green_threads() -> None:
    for library, module, function in (
        ("gevent", "gevent.monkey", "is_module_patched"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched"),
    ):
        patcher = sys.modules.get(module)
        if patcher is not None and getattr(patcher, function)("socket"):
            raise ImproperlyConfigured(
                f"turbo_orm can't run in a process patched by {library}: both switch greenlets "
                "under the same code. Use an ASGI server's asyncio workers, or do not patch "
                "the socket module."
            )
