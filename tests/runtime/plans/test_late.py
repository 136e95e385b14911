"""Columns that the wire leaves texts, and row loaders make values of: the same as psycopg's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DataError, connection, connections, models
from django.db.backends.postgresql import psycopg_any
from django.db.models import F, QuerySet, Sum
from django.test.utils import isolate_apps
from psycopg.postgres import adapters
from psycopg.pq import Format
from psycopg.types.numeric import FloatLoader

from turbo_orm import AsyncManager, AsyncQuerySet, atomic, close_pools, run_sync
from turbo_orm.db.late import FROM_TEXT, MIN_ROWS, NUMERIC, TIMESTAMPTZ, LateContext, LateLoading

UTC = dt.timezone.utc

PRICES = [
    Decimal(text)
    for text in (
        *("0", "0.00", "-1.50", "1E+30", "12345678901234567890.123456789", "NaN", "0.000001", "1.10"),
        *("Infinity", "-Infinity", f"-{'9' * 200}.{'25' * 100}"),
    )
]
MOMENTS = [
    dt.datetime(1, 1, 1, tzinfo=UTC),
    dt.datetime(99, 2, 3, 4, 5, 6, 7, tzinfo=UTC),
    dt.datetime(2020, 2, 29, 23, 59, 59, 500_000, tzinfo=UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


@pytest.fixture(scope="module")
def entry(filled: Any) -> Iterator[Any]:
    """A model with numbers and moments."""
    with isolate_apps("tests.project.library"):

        class Entry(models.Model):
            price = models.DecimalField(max_digits=60, decimal_places=20, null=True)
            at = models.DateTimeField(null=True)
            odd = models.DecimalField(max_digits=8, decimal_places=2, null=True)

            objects = AsyncManager()

            class Meta:
                app_label = "library"

        with connection.schema_editor() as editor:
            editor.create_model(Entry)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE library_entry ALTER price TYPE numeric")
            for number in range(4 * MIN_ROWS):
                price = PRICES[number % len(PRICES)] if number % 3 else None
                at = MOMENTS[number % len(MOMENTS)] if number % 5 else None
                cursor.execute(
                    "INSERT INTO library_entry (id, price, at, odd) VALUES (%s, %s, %s, 1.5)",
                    [number, price, at],
                )
        connections.close_all()
        yield Entry
        with connection.schema_editor() as editor:
            editor.delete_model(Entry)
        connections.close_all()


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each result of many rows that may have texts, whether it does."""
    seen: list[bool] = []
    load = LateLoading.load

    def noted(self: LateLoading, *args: Any) -> Any:
        rows = load(self, *args)
        seen.append(rows is not None and any(type(value) is str for row in rows for value in row))
        return rows

    monkeypatch.setattr(LateLoading, "load", noted)
    return seen


def as_djangos(queryset: Any) -> Any:
    plain: Any = QuerySet(queryset.model)
    plain.query = queryset.query
    plain._iterable_class = queryset._iterable_class
    plain._fields = queryset._fields
    return plain


async def both(make: Callable[[], Any]) -> tuple[list[str], list[str]]:
    """What we load, from the plan, and what Django does, exactly."""
    ours = [await make().alist() for _ in range(4)][-1]
    djangos = await run_sync(lambda: list(as_djangos(make())))
    return [repr(row) for row in ours], [repr(row) for row in djangos]


