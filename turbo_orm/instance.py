"""The async methods of model instances, on the async connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model

from turbo_orm import composed, creation, deletion, execution
from turbo_orm.loading import load, loaded, with_peers
from turbo_orm.prefetching import follow

__all__ = ["adopt", "install", "is_managed"]


def is_managed(model: type[Model]) -> bool:
    """Whether *model* has an `AsyncManager`."""
    return any(getattr(manager, "is_turbo_manager", False) for manager in model._meta.managers)


def adopt(model: type[Model]) -> None:
    """Give *model* the async methods Django's `Model` has no twin of in a thread."""
    for name, method in (("afetch", _afetch), ("afull_clean", _afull_clean)):
        if not hasattr(model, name):
            setattr(model, name, method)
    if not hasattr(model, "__class_getitem__"):
        model.__class_getitem__ = classmethod(_itself)  # type: ignore[attr-defined]


def _itself(model: type[Model], loaded: Any) -> type[Model]:
    """``Book[Literal["author"]]`` tells type checkers what is loaded; it is the model."""
    return model


async def _afetch(self: Model, *paths: str) -> Any:
    """Load relations and deferred fields that are missing, here and on this object's peers.

    ``author = await book.afetch("author")`` loads the author of every book that came from the
    same query, with one query; ``await book.afetch("author__profile", "tags")`` several at
    once. Returns the value (a list for a to-many relation), or a tuple of the values.
    Raises `FieldDoesNotExist` for an unknown name.
    """
    if not paths:
        raise TypeError('afetch() needs the name of a relation or field: await obj.afetch("author")')
    left = [path for path in paths if not await follow(with_peers(self), path)]
    if left:
        await execution.run_sync(load, self, left)
    try:
        return loaded(self, paths)
    except SynchronousOnlyOperation:  # a manager whose all() looks again, a row that is gone
        return await execution.run_sync(loaded, self, paths)


@wraps(Model.full_clean, assigned=())  # its signature
async def _afull_clean(self: Model, *args: Any, **kwargs: Any) -> None:
    """Run `full_clean()`, whose uniqueness checks query the database.

    Raises `ValidationError`.
    """
    # Only what was given: those of projects written for an older Django do not take all that Django's does.
    await execution.call(self, "full_clean", *args, **kwargs)


#: What has a way of its own.
_PLANNED: dict[str, Callable[..., Any]] = {
    "save": creation.save,
    "delete": deletion.delete,
    "refresh_from_db": composed.refresh_from_db,
}


def _dispatch(name: str, threaded: Callable[..., Any]) -> Callable[..., Any]:
    # Returns a coroutine instead of being one: Django's own warns of its caller's mistakes, who
    # must stay the one who awaits it.
    own = _PLANNED.get(name)

    @wraps(threaded)
    def method(self: Model, *args: Any, **kwargs: Any) -> Any:
        if is_managed(type(self)):
            if own is not None:
                return own(self, args, kwargs)
            return execution.call(self, name, *args, **kwargs)
        return threaded(self, *args, **kwargs)

    return markcoroutinefunction(method)


def install() -> None:
    """Make the async methods of `Model` look for an `AsyncManager` before they take a thread.

    On `Model` itself, not on the models that declare a manager: `await super().asave()` in a
    model's own `asave()` must not end in a thread either.
    """
    for name in ("save", "delete", "refresh_from_db"):
        threaded = getattr(Model, f"a{name}")
        setattr(Model, f"a{name}", _dispatch(name, threaded))
