"""Fields which Django does not know."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from django.db import models


class Money(NamedTuple):
    amount: Decimal


class Point(NamedTuple):
    x: int
    y: int


class MoneyField(models.DecimalField):
    """Its type is in TURBO_ORM["FIELD_TYPES"]."""


class PointField(models.Field):
    """Its type is the return annotation of `from_db_value`."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Point | None:
        return None if value is None else Point(*value)


class OpaqueField(models.Field):
    """Nothing tells its type."""


class ShoutingField(models.CharField):
    """As the field it extends."""