#: With the types that come as texts.
SHAPES: dict[str, tuple[Callable[[Any], Any], set[int]]] = {
    "dictionaries": (lambda rows: rows.values("id", "price", "at"), {NUMERIC, TIMESTAMPTZ}),
    "tuples": (lambda rows: rows.values_list("at", "id", "price"), {NUMERIC, TIMESTAMPTZ}),
    "named tuples": (lambda rows: rows.values_list("price", "at", named=True), {NUMERIC, TIMESTAMPTZ}),
    "numbers": (lambda rows: rows.values_list("price", flat=True), {NUMERIC}),
    "moments": (lambda rows: rows.values_list("at", flat=True), {TIMESTAMPTZ}),
    "neither": (lambda rows: rows.values_list("id", flat=True), set()),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_values(entry: Any, texts: list[bool], name: str) -> None:
    make, types = SHAPES[name]
    ours, djangos = await both(lambda: make(AsyncQuerySet(entry).order_by("id")))
    assert ours == djangos
    assert any(texts) == bool(types & {*FROM_TEXT})
    async with atomic():
        ours, _ = await both(lambda: make(AsyncQuerySet(entry).order_by("id")))
    assert ours == djangos


async def test_few_rows_and_objects_are_psycopgs(entry: Any, texts: list[bool]) -> None:
    ours, djangos = await both(
        lambda: AsyncQuerySet(entry).order_by("id").values("price", "at")[: MIN_ROWS - 1]
    )
    assert ours == djangos
    for _ in range(3):
        assert len(await AsyncQuerySet(entry).order_by("id").alist()) == 4 * MIN_ROWS
    assert texts == []


async def test_a_column_of_another_type_than_its_field(entry: Any, texts: list[bool]) -> None:
    def alter(kind: str, using: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE library_entry ALTER odd TYPE {kind} USING {using}")

    await run_sync(alter, "timestamptz", "timestamptz '2020-01-01 00:00+00'")
    try:
        ours, djangos = await both(lambda: AsyncQuerySet(entry).order_by("id").values("odd", "price"))
    finally:
        await run_sync(alter, "numeric", "1.5")
    assert ours == djangos
    assert "datetime" in ours[0]
    if TIMESTAMPTZ in FROM_TEXT:
        assert texts
        assert not any(texts)


async def _renew_adapters(name: str, loader: Any) -> None:
    """Have connections made from now on load a type so, as where a project says it at its start."""
    adapters.register_loader(name, loader)
    psycopg_any.get_adapters_template.cache_clear()
    await close_pools()
    connections.close_all()


async def test_loaders_of_the_project(entry: Any, texts: list[bool]) -> None:
    original: Any = adapters.get_loader(NUMERIC, Format.TEXT)
    await _renew_adapters("numeric", FloatLoader)
    try:
        ours, djangos = await both(lambda: AsyncQuerySet(entry).order_by("id").values_list("price", "id"))
    finally:
        await _renew_adapters("numeric", original)
    assert ours == djangos
    assert "Decimal" not in "".join(ours)
    assert not any(texts)


async def test_texts_are_made_by_psycopg(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In C, where psycopg is: called for each value, a loader in Python costs more than is gained."""
    loaders = []
    get_loader = LateContext.get_loader

    def noted(self: Any, oid: int, format: Format) -> Any:  # noqa: A002 - psycopg's name
        loaders.append(get_loader(self, oid, format))
        return loaders[-1]

    monkeypatch.setattr(LateContext, "get_loader", noted)
    await close_pools()
    await both(lambda: AsyncQuerySet(entry).order_by("id").values("price"))
    assert [loader.__name__ for loader in loaders if loader is not None].count("TextLoader") == 1
    assert {loader.__module__.startswith("psycopg.types") for loader in loaders} == {
        psycopg.pq.__impl__ == "python"
    }


async def test_numbers_that_are_no_columns(entry: Any) -> None:
    rows = AsyncQuerySet(entry).order_by("id").values("id")
    ours, djangos = await both(lambda: rows.annotate(of=Sum("price")).values("id", "of", "price"))
    assert ours == djangos
    ours, djangos = await both(
        lambda: AsyncQuerySet(entry).order_by("id").annotate(of=F("price")).values("of")
    )
    assert ours == djangos


@pytest.mark.parametrize(
    "text", ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00+00"]
)
async def test_moments_python_has_no_value_for(entry: Any, text: str) -> None:
    def put(value: str | None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE library_entry SET at = %s WHERE id = 7", [value])

    await run_sync(put, text)
    try:
        with pytest.raises(DataError) as djangos:
            await run_sync(
                lambda: list(as_djangos(AsyncQuerySet(entry).order_by("id").values("at", "price")))
            )
        for _ in range(4):
            with pytest.raises(DataError) as ours:
                await AsyncQuerySet(entry).order_by("id").values("at", "price").alist()
            assert str(ours.value) == str(djangos.value)
    finally:
        await run_sync(put, None)


async def test_another_time_zone_of_the_session(entry: Any, texts: list[bool]) -> None:
    def set_zone(zone: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])

    async with atomic():
        await run_sync(set_zone, "Asia/Kathmandu")
        try:
            ours, djangos = await both(
                lambda: AsyncQuerySet(entry).filter(at__lt=MOMENTS[3]).order_by("id").values_list("at")
            )
        finally:
            await run_sync(set_zone, "UTC")
    assert ours == djangos
    if TIMESTAMPTZ in FROM_TEXT:
        assert texts
        assert not any(texts)


@pytest.mark.skipif(TIMESTAMPTZ not in FROM_TEXT, reason="this Python does not read PostgreSQL's moments")
def test_no_year_is_read_wrongly() -> None:
    for year in (*range(10_000, 294_277, 97), 294_276):
        for time in ("00:00:00", "12:34:56.789"):
            with pytest.raises(ValueError, match=r"isoformat|month|year|day|hour"):
                FROM_TEXT[TIMESTAMPTZ](f"{year}-01-01 {time}+00")
    assert FROM_TEXT[TIMESTAMPTZ]("2020-01-01 00:00:00+00").tzinfo is UTC
