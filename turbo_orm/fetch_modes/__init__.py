"""What reading an unloaded relation or field does: Django 6.1's fetch modes, on every Django.

Before 6.1, objects have a mode if they come from an `AsyncQuerySet` on which `fetch_mode()` was called.
https://docs.djangoproject.com/en/6.1/topics/db/fetch-modes/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.exceptions import FieldFetchBlocked
    from django.db.models.fetch_modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE, FetchMode
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
