"""What facades are made of at run time."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, get_args, get_origin

import pytest

from turbo_orm.generated import model_class, queryset_class, typing_only


@pytest.fixture
def facade(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("shop_turbo")
    module.__getattr__ = typing_only(
        "shop_turbo", "BookOrder", dicts=["BookCreate"], generic=["BookColumns", "BookQueries"]
    )
    monkeypatch.setitem(sys.modules, "shop_turbo", module)
    return module


def test_types_are_any(facade: Any) -> None:
    assert facade.BookOrder is Any


def test_typed_dicts_can_be_called(facade: Any) -> None:
    assert facade.BookCreate(title="x", price=3) == {"title": "x", "price": 3}
    assert type(facade.BookCreate()) is dict
    assert facade.BookCreate is facade.BookCreate
    assert (facade.BookCreate.__module__, facade.BookCreate.__qualname__) == ("shop_turbo", "BookCreate")


def test_generic_classes_take_parameters(facade: Any) -> None:
    columns = facade.BookColumns[int, None]
    assert get_origin(columns) is facade.BookColumns
    assert get_args(columns) == (int, None)
    assert facade.BookQueries is not facade.BookColumns
    assert facade.BookColumns.__module__ == "shop_turbo"


def test_names_which_are_not_there(facade: Any) -> None:
    hint = "If a model or one of its managers was added or renamed, run `manage.py turbo_generate`"
    with pytest.raises(ImportError, match=f"module 'shop_turbo' has no attribute 'Bok'. {hint}"):
        from shop_turbo import Bok  # type: ignore[import-not-found]  # noqa: F401  never there
    with pytest.raises(AttributeError, match=hint):
        facade.Bok  # noqa: B018  reading it is the test
    assert not hasattr(facade, "Bok")
    namespace: dict[str, Any] = {}
    exec("from shop_turbo import *", namespace)
    assert "__builtins__" in namespace


def test_models_by_name() -> None:
    from tests.project.library.models import Book

    assert model_class("tests.project.library.models", "Book") is Book
    with pytest.raises(ImportError, match=r"library\.models has no 'Bok', but its generated module was made"):
        model_class("tests.project.library.models", "Bok")


def test_querysets_that_a_manager_makes() -> None:
    from tests.project.library.models import Book

    made = queryset_class(Book, "objects", "django.db.models.query:RawQuerySet")
    assert made.__name__ == "RawQuerySet"
    with pytest.raises(
        ImportError, match=r"There is no .*:NoSuch, .* Run `manage.py turbo_generate library`"
    ):
        queryset_class(Book, "objects", "tests.project.library.models:NoSuch")


def test_models_which_are_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("shop_models")
    module.__spec__ = ModuleType("spec")
    module.__spec__._initializing = True
    monkeypatch.setitem(sys.modules, "shop_models", module)
    with pytest.raises(ImportError, match="Import that inside a function there"):
        model_class("shop_models", "Book")
