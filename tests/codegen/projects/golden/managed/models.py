"""Managers and querysets with methods of their own."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from typing_extensions import Self

from turbo_orm import AsyncManager, AsyncQuerySet

if TYPE_CHECKING:
    from some.module import Unknown


def traced(method):
    def wrapper(self, *args: Any):
        return method(self, *args)

    return wrapper


class TaskQuerySet(AsyncQuerySet):
    @traced
    def decorated(self, number: int) -> int:
        return number

    def open(self) -> Self:
        """Those which are not done."""
        return self.filter(done=False)

    def due(self, before: date, *, kind: Literal["soft", "hard"] = "hard", **more: Any) -> TaskQuerySet:
        return self.filter(due__lt=before, **more)

    def counted(self) -> AsyncQuerySet:
        return self.annotate(number=models.Count("pk"))

    async def titles(self) -> list[str]:
        return [task.title async for task in self]

    async def newest(self) -> Task | None:
        return await self.order_by("-pk").afirst()

    def unknown(self, what: Unknown) -> Unknown:
        return what

    def untyped(self, a, b=1):
        return a

    def _private(self) -> None: ...

    def wipe(self) -> int:
        return 0

    wipe.queryset_only = True


class DoneManager(AsyncManager):
    """Named by source code, so that type checkers see its bases."""

    def get_queryset(self) -> AsyncQuerySet:
        return super().get_queryset().filter(done=True)

    def select(self, number: int) -> list[str]:
        """Takes the place of the method of that name which all querysets have."""
        return [task.title for task in self.all()[:number]]

    async def archive(self, limit: int | None = None) -> int:
        return limit or 0


class Task(models.Model):
    title = models.CharField(max_length=10)
    done = models.BooleanField(default=False)
    due = models.DateField(null=True)

    objects = AsyncManager.from_queryset(TaskQuerySet)()
    finished = DoneManager()
    every_one = AsyncManager()
    related = AsyncManager()
    plain = models.Manager()


class Step(models.Model):
    """The manager is not the default one: related managers are Django's."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="steps")
    kind = models.CharField(max_length=1, choices=[("a", "A")])
    size = models.CharField(max_length=1, choices=[("s", "S")])

    plain = models.Manager()
    fast = AsyncManager()

    def get_kind_display(self) -> bytes:
        """Another type than Django's."""
        return b""

    def save(self, *args, notify: bool = True, **kwargs) -> None:
        """Keeps its own parameters."""
        super().save(*args, **kwargs)
