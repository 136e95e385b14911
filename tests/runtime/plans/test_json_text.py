"""JSON that is inserted: the text is the one Django sends, whatever the value and the dumper."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.db import connection
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.postgres import adapters
from psycopg.types.json import Jsonb, JsonbDumper

from tests.project.library.models import Author, Book
from tests.runtime.parity.data import Snapshot
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.bridge.straight import take_ready
from turbo_orm.db.json_text import JSON_KINDS, JsonText, as_djangos, json_dumper, json_parts, json_texts
from turbo_orm.db.leases import give_back


class Text(str):
    """Not one of the types that are encoded at once."""

    __slots__ = ()


VALUES: dict[str, Any] = {
    "an object": {"a": [1, 2.5, None, True], "b": {"c": "ä\u2028'\"%s"}},
    "a list": [],
    "a string": "x",
    "a number": 10**30,
    "a boolean": False,
    "nothing that JSON knows": float("1e300"),
    "a subclass": Text("y"),
    "a tuple": (1, 2),
    "keys that are not strings": {1: 2, None: 3, False: 4},
}


@pytest.mark.parametrize("name", VALUES)
async def test_what_is_stored(snapshot: Snapshot, name: str) -> None:
    author = await Author.objects.afirst()
    stored = []
    for create in (AsyncQuerySet(Book).acreate, lambda **kwargs: run_sync(Book.objects.create, **kwargs)):
        book = await create(title="j", author=author, meta=VALUES[name])
        assert book.meta is VALUES[name]
        stored.append(await run_sync(_text_of, book.pk))
    assert stored[0] == stored[1] is not None


def _text_of(key: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT meta::text FROM library_book WHERE id = %s", [key])
        return cursor.fetchone()


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {1, 2}}, {(1, 2): 3}])
async def test_what_is_not_json(snapshot: Snapshot, value: Any) -> None:
    messages = []
    for create in (AsyncQuerySet(Book).acreate, lambda **kwargs: run_sync(Book.objects.create, **kwargs)):
        with pytest.raises(TypeError) as caught:
            await create(title="j", author_id=1, meta=value)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


async def test_what_contains_itself(snapshot: Snapshot) -> None:
    circular: dict[str, Any] = {}
    circular["it"] = circular
    with pytest.raises(ValueError, match="Circular reference detected"):
        await AsyncQuerySet(Book).acreate(title="j", author_id=1, meta=circular)


def test_the_parts_are_those_of_json() -> None:
    for value in VALUES.values():
        if type(value) in JSON_KINDS:
            assert "".join(json_parts(value, 0)) == json.dumps(value)
    assert "".join(json_parts(float("nan"), 0)) == "NaN"


def _json(value: Any) -> JsonText:
    text = JsonText("".join(json_parts(value, 0)))
    text.value = value
    return text


def test_a_cursor_gets_djangos_parameter() -> None:
    param = as_djangos(_json({"a": 1}))
    assert type(param) is Jsonb
    assert (param.obj, param.dumps) == ({"a": 1}, json.dumps)
    assert as_djangos("text") == "text"


def test_the_same_is_sent() -> None:
    value = {"a": ["ä", 1]}
    theirs = Transformer()
    expected = theirs.dump_sequence([Jsonb(value, dumps=json.dumps)], [PyFormat.AUTO])
    dumper = json_dumper(adapters)(JsonText, None)
    assert [bytes(dumper.dump(_json(value)) or b"")] == [bytes(each or b"") for each in expected]
    assert (dumper.oid, dumper.format) == (theirs.types[0], theirs.formats[0])  # type: ignore[index]


class Marking(JsonbDumper):
    """A project's own."""

    def dump(self, obj: Any) -> Any:
        return bytes(super().dump(obj) or b"").replace(b"{", b'{"mark": 1, ', 1)


def test_a_projects_own_dumper() -> None:
    own = AdaptersMap(adapters)
    own.register_dumper(Jsonb, Marking)
    dumper = json_dumper(own)(JsonText, None)
    assert dumper.dump(_json({"a": 1})) == b'{"mark": 1, "a": 1}'
    assert dumper.oid == json_dumper(adapters)(JsonText, None).oid


async def test_a_projects_own_dumper_on_the_wire(snapshot: Snapshot) -> None:
    author = await Author.objects.afirst()
    taken = await take_ready(asyncio.get_running_loop(), "default")
    assert taken is not None
    taken[0].adapters.register_dumper(Jsonb, Marking)
    await give_back(*taken)
    try:
        book = await AsyncQuerySet(Book).acreate(title="j", author=author, meta={"a": 1})
        assert (await AsyncQuerySet(Book).aget(pk=book.pk)).meta == {"mark": 1, "a": 1}
    finally:
        taken[0].adapters.register_dumper(Jsonb, JsonbDumper)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_many_values_are_encoded_as_each_of_them(count: int) -> None:
    values = [*VALUES.values()][:count]
    assert json_texts(values) == [json.dumps(value) for value in values]
    assert json_texts([values, values]) == [json.dumps(values)] * 2
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_texts([*values, object()])
