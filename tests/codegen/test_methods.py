"""What hand-written methods of managers, querysets and models are typed as."""

from __future__ import annotations

import sys

import pytest

from tests.codegen.support import Project

_SETTINGS = """\
SECRET_KEY = "x"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "turbo_orm", "django.contrib.contenttypes", "django.contrib.auth", "people", "staff", "stock"
]
AUTH_USER_MODEL = "people.User"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
"""
_PEOPLE = """\
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from turbo_orm import AsyncManager


class PeopleManager(UserManager["User"], AsyncManager):
    pass


class User(AbstractUser):
    objects = PeopleManager()
"""
_STAFF = """\
from django.db import models
from turbo_orm import AsyncManager


class Lonely(models.Model):
    objects = AsyncManager()
"""
_STOCK = """\
import functools
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Iterator, Optional, overload

from django.contrib.auth.models import Group
from django.db import models
from staff.models import Lonely
from turbo_orm import AsyncManager, AsyncQuerySet

if TYPE_CHECKING:
    from typing_extensions import Self


def kept(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner


def lost(function):
    def inner(*args: Any, **kwargs: Any) -> int:
        return function(*args, **kwargs)
    return inner


class Base(models.Model):
    class Meta:
        abstract = True

    def root(self) -> "Part": ...


class WheelQuerySet(AsyncQuerySet):
    pass


class SharedQuerySet(AsyncQuerySet):
    pass


class BaseQuerySet(AsyncQuerySet):
    def update(self, *, loud: bool, **kwargs: Any) -> int: ...
    def disabled(self) -> int: ...


class PartQuerySet(BaseQuerySet):
    disabled = None

    def update(self, **kwargs: Any) -> int: ...
    class Kind:
        pass

    # A name in the class.
    def my_kind(self) -> "Kind": ...

    # Querysets.
    def same(self) -> "Self": ...
    def of_parts(self) -> AsyncQuerySet["Part"]: ...
    def bases(self) -> models.QuerySet["Base"]: ...
    def of_lonely(self) -> AsyncQuerySet[Lonely]: ...
    def of_groups(self) -> models.QuerySet[Group]: ...
    def names(self) -> "models.QuerySet[Part, str]": ...
    def annotated(self) -> AsyncQuerySet: ...
    def annotated_any(self) -> AsyncQuerySet[Any]: ...
    def perhaps(self) -> "Optional[AsyncQuerySet[Lonely]]": ...
    def pairs(self) -> "list[tuple[Self, int]]": ...
    def among(self, rows: AsyncQuerySet) -> None: ...
    def of_wheels(self) -> WheelQuerySet: ...
    def of_two_models(self) -> SharedQuerySet: ...

    # Rows.
    async def newest(self) -> "Optional[Part]": ...
    async def each(self) -> "AsyncIterator[Part]":
        yield self.model()

    # Decorated.
    @contextmanager
    def locked(self) -> Iterator[int]:
        yield 1
    @asynccontextmanager
    async def alocked(self) -> "AsyncIterator[Part]":
        yield self.model()
    @kept
    def wrapped(self, number: int) -> str: ...
    @kept
    async def waited(self) -> "Part": ...
    @lost
    def unknown(self, number: int) -> str: ...
    @staticmethod
    def static(number: int) -> str: ...
    @classmethod
    def of_the_class(cls, number: int) -> str: ...
    @overload
    def either(self, number: int) -> int: ...
    @overload
    def either(self, number: str) -> "Part": ...
    def either(self, number): ...

    # In the place of Django's.
    def create(self, *, loud: bool = False, **kwargs: Any) -> "Part": ...
    def delete(self, hard=False): ...
    def filter(self, *a: Any, tenant: int = 0, **k: Any) -> "Self":
        return super().filter(*a, **k)
    def exclude(self, *a, **k):
        return super().exclude(*a, **k)
    def select_related(self, *fields, deep: bool = False): ...
    def order_by(self, first, *more): ...
    def _clone(self, more=None): ...


class PartManager(AsyncManager.from_queryset(PartQuerySet)):
    def get_queryset(self, everything=False) -> PartQuerySet: ...
    def bulk_create(self, objs: list["Part"], *, loud: bool, **kwargs: Any): ...


class Part(Base):
    objects = PartManager()

    # What gives rows or querysets.
    @property
    def twin(self) -> "Part": ...
    @property
    def lonely(self) -> Optional[Lonely]: ...
    @lonely.setter
    def lonely(self, value: "Lonely | int | None") -> None: ...
    @functools.cached_property
    def first(self) -> "Optional[Part]": ...
    @classmethod
    def made(cls, of: "Part") -> "tuple[Self, Part]": ...
    @staticmethod
    def named(name: str) -> "Part": ...
    @kept
    async def next(self, *, after: "Optional[Part]" = None) -> "Part": ...
    @asynccontextmanager
    async def locked(self) -> "AsyncIterator[Part]":
        yield self
    def parts(self) -> "PartQuerySet": ...
    def wheels(self) -> "WheelQuerySet[Wheel]": ...
    def lonelies(self) -> models.QuerySet[Lonely]: ...
    @overload
    def pick(self, number: int) -> int: ...
    @overload
    def pick(self, number: str) -> "Part": ...
    def pick(self, number): ...

    # Which the hand-written class says as well.
    def me(self) -> "Self": ...
    def number(self) -> int: ...
    def bare(self) -> AsyncQuerySet: ...
    def group(self) -> Group: ...
    def unsaid(self): ...
    def _private(self) -> "Part": ...

    async def adelete(self, *args: Any, hard: bool = False, **kwargs: Any) -> Any: ...
    async def afull_clean(self, *args: Any, hard: bool = False, **kwargs: Any) -> None: ...


class SmallPart(Part):
    def twin_of(self) -> "SmallPart": ...


class Other(models.Model):
    objects = AsyncManager()

    async def adelete(self, *a: Any, **k: Any) -> Any: ...


class Wheel(models.Model):
    objects = AsyncManager.from_queryset(WheelQuerySet)()


class SpareWheel(Wheel):
    objects = AsyncManager.from_queryset(WheelQuerySet)()


class Bolt(models.Model):
    objects = AsyncManager.from_queryset(SharedQuerySet)()


class Nut(models.Model):
    objects = AsyncManager.from_queryset(SharedQuerySet)()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.write_apps(_SETTINGS, {"people": _PEOPLE, "staff": _STAFF, "stock": _STOCK})
    finished = project.generate()
    assert finished.returncode == 0, finished.stderr
    return project


@pytest.mark.parametrize(
    "line",
    [
        "def my_kind(self) -> _PartQuerySet.Kind: ...",
        "def same(self) -> PartQuerySet[Part]: ...",
        "def of_parts(self) -> PartQuerySet[Part]: ...",
        "def bases(self) -> PartQuerySet[Part]: ...",
        "def of_lonely(self) -> AsyncQuerySet[Lonely]: ...",
        "def of_groups(self) -> QuerySet[_m2.Group]: ...",
        "def names(self) -> AsyncQuerySet[Part, str]: ...",
        "def annotated(self) -> _PartQuerySetAnnotated: ...",
        "def annotated_any(self) -> _PartQuerySetAnnotated: ...",
        "def perhaps(self) -> AsyncQuerySet[Lonely] | None: ...",
        "def pairs(self) -> list[tuple[PartQuerySet[Part], int]]: ...",
        "def among(self, rows: _AsyncQuerySet) -> None: ...",
        "async def newest(self) -> Part | None: ...",
        "def each(self) -> AsyncIterator[Part]: ...",
        "def locked(self) -> AbstractContextManager[int]: ...",
        "def alocked(self) -> AbstractAsyncContextManager[Part]: ...",
        "def wrapped(self, number: int) -> str: ...",
        "async def waited(self) -> Part: ...",
        "def of_wheels(self) -> WheelQuerySet[Wheel]: ...",
        "def of_two_models(self) -> SharedQuerySet: ...",
        "def unknown(self, *args: Any, **kwargs: Any) -> int: ...",
        "def static(self, number: int) -> str: ...",
        "def create(self, *, loud: bool = ..., **kwargs: Any) -> Part: ...",
        "def delete(self, hard: Any = ...) -> Any: ...",
        "def order_by(self, first: Any, *more: Any) -> Any: ...",
        "def filter(self, *a: Any, tenant: int = ..., **k: Any) -> PartQuerySet[Part]: ...",
        "def bulk_create(self, objs: list[Part], *, loud: bool, **kwargs: Any) -> Any: ...",
    ],
)
def test_manager(project: Project, line: str) -> None:
    lines = project.class_lines("stock", "PartManager")
    assert line in lines, "\n".join(lines)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not keep overloads")
def test_overloads_are_those_that_are_written(project: Project) -> None:
    assert "def either(self, number: int) -> int: ..." in project.class_lines("stock", "PartQuerySet")
    lines = project.class_lines("stock", "PartManager")
    first = lines.index("@overload")
    assert lines[first : first + 4] == [
        "@overload",
        "def either(self, number: int) -> int: ...",
        "@overload",
        "def either(self, number: str) -> Part: ...",
    ]


def test_managers_have_what_django_gives_them(project: Project) -> None:
    methods = [line.partition("(")[0] for line in project.class_lines("stock", "PartManager")]
    assert methods.count("def get_queryset") == 1
    assert {"def of_the_class", "def exclude", "def select_related", "def _clone"}.isdisjoint(methods)
    assert {"def update", "def disabled"}.isdisjoint(methods)


@pytest.mark.parametrize(
    "line",
    [
        "def same(self) -> PartQuerySet[_R]: ...",
        "def of_parts(self) -> PartQuerySet[_R]: ...",
        "def of_lonely(self) -> AsyncQuerySet[Lonely]: ...",
        "def pairs(self) -> list[tuple[PartQuerySet[_R], int]]: ...",
        "async def newest(self) -> Part | None: ...",
        "def each(self) -> AsyncIterator[Part]: ...",
        "def alocked(self) -> AbstractAsyncContextManager[Part]: ...",
        "def create(self, *, loud: bool = ..., **kwargs: Any) -> Part: ...",
        "def delete(self, hard: Any = ...) -> Any: ...",
    ],
)
def test_querysets_repeat_what_gives_generated_classes(project: Project, line: str) -> None:
    assert line in project.class_lines("stock", "PartQuerySet")


def test_querysets_leave_the_others_to_the_hand_written_class(project: Project) -> None:
    methods = {line.partition("(")[0] for line in project.class_lines("stock", "PartQuerySet")}
    assert {"def locked", "def wrapped", "def json", "def exclude", "def bulk_create"}.isdisjoint(methods)


def test_overridden_creation_is_that_of_relations(project: Project) -> None:
    assert [line.partition("(")[0] for line in project.class_lines("stock", "PartManyManager")] == [
        "async def acreate"
    ]


def test_accounts_are_the_generated_ones(project: Project) -> None:
    lines = project.class_lines("people", "UserManager")
    account = "username: str, email: str | None = ..., password: str | None = ..., **extra_fields: Any"
    assert f"def create_user(self, {account}) -> User: ..." in lines
    assert "def get_by_natural_key(self, username: str | None) -> User: ..." in lines
    assert [line for line in lines if line.startswith("def with_perm(self, perm: str | Permission, ")]
    assert all(line.endswith("-> UserQuerySet[User]: ...") for line in lines if "with_perm" in line)


@pytest.mark.parametrize(
    "lines",
    [
        "def root(self) -> Part: ...",
        "@property\ndef twin(self) -> Part: ...",
        "lonely: Rel[Lonely | None, _m3.Lonely | int | None] = ...",
        "first: Rel[Part | None, _m.Part | None] = ...",
        "@classmethod\ndef made(cls, of: _m.Part) -> tuple[Self, Part]: ...",
        "@staticmethod\ndef named(name: str) -> Part: ...",
        "async def next(self, *, after: _m.Part | None = ...) -> Part: ...",
        "def locked(self) -> AbstractAsyncContextManager[Part]: ...",
        "def parts(self) -> PartQuerySet[Part]: ...",
        "def wheels(self) -> WheelQuerySet[Wheel]: ...",
        "def lonelies(self) -> AsyncQuerySet[Lonely]: ...",
    ],
)
def test_rows_give_generated_classes(project: Project, lines: str) -> None:
    assert lines in "\n".join(project.class_lines("stock", "Part"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not keep overloads")
def test_overloads_of_rows_are_those_that_are_written(project: Project) -> None:
    lines = project.class_lines("stock", "Part")
    first = lines.index("def pick(self, number: int) -> int: ...")
    assert lines[first - 1 : first + 3] == [
        "@overload",
        "def pick(self, number: int) -> int: ...",
        "@overload",
        "def pick(self, number: str) -> Part: ...",
    ]


def test_rows_leave_the_others_to_the_hand_written_class(project: Project) -> None:
    lines = "\n".join(project.class_lines("stock", "Part"))
    for called in ("me", "number", "bare", "group", "unsaid", "_private"):
        assert f"def {called}(" not in lines


def test_rows_of_children_have_the_methods_of_their_parents(project: Project) -> None:
    lines = "\n".join(project.class_lines("stock", "SmallPart"))
    assert "def twin_of(self) -> SmallPart: ..." in lines
    assert "def root(" not in lines
    assert "def parts(" not in lines


def test_methods_of_rows_keep_parameters_of_their_own(project: Project) -> None:
    methods = {line.partition("(")[0] for line in project.class_lines("stock", "Part")}
    assert {"async def adelete", "async def afull_clean"}.isdisjoint(methods)
    assert "async def asave" in methods
    others = {line.partition("(")[0] for line in project.class_lines("stock", "Other")}
    assert {"async def adelete", "async def afull_clean"} <= others
