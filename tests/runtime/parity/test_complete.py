"""No async method of Django's escapes: each is overridden, and each has a case.

A new Django release with a new a-method fails here.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.contenttypes import fields as contenttypes
from django.db.models import Manager, Model, QuerySet
from django.db.models.fields import related_descriptors
from django.db.models.query import RawQuerySet

import turbo_orm
from tests.project.library.models import Author, Book, Migrated, Person, Plain, Tag, Writer
from tests.runtime.parity.cases import CASES
from turbo_orm import AsyncQuerySet
from turbo_orm.raw import AsyncRawQuerySet

PACKAGE = Path(turbo_orm.__file__).parent
DJANGO = Path(django.__file__).parent


def related_manager(name: str, make: Any) -> type[Manager[Any]]:
    manager: type[Manager[Any]] = inspect.unwrap(make)(Manager, *MADE_FOR[name])
    return manager


MADE_FOR: dict[str, tuple[Any, ...]] = {
    "ReverseForeignKey": (Book._meta.get_field("author").remote_field,),
    "ManyToMany": (Book._meta.get_field("tags").remote_field, False),
    "Generic": (Book._meta.get_field("notes").remote_field,),
}

#: Django's own classes, which say what there is.
DJANGOS: dict[str, type[Any]] = {
    "QuerySet": QuerySet,
    "RawQuerySet": RawQuerySet,
    "Model": Model,
    "ReverseForeignKey": related_manager(
        "ReverseForeignKey", related_descriptors.create_reverse_many_to_one_manager
    ),
    "ManyToMany": related_manager("ManyToMany", related_descriptors.create_forward_many_to_many_manager),
    "Generic": related_manager("Generic", contenttypes.create_generic_related_manager),
}

#: The classes of the same kinds a project gets. Nothing in `Plain` and Group is ours.
OURS: list[tuple[str, type[Any]]] = [
    ("QuerySet", AsyncQuerySet),
    ("QuerySet", type(Book.objects.all())),
    ("RawQuerySet", AsyncRawQuerySet),
    ("Model", Author),
    ("ReverseForeignKey", Author.books.related_manager_cls),
    ("ReverseForeignKey", Author.plains.related_manager_cls),
    ("ManyToMany", Book.tags.related_manager_cls),
    ("ManyToMany", Tag.books.related_manager_cls),
    ("ManyToMany", Book.contributors.related_manager_cls),
    ("ManyToMany", Author.groups.related_manager_cls),
    ("ManyToMany", Author.likes.related_manager_cls),
    ("ManyToMany", Plain.fans.related_manager_cls),
    ("Generic", Book.notes.related_manager_cls),
]


def async_methods(cls: type[Any]) -> set[str]:
    """The names of *cls*'s async methods that Django defines, wherever they run now."""
    return {
        name
        for name in dir(cls)
        if name == "__aiter__" or _is_async(inspect.unwrap(getattr(cls, name)))
        if DJANGO in source(inspect.unwrap(getattr(cls, name))).parents
    }


def _is_async(method: Any) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


#: Verbs of querysets and managers of which Django has no twin in a thread.
BEYOND_DJANGOS = {
    name
    for name in {*dir(AsyncQuerySet)} - {*dir(QuerySet)}
    if not name.startswith("_") and _is_async(getattr(AsyncQuerySet, name))
}


def source(method: Any) -> Path:
    """The file a method's own code is in, not that of the method it wraps."""
    return Path(method.__code__.co_filename)


def test_django_has_the_methods_we_look_for() -> None:
    assert {"aget", "aiterator", "__aiter__"} <= async_methods(DJANGOS["QuerySet"])
    assert {"asave", "adelete", "arefresh_from_db"} <= async_methods(DJANGOS["Model"])
    assert {"aadd", "aset", "aremove", "aclear"} <= async_methods(DJANGOS["ManyToMany"])
    assert {"aadd", "aset", "aremove", "aclear"} <= async_methods(DJANGOS["Generic"])
    assert {"aadd", "aset"} <= async_methods(DJANGOS["ReverseForeignKey"])


@pytest.mark.parametrize(("kind", "cls"), OURS, ids=lambda value: getattr(value, "__name__", value))
def test_every_async_method_is_ours(kind: str, cls: type[Any]) -> None:
    if issubclass(cls, Manager):
        # What a manager takes from its queryset class is a plain function that calls it.
        assert issubclass(cls._queryset_class, AsyncQuerySet)
        names = async_methods(DJANGOS[kind]) & set(vars(DJANGOS[kind]))
    else:
        names = async_methods(DJANGOS[kind])
    assert names
    assert {name for name in names if PACKAGE not in source(getattr(cls, name)).parents} == set()


@pytest.mark.parametrize("kind", DJANGOS)
def test_every_async_method_has_a_case(kind: str) -> None:
    cases = {case.verb for case in CASES if case.kind == kind}
    verbs = async_methods(DJANGOS[kind]) | (BEYOND_DJANGOS if kind == "QuerySet" else set())
    assert verbs - cases == set()


@pytest.mark.parametrize("name", sorted(async_methods(QuerySet) - {"__aiter__"}))
def test_signature_is_djangos(name: str) -> None:
    ours, djangos = getattr(AsyncQuerySet, name), getattr(QuerySet, name)
    assert list(_defaults(ours)) == list(_defaults(djangos))
    assert _defaults(ours) == _defaults(djangos)
    assert getattr(ours, "alters_data", None) == getattr(djangos, "alters_data", None)


def _defaults(method: Any) -> dict[str, Any]:
    return {name: (each.kind, each.default) for name, each in inspect.signature(method).parameters.items()}


@pytest.mark.parametrize(
    "manager", [Book.objects, Book.as_books, Writer.objects, Person.living, Migrated.objects]
)
def test_managers_have_the_verbs_of_their_querysets(manager: Any) -> None:
    verbs = async_methods(QuerySet) - {"__aiter__"} | BEYOND_DJANGOS
    assert [verb for verb in verbs if not hasattr(manager, verb)] == []
    assert isinstance(manager.get_queryset(), AsyncQuerySet)
    assert verbs - {case.verb for case in CASES if case.kind == "Manager"} == set()
