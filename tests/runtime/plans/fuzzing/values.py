"""Values a program could pass to a lookup, rightly or wrongly."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Value
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from tests.runtime.plans.fuzzing.models import Author, Book, Color, Kit, Level, Shelf, Signed

__all__ = ["MAKERS", "kind_of_made", "make"]

_MOMENT = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.timezone.utc)
_YEARS_END = dt.datetime(2024, 12, 31, 22, 0, tzinfo=dt.timezone.utc)
_KEY = uuid.UUID(int=5)

_Pair = namedtuple("_Pair", "low high")  # noqa: PYI024 - as untyped as those of user code


class _Text(str):
    __slots__ = ()


class _Number(int):
    __slots__ = ()


class _PlainEnum(enum.Enum):
    ONE = 1


class _Listed(list[Any]):
    pass


def _author(key: int | None) -> Author:
    return Author(pk=key, name="x")


def _returning(value: Any) -> Callable[[], Any]:
    return lambda: value


#: Functions, for some values change when they are used, or are changed by who passed them.
MAKERS: tuple[Callable[[], Any], ...] = (
    *(
        _returning(value)
        for value in (
            *(0, 1, 2, 3, 5, -1, 36, 2**15, 2**31, -(2**31) - 1, 2**40, 2**63, 2**64, 2024, 9999, 10000),
            *(True, False, None),
            *("", "5", "abc", "a%b_c\\", "Ada", "1.5", "\x00", "r", "é", "True", "c1", "7:8:9", "2024-05-06"),
            *(
                "2024-01-02T03:04:05",
                "2024-05-06T07:08:09Z",
                "127.0.0.1",
                "::1",
                str(_KEY),
                "1 day",
                '{"a": 1}',
            ),
            *(1.5, 2.0, 0.0, -0.0, 1e300, float("inf"), float("nan")),
            *(
                Decimal("1.50"),
                Decimal("3"),
                Decimal("1e9"),
                Decimal("NaN"),
                Decimal("sNaN"),
                Decimal("Infinity"),
            ),
            *(_KEY, uuid.UUID(int=1), _MOMENT, _MOMENT.replace(tzinfo=None), _YEARS_END),
            _MOMENT.astimezone(dt.timezone(dt.timedelta(hours=3))),
            _MOMENT.astimezone(ZoneInfo("America/New_York")),
            *(_MOMENT.date(), _MOMENT.time(), dt.time(7, 8, tzinfo=dt.timezone.utc)),
            *(dt.date.min, dt.datetime.max, dt.timedelta(days=1), dt.timedelta(0)),
            *(Color.RED, Color.GREEN, Level.LOW, Level.HIGH, _PlainEnum.ONE),
            *(b"xx", b"", memoryview(b"xx"), SafeString("abc"), _Text("abc"), _Number(5)),
            *(range(3), (1, 2), _Pair(1, 2), (_MOMENT, _YEARS_END), (_MOMENT.date(), _MOMENT.date())),
            *(("1", 5), frozenset([4]), frozenset(["r"]), (None, 5), 3 + 1j, object, ...),
        )
    ),
    lambda: _author(1),
    lambda: _author(2),
    lambda: _author(None),
    lambda: Signed(pk=3, author_ptr_id=3),
    lambda: Book(pk=1),
    lambda: Book(),
    lambda: Shelf(id=uuid.UUID(int=1), code="c1"),
    lambda: Shelf(id=uuid.UUID(int=9), code="c2"),
    lambda: Kit(pk=2, book_id=1),
    lambda: {"a": 1},
    lambda: {"a": [1], "b": None},
    dict,
    lambda: [1, 2],
    lambda: [3, 1, 3, 2],
    lambda: [*range(40)],
    list,
    lambda: [None],
    lambda: [1, None],
    lambda: ["a", "b"],
    lambda: ["5", "abc"],
    lambda: [1, "2"],
    lambda: [1, True],
    lambda: [1, 1.0, Decimal(1)],
    lambda: [True, False],
    lambda: [2**31, 1],
    lambda: [2**63],
    lambda: [float("nan"), 1.5],
    lambda: [[1], [2]],
    lambda: [{"a": 1}, {"a": 1}],
    lambda: [_MOMENT],
    lambda: [_MOMENT, _MOMENT.replace(tzinfo=None)],
    lambda: [_MOMENT.date()],
    lambda: [_KEY, str(_KEY)],
    lambda: [_KEY],
    lambda: [Decimal("1"), Decimal("1.50")],
    lambda: [Color.RED],
    lambda: [Level.LOW, 2],
    lambda: [b"xx"],
    lambda: [_author(1), _author(2)],
    lambda: [_author(1), 2],
    lambda: [_author(None)],
    lambda: [Book(pk=1)],
    lambda: [_author(1), Book(pk=1)],
    lambda: [Shelf(id=uuid.UUID(int=1), code="c1")],
    lambda: [F("pk"), 1],
    lambda: _Listed([1, 2]),
    lambda: {1, 2},
    lambda: {"r"},
    set,
    lambda: bytearray(b"xx"),
    lambda: iter([1, 2]),
    lambda: (number for number in (1, 2)),
    lambda: {1: 2}.keys(),
    lambda: F("pk"),
    lambda: F("id") + 1,
    lambda: Value(1),
    lambda: Value(None),
    lambda: Author.objects.filter(pk=1),
    lambda: Author.objects.filter(pk=1).values("pk"),
    lambda: Book.objects.all()[:1],
    lambda: SimpleLazyObject(lambda: _author(1)),
    lambda: SimpleLazyObject(lambda: 1),
    lambda: gettext_lazy("Yes"),
    object,
)


def make(number: int) -> Any:
    """Return the value of that number, a new one where it could be changed."""
    return MAKERS[number]()


_kinds: dict[int, Any] = {}


def kind_of_made(number: int) -> Any:
    """Return what decides whether two values can be used alike."""
    if not _kinds:
        for each, maker in enumerate(MAKERS):
            value = maker()
            _kinds[each] = value if value is None or value is True or value is False else type(value)
    return _kinds[number]
