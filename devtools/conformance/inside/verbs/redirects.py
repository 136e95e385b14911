"""Which sync methods are done by which async verbs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.db.models import Model
from django.db.models.signals import class_prepared

from devtools.conformance.inside.verbs.iteration import redirect_iteration
from devtools.conformance.inside.verbs.redirect import inside_verb, redirect
from turbo_orm import AsyncManager, AsyncQuerySet, execution
from turbo_orm.instance import is_managed
from turbo_orm.raw import AsyncRawQuerySet

__all__ = ["install"]

_RELATED = ("add", "clear", "create", "get_or_create", "remove", "set", "update_or_create")
_INSTANCE = ("delete", "full_clean", "refresh_from_db", "save")
#: The modules which define related managers.
_RELATED_MODULES = ("django.db.models.fields.related_descriptors", "django.contrib.contenttypes.fields")


def install() -> None:
    """Redirect the methods of querysets, managers, related managers and instances."""
    verbs = [name[1:] for name in dir(AsyncQuerySet) if _is_twin(name)]
    _redirect_inherited(AsyncQuerySet, verbs)
    redirect_iteration(AsyncQuerySet, inherited=True)
    redirect_iteration(AsyncRawQuerySet, inherited=True)
    _redirect_inherited(AsyncManager, verbs)
    _redirect_inherited(Model, _INSTANCE)
    _follow_querysets(verbs)
    _follow_related_managers()
    class_prepared.connect(_follow_models, weak=False)
    _let_verbs_work()


def _is_twin(name: str) -> bool:
    return (
        name.startswith("a")
        and name != "araw"  # awaits the rows; raw() only says which
        and inspect.iscoroutinefunction(getattr(AsyncQuerySet, name))
        and inspect.isfunction(getattr(AsyncQuerySet, name[1:], None))
    )


def _redirect_inherited(cls: type[Any], names: Iterable[str]) -> None:
    for name in names:
        if hasattr(cls, name):  # a manager has no delete()
            setattr(cls, name, _redirected(name, getattr(cls, name)))


def _redirect_own(cls: type[Any], names: Iterable[str]) -> None:
    for name in names:
        method = vars(cls).get(name)
        if inspect.isfunction(method):
            setattr(cls, name, _redirected(name, method))


def _redirected(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    verb = f"a{name}"

    def done_by(self: Any, *args: Any, **kwargs: Any) -> Awaitable[Any] | None:
        if isinstance(self, Model) and not is_managed(type(self)):
            return None
        return getattr(self, verb)(*args, **kwargs)  # type: ignore[no-any-return]

    return redirect(name, method, done_by)


def _follow_querysets(verbs: Iterable[str]) -> None:
    def __init_subclass__(cls: type[AsyncQuerySet], /, **kwargs: Any) -> None:
        super(AsyncQuerySet, cls).__init_subclass__(**kwargs)
        _redirect_own(cls, verbs)
        redirect_iteration(cls)

    assert "__init_subclass__" not in vars(AsyncQuerySet)
    AsyncQuerySet.__init_subclass__ = classmethod(__init_subclass__)  # type: ignore[assignment]


def _follow_related_managers() -> None:
    prepare = vars(AsyncManager)["__init_subclass__"].__func__

    def __init_subclass__(cls: type[AsyncManager], /, **kwargs: Any) -> None:
        prepare(cls, **kwargs)
        if any(getattr(vars(cls).get(name), "__module__", None) in _RELATED_MODULES for name in _RELATED):
            _redirect_own(cls, _RELATED)

    AsyncManager.__init_subclass__ = classmethod(__init_subclass__)  # type: ignore[assignment]


def _follow_models(sender: type[Model], **kwargs: Any) -> None:
    _redirect_own(sender, _INSTANCE)


def _let_verbs_work() -> None:
    """Mark verbs which a test awaits itself, so that the sync methods they call are not sent back."""
    call, fetch = execution.call, execution.fetch

    async def marked_call(owner: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
        with inside_verb():
            return await call(owner, name, *args, **kwargs)

    async def marked_fetch(queryset: Any) -> Any:
        with inside_verb():
            return await fetch(queryset)

    execution.call = marked_call
    execution.fetch = marked_fetch
