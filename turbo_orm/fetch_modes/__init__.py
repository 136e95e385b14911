"""What reading an unloaded relation or field does: Django 6.1's fetch modes, on every Django.

Before 6.1, objects have a mode if they come from an `AsyncQuerySet` on which `fetch_mode()` was called.
https://docs.djangoproject.com/en/6.1/topics/db/fetch-modes/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # Attributes of the modules: older stubs of Django have no such names, and of a name imported from
    # there pyright would say so wherever it is imported from here.
    from django.core import exceptions
    from django.db.models import fetch_modes

    FetchMode: TypeAlias = fetch_modes.FetchMode
    FieldFetchBlocked: TypeAlias = exceptions.FieldFetchBlocked
    FETCH_ONE: FetchMode
    FETCH_PEERS: FetchMode
    FETCH_RAISE: FetchMode
else:
    try:
        from django.core.exceptions import FieldFetchBlocked
        from django.db.models.fetch_modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE, FetchMode
    except ImportError:
        from turbo_orm.fetch_modes.older_django.modes import (
            FETCH_ONE,
            FETCH_PEERS,
            FETCH_RAISE,
            FetchMode,
            FieldFetchBlocked,
        )

__all__ = ["FETCH_ONE", "FETCH_PEERS", "FETCH_RAISE", "FetchMode", "FieldFetchBlocked"]
