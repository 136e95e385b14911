"""Whether two results of a query are the same in everything a program could see."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import CoroutineType, FrameType
from typing import Any
from weakref import ref

import pytest
from django.db.models import Model
from django.db.models.base import ModelState
from django.test import override_settings

from tests.runtime.parity.data import Snapshot
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import atomic, many_to_many, related_keys
from turbo_orm.plans.verify import Verified

__all__ = [
    "POOL",
    "as_django",
    "djangos_set",
    "kept_by",
    "outcome",
    "outcome_in_block",
    "planned_as_django",
    "seen",
]

POOL = {"min_size": 1, "max_size": 5}


@contextmanager
def djangos_set() -> Iterator[None]:
    """Let `aset()` of related managers be Django's `set()`: ours is another also where nothing has plans."""

    async def of_none(args: Any) -> None:
        """Return what stands for objects only Django can take."""

    with pytest.MonkeyPatch.context() as patched:
        for module in (many_to_many, related_keys):
            patched.setattr(module, "to_be_set", of_none)
        yield


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    """Return what *call* returns, as `seen()`; the type and text of an error in its place."""
    try:
        return seen(await call())
    except Exception as error:
        return type(error), str(error)


async def planned_as_django(*calls: Callable[[], Awaitable[Any]]) -> int:
    """Demand the same `outcome()` of *calls* with plans and without; return how many statements had one.

    Those of the first may have the plans of the others. Each statement is compared with Django's, and
    then sent on the wire.
    """
    from tests.project.library.models import Tag

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = [await outcome(call) for call in calls]
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        assert [await outcome(call) for call in calls] == expected
        planned = Verified.same - before
    with override_settings(TURBO_ORM={"POOL": POOL}):
        for _ in range(2):
            assert [await outcome(call) for call in calls] == expected
    return planned


def kept_by(text: str) -> list[Any]:
    """Return what refers to *text* but for the code that runs."""
    gc.collect()
    gc.unfreeze()  # see conftest.py: what there was before the tests may refer to it too
    try:
        return [each for each in gc.get_referrers(text) if not isinstance(each, FrameType | CoroutineType)]
    finally:
        gc.freeze()


async def outcome_in_block(call: Callable[[], Awaitable[Any]], *, in_block: bool) -> tuple[Any, Any]:
    """Return the `outcome()` of *call*, and what a query says after it in the same block, if in one.

    An error at the block's end, as of a foreign key that is looked at then, is its outcome.
    """
    from tests.project.library.models import Tag

    after = None
    try:
        async with atomic() if in_block else nullcontext():
            found = await outcome(call)
            after = await outcome(Tag.objects.acount) if in_block else None
    except Exception as error:
        found = type(error), str(error)
    return found, after


async def as_django(
    snapshot: Snapshot, call: Callable[[], Awaitable[Any]], bridged: list[Any], *, in_block: bool
) -> bool:
    """Assert that *call* comes to the same with plans as by Django; return whether plans needed no bridge."""
    from tests.project.library.models import Tag

    outcomes: list[Any] = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            await Tag.objects.acount()  # then the server's version is known
            bridged.clear()
            with nullcontext() if plans else djangos_set():
                found = await outcome_in_block(call, in_block=in_block)
            without_bridge = bridged == []
        outcomes.append((found, snapshot.rows()))
    assert outcomes[0] == outcomes[1]
    await assert_pool_is_clean()
    return without_bridge


def seen(value: Any, _met: dict[int, int] | None = None) -> Any:
    """Return *value* as nested tuples: types, order of attributes, states, caches, peers, identity.

    Whether an empty ``fields_cache`` exists yet is left out: looking at one makes it.
    """
    met = {} if _met is None else _met
    if isinstance(value, Model):
        if id(value) in met:
            return ("again", met[id(value)])
        met[id(value)] = len(met)
        attributes = [(name, seen(item, met)) for name, item in value.__dict__.items()]
        return (type(value), attributes, _weak(value))
    if isinstance(value, ModelState):
        state = {name: item for name, item in vars(value).items() if name != "fields_cache"}
        caches = [(name, seen(item, met)) for name, item in vars(value).get("fields_cache", {}).items()]
        return (type(value), sorted((name, seen(item, met)) for name, item in state.items()), caches)
    if isinstance(value, ref):
        return ("ref", seen(value(), met))
    if isinstance(value, dict):
        return (type(value), [(seen(key, met), seen(item, met)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        names = getattr(value, "_fields", None)
        return (type(value), names, [seen(item, met) for item in value])
    return (type(value), value)


def _weak(value: Model) -> bool:
    return ref(value)() is value
