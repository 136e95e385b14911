"""Which classes the names in annotations of methods and fields stand for."""

from __future__ import annotations

import pytest

from tests.codegen.support import Project

_SETTINGS = """\
SECRET_KEY = "x"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "turbo_orm", "django.contrib.contenttypes", "django.contrib.auth", "people", "staff", "stock", "till"
]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
"""
_PEOPLE = """\
from django.db import models
from turbo_orm import AsyncManager


class Account(models.Model):
    objects = AsyncManager()
"""
_STAFF = """\
from django.db import models
from turbo_orm import AsyncManager


class Account(models.Model):
    objects = AsyncManager()


class Lonely(models.Model):
    objects = AsyncManager()


class Lonelier(models.Model):
    objects = AsyncManager()


class type(models.Model):
    objects = AsyncManager()


class Decimal(models.Model):
    objects = AsyncManager()
"""
_STOCK = """\
from typing import TYPE_CHECKING, List, NewType, Optional, Union

from django.contrib.auth.models import AbstractBaseUser, Group
from django.db import models
from staff.models import Lonely
from turbo_orm import AsyncManager, AsyncQuerySet

if TYPE_CHECKING:
    import people.models
    import till.rates
    import till.rates as money
    from nowhere import Nothing
    from people.models import Account
    from till.rates import Decimal, Rate
    from typing import NoSuchThing as Lonelier
    Here = List[int]

JSON = Union[dict[str, "JSON"], list["JSON"], str]
Key = NewType("Key", int)


class PlainField(models.Field):
    pass


class Base(models.Model):
    class Meta:
        abstract = True


class PartQuerySet(AsyncQuerySet):
    # Models which no relation leads to, and what is a model but has no rows.
    def lonely(self, one: Lonely, many: List[Lonely]) -> Lonely: ...
    def group(self) -> Group: ...
    def user(self, who: AbstractBaseUser) -> Base: ...
    def any_model(self, which: type[models.Model], one: models.Model) -> None: ...

    # Names that only type checkers have.
    async def account(self) -> "Account": ...
    def rate(self, rate: "Rate", other: "money.Rate") -> "Decimal": ...
    def here(self) -> "Here": ...
    def nothing(self) -> "Nothing": ...
    def nested(self) -> "people.models.Account": ...
    def inner(self) -> "till.rates.Rate.Inner": ...
    def never(self) -> "Lonelier": ...
    def undefined(self) -> "Undefined": ...
    def built_in(self) -> "type[int]": ...

    # Aliases.
    def json(self) -> "Optional[JSON]": ...
    def key(self, key: Key) -> Key: ...


class Part(Base):
    keeper: "Lonely" = PlainField(default=0)
    user: AbstractBaseUser = PlainField(default=0)
    objects = AsyncManager.from_queryset(PartQuerySet)()
"""
_TILL = """\
from django.db import models
from turbo_orm import AsyncManager, AsyncQuerySet


class ReceiptQuerySet(AsyncQuerySet):
    def account(self) -> "Account": ...
    def lonely(self) -> "Lonely": ...
    def kind(self) -> "type[int]": ...


class Receipt(models.Model):
    part = models.ForeignKey("stock.Part", models.CASCADE)
    objects = AsyncManager.from_queryset(ReceiptQuerySet)()
"""
_RATES = """\
raise RuntimeError("The generator must not import this.")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.write_apps(_SETTINGS, {"people": _PEOPLE, "staff": _STAFF, "stock": _STOCK, "till": _TILL})
    project.write("till/rates.py", _RATES)
    finished = project.generate()
    assert finished.returncode == 0, finished.stderr
    return project


@pytest.mark.parametrize(
    "line",
    [
        "def lonely(self, one: _m4.Lonely, many: list[Lonely]) -> Lonely: ...",
        "def group(self) -> _m3.Group: ...",
        "def user(self, who: AbstractBaseUser) -> Base: ...",
        "def any_model(self, which: type[Model], one: Model) -> None: ...",
        "async def account(self) -> Account: ...",
        "def rate(self, rate: Rate, other: Rate) -> Decimal: ...",
        "def here(self) -> Here: ...",
        "def nothing(self) -> Nothing: ...",
        "def nested(self) -> Account: ...",
        "def inner(self) -> rates.Rate.Inner: ...",
        "def never(self) -> Any: ...",
        "def undefined(self) -> Any: ...",
        "def built_in(self) -> type[int]: ...",
        "def json(self) -> dict[str, Any] | list[Any] | str | None: ...",
        "def key(self, key: Key) -> Key: ...",
    ],
)
def test_methods(project: Project, line: str) -> None:
    lines = project.class_lines("stock", "PartManager")
    assert line in lines, "\n".join(lines)


def test_fields(project: Project) -> None:
    assert {"keeper: Lonely", "user: AbstractBaseUser"} <= set(project.class_lines("stock", "Part"))
    assert "part__keeper: Lonely | Expr = ..." in project.read("till/turbo.pyi")


def test_a_name_without_import_is_that_of_one_model_or_of_none(project: Project) -> None:
    lines = project.class_lines("till", "ReceiptManager")
    assert "def account(self) -> Any: ..." in lines
    assert "def lonely(self) -> Lonely: ..." in lines
    assert "def kind(self) -> type[int]: ..." in lines


def test_imports_are_those_of_the_module(project: Project) -> None:
    stub = project.read("stock/turbo.pyi")
    assert "from people.turbo import Account" in stub
    assert "from till.rates import Decimal, Rate" in stub


def test_the_order_of_apps_does_not_matter(project: Project) -> None:
    more = "\nINSTALLED_APPS = [*INSTALLED_APPS[:3], *reversed(INSTALLED_APPS[3:])]\n"
    project.write("backwards.py", f"from settings import *{more}")
    finished = project.generate("--check", DJANGO_SETTINGS_MODULE="backwards")
    assert finished.returncode == 0, finished.stdout + finished.stderr
