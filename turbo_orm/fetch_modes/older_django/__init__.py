"""Fetch modes for Djangos which have none of their own (before 6.1)."""

from __future__ import annotations

from django.db.models import QuerySet

__all__ = ["NEEDED"]

#: Whether this Django lacks fetch modes.
NEEDED = not hasattr(QuerySet, "fetch_mode")
