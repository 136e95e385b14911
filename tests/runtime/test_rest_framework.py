"""Django REST framework's serializers and views, which are sync, on models with an `AsyncManager`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import override_settings
from rest_framework import generics, serializers
from rest_framework.test import APIRequestFactory
from rest_framework.validators import UniqueTogetherValidator

from tests.project.library.models import Author, Book, Contribution, Profile, Tag
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import atomic, run_sync
from turbo_orm.errors import NotLoadedError

Runner = Callable[[Callable[[], Any]], Any]


class TagSerializer(serializers.ModelSerializer):
    class Meta:
        model = Tag
        fields = ["id", "label"]


class AuthorSerializer(serializers.ModelSerializer):
    bio = serializers.CharField(source="profile.bio", read_only=True)
    number_of_books = serializers.SerializerMethodField()

    class Meta:
        model = Author
        fields = ["name", "age", "bio", "number_of_books"]

    def get_number_of_books(self, author: Author) -> int:
        number: int = author.books.count()
        return number


class BookSerializer(serializers.ModelSerializer):
    author = AuthorSerializer(read_only=True)
    author_name = serializers.SlugRelatedField(
        slug_field="name", source="author", queryset=Author.objects.all(), write_only=True
    )
    tags = serializers.SlugRelatedField(slug_field="label", queryset=Tag.objects.all(), many=True)

    class Meta:
        model = Book
        fields = [
            "id",
            "title",
            "author",
            "author_name",
            "editor",
            "tags",
            "price",
            "published",
            "meta",
            "marks",
        ]
        extra_kwargs = {"published": {"required": False}}


class ShelfSerializer(serializers.ModelSerializer):
    """An author with books, written in one go."""

    books = BookSerializer(many=True, read_only=True)
    titles = serializers.ListField(child=serializers.CharField(), write_only=True)

    class Meta:
        model = Author
        fields = ["name", "books", "titles"]

    def create(self, validated_data: dict[str, Any]) -> Author:
        titles = validated_data.pop("titles")
        author = super().create(validated_data)
        for title in titles:
            author.books.create(title=title)
        return author


class ContributionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Contribution
        fields = ["book", "author", "role"]
        validators = [UniqueTogetherValidator(queryset=Contribution.objects.all(), fields=["book", "author"])]


def directly(work: Callable[[], Any]) -> Any:
    return work()


def in_the_bridge(work: Callable[[], Any]) -> Any:
    return asyncio.run(run_sync(work))


@pytest.fixture(params=[directly, in_the_bridge])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run sync code as ever, or in the bridge: every test expects the same of both."""
    runner: Runner = request.param
    return runner


@pytest.fixture
def shelf(django_databases: None) -> None:
    authors = [Author.objects.create(name=name, age=30) for name in "ab"]
    Profile.objects.create(author=authors[0], bio="bio of a")
    tags = [Tag.objects.create(label=label) for label in "xy"]
    for number in range(4):
        book = Book.objects.create(title=f"t{number}", author=authors[number % 2], marks=[number])
        book.tags.set(tags[: number % 3])
    connection.close()


