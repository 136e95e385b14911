"""Iterating over a queryset: `alist()`, ``async for`` and `aiterator()` in place of their sync twins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from functools import wraps
from typing import Any

from devtools.conformance.inside.verbs.redirect import applies, await_verb
from turbo_orm.bridge.greenlets import current_bridge

__all__ = ["redirect_iteration"]


def redirect_iteration(cls: type[Any], *, inherited: bool = False) -> None:
    """Redirect what *cls* itself defines about iterating, or also what it inherits."""
    wraps_by_name = {"__iter__": _iter, "__len__": _len, "__bool__": _bool}
    if hasattr(cls, "aiterator"):  # a raw queryset's iterator() has no twin
        wraps_by_name["iterator"] = _iterator
    for name, wrap in wraps_by_name.items():
        if inherited or name in vars(cls):
            wrapper = wraps(getattr(cls, name))(wrap(getattr(cls, name)))
            wrapper._redirected = True  # type: ignore[attr-defined]
            setattr(cls, name, wrapper)


def _iter(method: Callable[..., Any]) -> Callable[..., Any]:
    def __iter__(self: Any) -> Iterator[Any]:
        if applies(self, "__iter__"):
            return iter(await_verb("alist", self.alist()))
        return method(self)  # type: ignore[no-any-return]

    return __iter__


def _len(method: Callable[..., Any]) -> Callable[..., Any]:
    def __len__(self: Any) -> int:
        if applies(self, "__len__"):
            return len(await_verb("__aiter__", _collected(self)))
        return method(self)  # type: ignore[no-any-return]

    return __len__


def _bool(method: Callable[..., Any]) -> Callable[..., Any]:
    def __bool__(self: Any) -> bool:
        if applies(self, "__bool__"):
            return bool(await_verb("__aiter__", _collected(self)))
        return method(self)  # type: ignore[no-any-return]

    return __bool__


async def _collected(rows: Any) -> list[Any]:
    return [row async for row in rows]


def _iterator(method: Callable[..., Any]) -> Callable[..., Any]:
    def iterator(self: Any, chunk_size: int | None = None) -> Iterator[Any]:
        # Wrong arguments are refused by the call, and only at the first step of the async twin.
        wrong = (
            chunk_size is None
            if self._prefetch_related_lookups
            else chunk_size is not None and chunk_size <= 0
        )
        if wrong or not applies(self, "iterator"):
            return method(self, chunk_size)  # type: ignore[no-any-return]
        return _stepwise(self.aiterator(chunk_size) if chunk_size else self.aiterator())

    return iterator


def _stepwise(rows: AsyncGenerator[Any, None]) -> Iterator[Any]:
    try:
        while True:
            try:
                yield await_verb("aiterator", rows.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if current_bridge() is not None:
            await_verb("aclose", rows.aclose())
