"""The two ways in which the same steps are taken: Django's sync methods, and our async ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from django.db.models import prefetch_related_objects

from tests.runtime.sequences.twins import DJANGOS, OURS
from turbo_orm import aprefetch_related_objects, atomic, batch, run_sync
from turbo_orm.loading import load, loaded, remember_peers

__all__ = ["Asking", "Djangos", "Ours", "World", "drive"]

#: Begins to ask something.
Asking = Callable[[], Coroutine[Any, Any, Any]]


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what *coroutine*, which waits for nothing, returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


class World:
    """Calls methods by the names of Django's sync ones."""

    #: The module of the models.
    models: Any

    def __init__(self) -> None:
        #: Reading something took a query (Django's), or could not be done without one (ours).
        self.asked = False

    async def call(self, owner: Any, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        """Return ``owner.verb(...)``."""
        raise NotImplementedError

    async def rows(self, queryset: Any, how: str) -> list[Any]:
        """Return ``list(queryset)``; *how*: its ``list``, ``each`` row, or those of its ``iterator``."""
        raise NotImplementedError

    async def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return ``function(*args)``, which reads attributes, and may load what is not there."""
        raise NotImplementedError

    async def prefetch(self, objects: list[Any], *lookups: Any) -> None:
        """Do ``prefetch_related_objects(objects, *lookups)``."""
        raise NotImplementedError

    async def fetch(self, objects: list[Any], paths: Sequence[str]) -> Any:
        """Load *paths* of the first of *objects*, and of the others: they came from one query."""
        raise NotImplementedError

    async def twice(self, queryset: Any) -> list[Any]:
        """Have two tasks evaluate *queryset* at the same time."""
        raise NotImplementedError

    async def together(self, asking: Sequence[Asking], how: str) -> list[Any]:
        """Ask several things, in no order, by the function *how*; errors stand in the place of answers."""
        raise NotImplementedError

    def block(self) -> Any:
        """Return an async context manager for ``atomic()``."""
        raise NotImplementedError


class Djangos(World):
    """Its coroutines wait for nothing: see `drive()`."""

    models = DJANGOS

    async def call(self, owner: Any, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(owner, verb)(*args, **kwargs)

    async def rows(self, queryset: Any, how: str) -> list[Any]:
        return list(queryset.iterator(chunk_size=2000) if how == "iterator" else queryset)

    async def do(self, function: Callable[..., Any], *args: Any) -> Any:
        def noting(execute: Any, *statement: Any) -> Any:
            self.asked = True
            return execute(*statement)

        with connection.execute_wrapper(noting):
            return function(*args)

    async def prefetch(self, objects: list[Any], *lookups: Any) -> None:
        prefetch_related_objects(objects, *lookups)

    async def fetch(self, objects: list[Any], paths: Sequence[str]) -> Any:
        remember_peers(objects)
        load(objects[0], paths)
        return loaded(objects[0], paths)

    async def twice(self, queryset: Any) -> list[Any]:
        return [list(queryset), list(queryset)]

    async def together(self, asking: Sequence[Asking], how: str) -> list[Any]:
        answers: list[Any] = []
        for ask in asking:
            try:
                answers.append(await ask())
            except Exception as error:
                answers.append(error)
        return answers

    @asynccontextmanager
    async def block(self) -> Any:
        with transaction.atomic():
            yield


class Ours(World):
    models = OURS

    def __init__(self, in_bridge: Callable[[], bool] = lambda: False) -> None:
        """Make sync calls in the bridge where *in_bridge* says so, else our async ones."""
        super().__init__()
        self._in_bridge = in_bridge

    async def call(self, owner: Any, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        if self._in_bridge():
            return await run_sync(getattr(owner, verb), *args, **kwargs)
        return await getattr(owner, f"a{verb}")(*args, **kwargs)

    async def rows(self, queryset: Any, how: str) -> list[Any]:
        if self._in_bridge():
            return await run_sync(lambda: drive(Djangos().rows(queryset, how)))
        if how == "list":
            return await queryset.alist()
        return [row async for row in (queryset.aiterator() if how == "iterator" else queryset)]

    async def do(self, function: Callable[..., Any], *args: Any) -> Any:
        if not self._in_bridge():
            try:
                return function(*args)
            except SynchronousOnlyOperation:
                self.asked = True
        return await run_sync(function, *args)

    async def prefetch(self, objects: list[Any], *lookups: Any) -> None:
        if self._in_bridge():
            await run_sync(prefetch_related_objects, objects, *lookups)
        else:
            await aprefetch_related_objects(objects, *lookups)

    async def fetch(self, objects: list[Any], paths: Sequence[str]) -> Any:
        if not self._in_bridge():
            return await objects[0].afetch(*paths)
        await run_sync(load, objects[0], paths)
        return await run_sync(loaded, objects[0], paths)

    async def twice(self, queryset: Any) -> list[Any]:
        if self._in_bridge():  # where Django's own code would not notice that another task was sooner
            return await run_sync(lambda: [list(queryset), list(queryset)])
        answers = await asyncio.gather(queryset.alist(), queryset.alist(), return_exceptions=True)
        for each in answers:
            if isinstance(each, BaseException):
                raise each  # once both have come to their ends
        return answers

    async def together(self, asking: Sequence[Asking], how: str) -> list[Any]:
        at_once: Any = batch if how == "batch" else asyncio.gather
        return list(await at_once(*[ask() for ask in asking], return_exceptions=True))

    def block(self) -> Any:
        return atomic()