def as_data(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def test_a_list_with_nested_objects(shelf: None, run: Runner) -> None:
    rows = Book.objects.select_related("author__profile").prefetch_related("tags")
    statements: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        statements.append(sql)
        return execute(sql, *args)

    def serialize() -> Any:
        with connection.execute_wrapper(note):
            return as_data(BookSerializer(rows, many=True).data)

    found = run(serialize)
    assert [(book["title"], book["tags"], book["marks"]) for book in found] == [
        ("t0", [], [0]),
        ("t1", ["x"], [1]),
        ("t2", ["x", "y"], [2]),
        ("t3", [], [3]),
    ]
    assert found[0]["author"] == {"name": "a", "age": 30, "bio": "bio of a", "number_of_books": 2}
    assert found[1]["author"]["number_of_books"] == 2
    assert len(statements) == 2 + 4, "books, tags, and what the method field asks for each"


def test_lazily_loaded_relations(shelf: None, run: Runner) -> None:
    found = run(lambda: as_data(BookSerializer(Book.objects.get(title="t2")).data))
    assert (found["author"]["bio"], found["tags"], found["editor"]) == ("bio of a", ["x", "y"], None)


def test_create(shelf: None, run: Runner) -> None:
    def create() -> Any:
        data = {"title": "new", "author_name": "b", "tags": ["x", "y"], "price": "1.50", "marks": [1, 2]}
        serializer = BookSerializer(data={**data, "meta": {"a": [1]}, "editor": None})
        assert serializer.is_valid(), serializer.errors
        serializer.save(published="2020-02-02")
        return as_data(serializer.data)

    created = run(create)
    assert (created["author"]["name"], created["tags"], created["meta"]) == ("b", ["x", "y"], {"a": [1]})
    book = Book.objects.get(title="new")
    assert (book.marks, str(book.published), book.tags.count()) == ([1, 2], "2020-02-02", 2)


def test_update(shelf: None, run: Runner) -> None:
    def update() -> Any:
        data = {"title": "renamed", "tags": ["y"], "author_name": "b"}
        serializer = BookSerializer(Book.objects.get(title="t2"), data=data, partial=True)
        serializer.is_valid(raise_exception=True)
        return as_data(BookSerializer(serializer.save()).data)

    updated = run(update)
    assert (updated["title"], updated["tags"], updated["author"]["name"]) == ("renamed", ["y"], "b")
    assert list(Book.objects.get(title="renamed").tags.values_list("label", flat=True)) == ["y"]


def test_objects_within_objects(shelf: None, run: Runner) -> None:
    def create() -> Any:
        serializer = ShelfSerializer(data={"name": "c", "titles": ["one", "two"]})
        serializer.is_valid(raise_exception=True)
        return as_data(ShelfSerializer(serializer.save()).data)

    assert [book["title"] for book in run(create)["books"]] == ["one", "two"]
    assert Author.objects.get(name="c").books.count() == 2


def test_validators_ask_the_database(shelf: None, run: Runner) -> None:
    def errors() -> Any:
        book, author = Book.objects.get(title="t0"), Author.objects.get(name="a")
        Contribution.objects.create(book=book, author=author)
        both = ContributionSerializer(data={"book": book.pk, "author": author.pk, "role": "editor"})
        known = TagSerializer(data={"label": "x"})
        same = TagSerializer(Tag.objects.get(label="x"), data={"label": "x"})
        unknown = BookSerializer(data={"title": "t", "author_name": "nobody", "tags": ["z"]})
        for serializer in (both, known, unknown):
            assert not serializer.is_valid()
        assert same.is_valid(), "its own label is not taken"
        return as_data([both.errors, known.errors, unknown.errors])

    both, known, unknown = run(errors)
    assert both == {"non_field_errors": ["The fields book, author must make a unique set."]}
    assert [str(message).lower() for message in known["label"]] == ["tag with this label already exists."]
    assert unknown["author_name"] == ["Object with name=nobody does not exist."]
    assert unknown["tags"] == ["Object with label=z does not exist."]


class Books(generics.ListCreateAPIView):
    queryset = Book.objects.select_related("author__profile").prefetch_related("tags")
    serializer_class = BookSerializer
    authentication_classes: list[Any] = []


def test_generic_views(shelf: None, run: Runner) -> None:
    def request(method: str, **data: Any) -> Any:
        made = getattr(APIRequestFactory(), method)("/", data or None, format="json")
        made.user = AnonymousUser()
        response = Books.as_view()(made).render()
        return response.status_code, json.loads(response.content)

    with override_settings(ATOMIC_REQUESTS=False):
        status, listed = run(lambda: request("get"))
        assert (status, [book["title"] for book in listed]) == (200, ["t0", "t1", "t2", "t3"])
        status, created = run(lambda: request("post", title="made", author_name="a", tags=["x"]))
        assert (status, created["tags"]) == (201, ["x"])
        status, refused = run(lambda: request("post", title="made", author_name="nobody", tags=[]))
        assert (status, [*refused]) == (400, ["author_name"])
    assert Book.objects.filter(title="made").count() == 1


async def test_in_the_transaction_around_it(shelf: None) -> None:
    def create() -> Any:
        serializer = BookSerializer(data={"title": "new", "author_name": "a", "tags": ["x"]})
        serializer.is_valid(raise_exception=True)
        return serializer.save()

    with pytest.raises(LookupError):
        async with atomic():
            book = await run_sync(create)
            assert [tag.label async for tag in book.tags.all()] == ["x"]
            raise LookupError
    assert not await Book.objects.filter(title="new").aexists()
    await asyncio.gather(*[run_sync(create) for _ in range(5)])
    assert await Book.objects.filter(title="new").acount() == 5
    await assert_pool_is_clean()


class FlatSerializer(serializers.ModelSerializer):
    author = serializers.CharField(source="author.name")
    tags = TagSerializer(many=True)

    class Meta:
        model = Book
        fields = ["title", "author", "tags"]


async def test_without_the_bridge_where_everything_is_loaded(shelf: None) -> None:
    rows = await Book.objects.select_related("author").prefetch_related("tags").alist()
    found = as_data(FlatSerializer(rows, many=True).data)
    assert [(book["author"], len(book["tags"])) for book in found] == [("a", 0), ("b", 1), ("a", 2), ("b", 0)]
    rows = await Book.objects.alist()
    with pytest.raises(NotLoadedError, match=r"Book\.author is not loaded"):
        _ = FlatSerializer(rows, many=True).data


class OneQuerySetForAll(generics.ListAPIView):
    queryset = Book.objects.all()


async def test_the_queryset_of_a_view_is_not_evaluated(shelf: None) -> None:
    OneQuerySetForAll.as_view()  # replaces a method of this one queryset, which all requests share
    rows: Any = OneQuerySetForAll.queryset
    for _ in range(3):  # with its plan, too
        assert len(await rows.all().alist()) == 4
        with pytest.raises(RuntimeError, match=r"Do not evaluate the `\.queryset` attribute directly"):
            await rows.alist()
        with pytest.raises(RuntimeError, match=r"Do not evaluate the `\.queryset` attribute directly"):
            _ = [book async for book in rows]
        with pytest.raises(RuntimeError, match=r"Do not evaluate the `\.queryset` attribute directly"):
            await run_sync(list, rows)
