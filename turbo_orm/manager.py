"""`objects = AsyncManager()`: the one line a model needs."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

from django.db.models import Manager, Model, QuerySet

from turbo_orm import execution, instance
from turbo_orm.columns import Columns
from turbo_orm.plans.beginnings import BEGINNINGS, beginning
from turbo_orm.queryset import AsyncQuerySet, async_verb

__all__ = ["AsyncManager"]

#: Modules whose related managers run their a-methods in a thread.
_RELATED_MANAGERS = (
    "django.db.models.fields.related_descriptors",
    "django.contrib.contenttypes.fields",
)


#: Django puts a queryset's methods into a base of the manager's class, and so do we.
_ManagerOfQuerySets: Any = Manager.from_queryset(AsyncQuerySet)
_PACKED = {"aget": execution.aget_packed, "filter": AsyncQuerySet._filter_packed}
for _name in BEGINNINGS:
    _like = getattr(_ManagerOfQuerySets, _name)
    setattr(_ManagerOfQuerySets, _name, beginning(_name, _like, _PACKED.get(_name)))


class AsyncManager(_ManagerOfQuerySets):  # type: ignore[misc]
    """A model manager that returns `AsyncQuerySet` objects.

    Declaring one on a model also makes the async methods of its instances (`asave()`,
    `adelete()`, `arefresh_from_db()`, `afull_clean()`) and of its related managers
    (`aadd()`, `aset()`...) run on the async connection.
    https://docs.djangoproject.com/en/stable/topics/db/managers/
    """

    is_turbo_manager = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _keep_querysets(cls)
        _keep_methods(cls)
        # Django derives a model's related managers from its default manager's class and
        # gives each its own a-methods.
        for name, attribute in list(vars(cls).items()):
            if inspect.iscoroutinefunction(attribute) and attribute.__module__ in _RELATED_MANAGERS:
                setattr(cls, name, async_verb(name[1:], attribute))

    @classmethod
    def from_queryset(cls, queryset_class: type[QuerySet[Any, Any]], class_name: str | None = None) -> Any:
        """Return a subclass of this manager with *queryset_class*'s methods.

        Raises `TypeError` if *queryset_class* is not an `AsyncQuerySet`.
        """
        if not issubclass(queryset_class, AsyncQuerySet):
            raise TypeError(
                f"{cls.__name__}.from_queryset() needs a subclass of turbo_orm.AsyncQuerySet, "
                f"and {queryset_class.__name__} is not one: its a-methods would run in threads. "
                f"Declare it as `class {queryset_class.__name__}(AsyncQuerySet)`."
            )
        return super().from_queryset(queryset_class, class_name)

    def contribute_to_class(self, cls: type[Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        instance.adopt(cls)

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over all rows the manager would return: ``async for row in objects.all()``."""
        return self.get_queryset().__aiter__()  # type: ignore[no-any-return]

    @property
    def columns(self) -> Columns:
        """The model's columns as attributes: ``Book.objects.columns.author.name``."""
        return Columns(self.model)

    async def adelete(self) -> tuple[int, dict[str, int]]:
        """Delete all rows the manager would return: ``objects.all().adelete()``."""
        return await self.get_queryset().adelete()  # type: ignore[no-any-return]

    adelete.alters_data = True  # type: ignore[attr-defined]


def _keep_methods(manager: type[Any]) -> None:
    """Raise `TypeError` if *manager* has our methods in front of those which another base overrides."""
    mro = manager.__mro__
    for owner in mro[mro.index(_ManagerOfQuerySets) + 1 : mro.index(Manager)]:
        for name in BEGINNINGS:
            if name in vars(owner):
                base = next(base for base in manager.__bases__ if issubclass(base, owner))
                raise TypeError(
                    f"{manager.__name__} would not call {name}() of {base.__name__}. "
                    f"Write `class {manager.__name__}({base.__name__}, AsyncManager)`."
                )


def _keep_querysets(manager: type[Any]) -> None:
    """Raise `TypeError` if *manager* has our querysets only because `AsyncManager` comes before another base.

    What that one's querysets do would be gone without a word: to hide rows, to mark them as deleted.
    """
    owners = [base for base in manager.__mro__ if "_queryset_class" in vars(base)]
    if owners[0] is not _ManagerOfQuerySets:
        return
    for owner in owners:
        lost = vars(owner)["_queryset_class"]
        if issubclass(AsyncQuerySet, lost):
            continue
        name, base = lost.__name__, next(base for base in manager.__bases__ if issubclass(base, owner))
        instead = f"class {manager.__name__}({base.__name__}, AsyncManager)"
        if not issubclass(lost, AsyncQuerySet):
            instead += f": _queryset_class = Async{name}` with `class Async{name}({name}, AsyncQuerySet)"
        raise TypeError(
            f"{manager.__name__} would make plain AsyncQuerySet objects, without what the {name} of "
            f"{base.__name__} does. Write `{instead}`."
        )
