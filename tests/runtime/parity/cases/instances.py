"""The async methods of model instances."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import django
from django.db.models import F

from tests.project.library.models import (
    Author,
    Book,
    Note,
    Person,
    Place,
    Profile,
    Restaurant,
    Shouter,
    Tag,
    Writer,
)
from tests.runtime.parity.outcome import Call, Case, on

__all__ = ["CASES"]

case = partial(Case, "Model")


def _changed(instance: Any, /, *args: Any, _set: dict[str, Any], **kwargs: Any) -> Call:
    for name, value in _set.items():
        setattr(instance, name, value)
    return on(instance, *args, **kwargs)


def _with_caches() -> Any:
    book = Book.objects.select_related("author").prefetch_related("tags").get(pk=1)
    book.title = "changed"
    return book


CASES = [
    case("asave", lambda: on(Author(name="Dot")), "insert"),
    case("asave", lambda: _changed(Author.objects.get(pk=1), _set={"age": 1}), "update"),
    case("asave", lambda: on(Author(pk=80, name="Dot")), "key given, no such row"),
    case("asave", lambda: on(Person(pk=uuid.UUID(int=7), name="Max")), "key by default"),
    case("asave", lambda: on(Author(pk=1, name="Ada"), force_insert=True), "force_insert, conflict"),
    case("asave", lambda: on(Author(pk=80, name="Dot"), force_update=True), "force_update, no such row"),
    case("asave", lambda: on(Author(name="x"), force_insert=True, force_update=True), "both forced"),
    case("asave", lambda: _changed(Author.objects.get(pk=1), _set={"name": "Bob"}), "conflict"),
    case(
        "asave",
        lambda: _changed(Author.objects.get(pk=1), _set={"name": "n", "age": 2}, update_fields=["age"]),
        "update_fields",
    ),
    case("asave", lambda: on(Author.objects.get(pk=1), update_fields=[]), "update_fields empty"),
    case("asave", lambda: on(Author.objects.get(pk=1), update_fields=["x"]), "update_fields unknown"),
    case("asave", lambda: on(Author.objects.only("name").get(pk=1)), "deferred"),
    case("asave", lambda: _changed(Book.objects.get(pk=1), _set={"price": F("price") + 1}), "expression"),
    case("asave", lambda: on(Book(title="x", author=Author(name="new"))), "unsaved relation"),
    case("asave", lambda: on(Book(title="x", author_id=999)), "no such relation"),
    case("asave", lambda: on(Author(name="other"), using="default"), "using"),
    case("asave", lambda: on(Restaurant(name="Bar", stars=1)), "two tables, insert"),
    case("asave", lambda: _changed(Restaurant.objects.first(), _set={"name": "x"}), "two tables, update"),
    case("asave", lambda: on(Writer(name="Dot")), "proxy"),
    case("asave", lambda: on(Shouter(name="dot")), "own save()"),
    case("asave", lambda: on(Note(text="x", target=Book.objects.get(pk=2))), "generic"),
    case("adelete", lambda: on(Author.objects.get(pk=1)), "cascade"),
    case("adelete", lambda: on(Tag.objects.get(pk=3)), "nothing related"),
    case("adelete", lambda: on(Author(name="x")), "unsaved"),
    case("adelete", lambda: on(Restaurant.objects.first()), "two tables"),
    case("adelete", lambda: on(Restaurant.objects.first(), keep_parents=True), "keep_parents"),
    case("adelete", lambda: on(Place.objects.get(name="Cafe")), "parent"),
    case("adelete", lambda: on(Person.everyone.get(name="Eve")), "set null"),
    case("adelete", lambda: on(Writer.objects.get(pk=2), using="default"), "proxy"),
    case("arefresh_from_db", lambda: _changed(Author.objects.get(pk=1), _set={"name": "x"})),
    case("arefresh_from_db", lambda: on(_with_caches()), "caches"),
    case("arefresh_from_db", lambda: on(_with_caches(), fields=["title"]), "fields"),
    case("arefresh_from_db", lambda: on(_with_caches(), fields=["tags"]), "prefetched"),
    case("arefresh_from_db", lambda: on(_with_caches(), ["author"], using="default"), "fields and using"),
    case("arefresh_from_db", lambda: on(Author.objects.only("age").get(pk=1), fields=["name"]), "deferred"),
    case("arefresh_from_db", lambda: on(Author(pk=99)), "no such row"),
    case("arefresh_from_db", lambda: on(Author.objects.get(pk=1), fields=["a__b"]), "not a field"),
    case("arefresh_from_db", lambda: on(Restaurant.objects.first()), "two tables"),
    case("afull_clean", lambda: on(Tag(label="new")), "valid"),
    case("afull_clean", lambda: on(Tag(label="red")), "not unique"),
    case("afull_clean", lambda: on(Tag(label="red"), validate_unique=False), "uniqueness not asked"),
    case("afull_clean", lambda: on(Profile(author_id=1)), "one to one taken"),
    case("afull_clean", lambda: on(Profile(author_id=99)), "no such relation"),
    case("afull_clean", lambda: on(Author(), exclude=["groups"]), "empty"),
]

if django.VERSION >= (5, 1):
    CASES += [
        case(
            "arefresh_from_db",
            lambda: on(Author.objects.get(pk=1), from_queryset=Author.objects.filter(age=36)),
            "from_queryset",
        ),
        case(
            "arefresh_from_db",
            lambda: on(Author.objects.get(pk=1), from_queryset=Author.objects.filter(age=37)),
            "from_queryset without it",
        ),
    ]
