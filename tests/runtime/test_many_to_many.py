"""Many-to-many prefetches on plans: outside of the bridge, and only where that is the same."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.db.models import Manager, Prefetch, QuerySet, prefetch_related_objects
from django.db.models.fields import related_descriptors

from tests.project.library.models import Author, Book, Person, Tag
from turbo_orm import prefetching, run_sync
from turbo_orm.fetch_modes import FETCH_ONE, FETCH_PEERS
from turbo_orm.manager import AsyncManager
from turbo_orm.plans import shapes
from turbo_orm.prefetching.asked import Asked
from turbo_orm.prefetching.kept import Prefetched


async def books() -> None:
    author = await Author.objects.acreate(name="a")
    tags = [await Tag.objects.acreate(label=f"t{number}") for number in range(3)]
    for number in range(3):
        book = await Book.objects.acreate(title=f"b{number}", author=author)
        await book.tags.aadd(*tags[number:])


async def loaded_books() -> list[Book]:
    found: list[Book] = (
        await Book.objects.order_by("title")
        .prefetch_related(Prefetch("tags", Tag.objects.order_by("label")))
        .alist()
    )
    return found


async def loaded() -> list[list[str]]:
    found = await Book.objects.order_by("title").prefetch_related("tags").alist()
    return [sorted(tag.label for tag in book.tags.all()) for book in found]


EXPECTED = [["t0", "t1", "t2"], ["t1", "t2"], ["t2"]]


async def test_outside_of_the_bridge_once_the_shape_is_known(by_django: list[str]):
    await books()
    for _ in range(3):
        assert await loaded() == EXPECTED
    by_django.clear()
    assert await loaded() == EXPECTED
    assert by_django == []


async def test_what_was_prefetched_is_the_relations_queryset():
    await books()
    for _ in range(4):
        book = (await Book.objects.order_by("title").prefetch_related("tags").alist())[1]
    rows = book.tags.all()
    assert rows._hints["instance"] is book
    assert sorted([tag.label async for tag in rows.filter(label__gte="t2")]) == ["t2"]
    django = await run_sync(lambda: str(Book.objects.get(title="b1").tags.all().query))
    assert str(rows.query) == django


async def test_a_manager_of_its_own_is_asked_in_the_bridge(
    by_django: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Its `get_queryset()` may query, which only sync code in the bridge can."""
    await books()
    assert await loaded() == EXPECTED

    asked: list[int] = []

    def get_queryset(self: Any) -> Any:
        if self.model is Tag:
            asked.append(Author.objects.count())
        return Manager.get_queryset(self)

    monkeypatch.setattr(AsyncManager, "get_queryset", get_queryset, raising=False)
    for _ in range(3):
        by_django.clear()
        found = await Book.objects.order_by("title").alist()
        await prefetching.aprefetch_related_objects(found, "tags")
        assert by_django == ["tags"]
    assert set(asked) == {1}


async def prefetched(*lookups: str) -> list[Book]:
    """Books whose *lookups* were prefetched on plans."""
    for _ in range(3):
        found: list[Book] = await Book.objects.order_by("title").prefetch_related(*lookups).alist()
    assert all(type(book.__dict__["_prefetched_objects_cache"]) is Prefetched for book in found)
    return found


def djangos(*lookups: str) -> list[Book]:
    found = list(Book.objects.order_by("title"))
    prefetch_related_objects(found, *lookups)
    return found


def plain(value: Any) -> Any:
    """*value* with all querysets as what can be compared, and those of books whole."""
    if isinstance(value, QuerySet):
        internals: Any = value
        return (
            type(value),
            [(tag.pk, tag.__dict__["_prefetch_related_val_book_id"]) for tag in internals._result_cache],
            internals._prefetch_done,
            internals._sticky_filter,
            internals._db,
            internals._known_related_objects,
            internals._hints["instance"].pk,
            getattr(internals, "_fetch_mode", FETCH_ONE),
        )
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


LOOKS: dict[str, Callable[[Any], Any]] = {
    "[]": lambda cache: cache["tags"],
    "[] of another": lambda cache: _refused(lambda: cache["other"]),
    "get": lambda cache: [cache.get("tags"), cache.get("other"), cache.get("other", 1)],
    "in": lambda cache: ["tags" in cache, "other" in cache],
    "len": lambda cache: [len(cache), bool(cache)],
    "keys": lambda cache: [list(cache), list(cache.keys()), list(reversed(cache))],
    "values": lambda cache: list(cache.values()),
    "items": lambda cache: list(cache.items()),
    "dict()": lambda cache: (type(dict(cache)), dict(cache)),
    "**": lambda cache: {**cache},
    "update": lambda cache: [target := {}, target.update(cache)],
    "|": lambda cache: cache | {"other": 1},
    "| from the right": lambda cache: {"other": 1} | cache,
    "|=": lambda cache: [cache := copy.copy(cache), cache.__ior__({"other": 1})],
    "copy()": lambda cache: (type(cache.copy()), cache.copy()),
    "copy.copy()": lambda cache: (type(copy.copy(cache)), copy.copy(cache)),
    "pop": lambda cache: [cache.pop("tags"), cache.pop("tags", 1), cache],
    "pop of another": lambda cache: _refused(lambda: cache.pop("other")),
    "popitem": lambda cache: [cache.popitem(), cache],
    "setdefault": lambda cache: [cache.setdefault("tags", 1), cache.setdefault("other", 1), cache],
    "del": lambda cache: [cache.__delitem__("tags"), cache],
    "clear": lambda cache: [cache.clear(), cache],
    "set": lambda cache: [cache.__setitem__("tags", 1), cache["tags"], cache],
    "==": lambda cache: [cache == dict(cache), cache != dict(cache), cache == {}, cache == {"tags": 1}],
    "repr": lambda cache: repr(cache),
    "pickle": lambda cache: [
        (type(copied := pickle.loads(pickle.dumps(cache)))),
        list(copied),
        [tag.label for tag in copied["tags"]],
        type(copied["tags"]._hints["instance"]._prefetched_objects_cache),
    ],
    "deepcopy": lambda cache: [
        type(copied := copy.deepcopy(cache)),
        list(copied),
        copied["tags"]._result_cache,
        copied["tags"]._hints["instance"].pk,
    ],
    "match": lambda cache: _matched(cache),
}


def _refused(look: Callable[[], Any]) -> Any:
    with pytest.raises(KeyError) as refused:
        look()
    return refused.value.args


def _matched(cache: Any) -> Any:
    match cache:
        case {"tags": found, **others}:
            return [found, others]
    return None


@pytest.mark.parametrize("look", LOOKS)
async def test_the_cache_looks_like_djangos(look: str):
    await books()
    ours = await prefetched("tags")
    theirs = await run_sync(djangos, "tags")
    for our, their in zip(ours, theirs, strict=True):
        expected = await run_sync(lambda their=their: plain(LOOKS[look](their._prefetched_objects_cache)))
        assert await run_sync(lambda our=our: plain(LOOKS[look](our._prefetched_objects_cache))) == expected


async def test_the_queryset_is_made_once_and_is_djangos():
    await books()
    ours, theirs = await prefetched("tags", "contributors"), await run_sync(djangos, "tags", "contributors")
    for our, their in zip(ours, theirs, strict=True):
        cache: Any = our._prefetched_objects_cache
        assert set(cache) == set(their._prefetched_objects_cache) == {"tags", "contributors"}
        assert cache["tags"] is cache["tags"] is our.tags.get_queryset()
        assert cache["tags"]._hints["instance"] is our
        assert list(our.tags.all()) == list(their.tags.all())
        assert str(our.tags.all().query) == str(their.tags.all().query)
        assert str(our.tags.filter(label="t1").query) == str(their.tags.filter(label="t1").query)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Book, "contributors"),
        (Author, "contributed"),
        (Author, "groups"),
        (Group, "authors"),
        (Tag, "books"),
        (Person, "friends"),
        (Person, "follows"),
        (Person, "followers"),
    ],
)
async def test_each_kind_of_relation(model: Any, name: str):
    await books()
    authors = [author async for author in Author.objects.all()]
    group = await run_sync(Group.objects.create, name="g")
    await run_sync(lambda: [author.groups.add(group) for author in authors])
    people = [await Person.everyone.acreate(name=f"p{number}") for number in range(4)]
    await run_sync(people[0].friends.set, people[1:3])
    await run_sync(people[0].follows.set, people[2:])
    await run_sync(people[1].follows.set, [people[0], people[3]])

    async def instances() -> list[Any]:
        return await run_sync(lambda: list(model._base_manager.order_by("pk")))

    found = await instances()
    expected = await run_sync(lambda: [[row.pk for row in getattr(each, name).all()] for each in found])
    for _ in range(3):
        found = await instances()
        await prefetching.aprefetch_related_objects(found, name)
        caches = [each.__dict__["_prefetched_objects_cache"] for each in found]
        assert [[row.pk for row in getattr(each, name).all()] for each in found] == expected
        theirs = await instances()
        await run_sync(prefetch_related_objects, theirs, name)
        assert [list(cache) for cache in caches] == [list(each._prefetched_objects_cache) for each in theirs]


async def test_uuids_as_keys(monkeypatch: pytest.MonkeyPatch, by_django: list[str]):
    descriptor = vars(Person)["follows"]
    manager_class = related_descriptors.create_forward_many_to_many_manager(
        AsyncManager, descriptor.rel, reverse=False
    )
    monkeypatch.setattr(descriptor, "related_manager_cls", manager_class)
    people = [await Person.everyone.acreate(name=f"p{number}") for number in range(4)]
    await run_sync(people[0].follows.set, people[2:])
    await run_sync(people[1].follows.set, [people[0], people[3]])
    for _ in range(3):
        found = [await Person.everyone.aget(pk=person.pk) for person in people]
        by_django.clear()
        await prefetching.aprefetch_related_objects(found, "follows")
    assert by_django == []
    assert type(found[0].__dict__["_prefetched_objects_cache"]) is Prefetched
    assert [{row.name for row in person.follows.all()} for person in found] == [
        {"p2", "p3"},
        {"p0", "p3"},
        set(),
        set(),
    ]
    assert [row.name async for row in found[0].follows.filter(name="p2")] == ["p2"]


async def test_a_key_that_is_not_what_the_database_returns():
    await books()
    for _ in range(3):
        pks = [book.pk for book in await prefetched("tags")]
        ours, theirs = ([Book(pk=pks[0]), Book(pk=str(pks[1]))] for _ in range(2))
        await prefetching.aprefetch_related_objects(ours, "tags")
        await run_sync(prefetch_related_objects, theirs, "tags")
        for our, their in zip(ours, theirs, strict=True):
            assert [tag.label for tag in our.tags.all()] == [tag.label for tag in their.tags.all()]
        assert [tag.label for tag in ours[1].tags.all()] == EXPECTED[1]


async def test_no_garbage_collector_is_needed():
    await books()
    # Looking for a connection this context does not have, asgiref's error keeps all frames up to here.
    assert connections["default"]
    found = await prefetched("tags")
    tags = dict.__getitem__(found[0].__dict__["_prefetched_objects_cache"], "tags")[2]
    watched = [weakref.ref(each) for each in (*found, *tags)]
    del tags
    gc.disable()
    try:
        del found
        assert [each() for each in watched] == [None] * len(watched)
    finally:
        gc.enable()


async def test_a_copy_shares_what_was_prefetched_and_may_outlive_the_original():
    await books()
    original = (await prefetched("tags"))[0]
    copied = copy.copy(original)
    assert copied._prefetched_objects_cache is original._prefetched_objects_cache
    assert copied.tags.all()._hints["instance"] is original

    original = (await prefetched("tags"))[0]
    pk, expected = original.pk, str(original.tags.filter(label="t1").query)
    original = (await prefetched("tags"))[0]
    copied = copy.copy(original)
    del original
    rows = copied.tags.all()
    assert [tag.label for tag in rows] == EXPECTED[0]
    assert str(rows.filter(label="t1").query) == expected
    hint = rows._hints["instance"]
    assert (type(hint), hint.pk, hint._state.db, hint._state.adding) == (Book, pk, "default", False)
    copied.pk = 0  # it is the prefetched rows' instance no more, and yet has them
    assert [tag.label for tag in copied.tags.all()] == EXPECTED[0]


async def test_what_was_prefetched_belongs_to_the_key_of_then():
    await books()
    ours, theirs = (await prefetched("tags"))[0], (await run_sync(djangos, "tags"))[0]
    pk = ours.pk
    for book in (ours, theirs):
        book.pk = pk + 1
        book.tags.all()
        book.pk = pk + 2
    assert str(ours._prefetched_objects_cache["tags"].query) == str(
        theirs._prefetched_objects_cache["tags"].query
    )


async def test_the_same_row_twice_and_the_same_object_twice():
    await books()
    await prefetched("tags")
    first, second = [await Book.objects.aget(title="b0") for _ in range(2)]
    await prefetching.aprefetch_related_objects([first, second, first], "tags")
    assert [[tag.label for tag in book.tags.all()] for book in (first, second)] == [EXPECTED[0]] * 2
    assert first.tags.all()[0] is second.tags.all()[0]  # as Django has it
    assert first.tags.all()._hints["instance"] is first
    assert second.tags.all()._hints["instance"] is second


async def test_changing_the_relation_forgets_what_was_prefetched():
    await books()
    book = (await prefetched("tags"))[0]
    await book.tags.aadd(await Tag.objects.acreate(label="t9"))
    assert "tags" not in book._prefetched_objects_cache
    assert [tag.label async for tag in book.tags.order_by("label")] == ["t0", "t1", "t2", "t9"]
    await prefetching.aprefetch_related_objects([book], "tags")
    assert len(book.tags.all()) == 4
    await book.arefresh_from_db()
    assert not book._prefetched_objects_cache


@pytest.mark.parametrize("change", ["filtered", "another key"])
async def test_what_is_set_is_compared_with_the_same_as_by_django(change: str):
    """Since Django 6.1 with what there is now, whatever was prefetched."""
    await books()
    found = []
    for in_bridge in (True, False, False):  # the last time there are plans
        rows = Tag.objects.filter(label="t2") if change == "filtered" else Tag.objects.all()
        lookup = Prefetch("tags", rows.order_by("label"))
        first, second, _ = await Book.objects.order_by("title").prefetch_related(lookup).alist()
        if change == "another key":
            first.pk = second.pk
        tags = [await Tag.objects.aget(label="t0")]
        await (run_sync(first.tags.set, tags) if in_bridge else first.tags.aset(tags))
        found.append([(book.title, tag.label) for book in await loaded_books() for tag in book.tags.all()])
        for number, book in enumerate(await loaded_books()):
            await book.tags.aset(await Tag.objects.order_by("label")[number:].alist())
    assert found[0] == found[1] == found[2]


async def test_into_a_dictionary_there_is():
    await books()
    await prefetched("tags")
    book = await Book.objects.order_by("title").afirst()
    assert book is not None
    book._prefetched_objects_cache = cache = {}
    await prefetching.aprefetch_related_objects([book], "tags")
    assert book._prefetched_objects_cache is cache
    assert [tag.label for tag in cache["tags"]] == EXPECTED[0]
    assert cache["tags"]._hints["instance"] is book


async def test_what_is_prefetched_already_is_not_loaded_again(by_django: list[str]):
    await books()
    first, *others = await prefetched("tags")
    before = first.tags.all()[0]
    others = [await Book.objects.aget(pk=book.pk) for book in others]
    by_django.clear()
    await prefetching.aprefetch_related_objects([first, *others], "tags")
    assert by_django == ["tags"]
    assert first.tags.all()[0] is before
    assert [[tag.label for tag in book.tags.all()] for book in others] == EXPECTED[1:]


@pytest.mark.parametrize("change", ["forgotten", "method", "manager class"])
async def test_what_is_known_of_a_relation_holds_as_long_as_it_is_so(
    change: str, monkeypatch: pytest.MonkeyPatch
):
    await books()
    await prefetched("tags")
    known = vars(Book)["tags"]._turbo_prefetch
    asked = Asked("tags", vars(Book)["tags"], None, None)
    assert known.answer([await Book.objects.afirst()], asked) is not None
    if change == "forgotten":
        shapes.clear()
    elif change == "method":

        def get_queryset(self: Any) -> Any:
            rows = Manager.get_queryset(self)
            return rows.exclude(label="t2") if self.model is Tag else rows

        monkeypatch.setattr(AsyncManager, "get_queryset", get_queryset, raising=False)
    else:
        monkeypatch.setattr(known, "_descriptor", vars(Author)["groups"])
    assert known.answer([await Book.objects.afirst()], asked) is None
    if change == "method":
        assert await loaded() == [["t0", "t1"], ["t1"], []]


async def test_fetch_modes_are_the_instances(by_django: list[str]):
    await books()
    await prefetched("tags")
    found = await Book.objects.fetch_mode(FETCH_PEERS).order_by("title").prefetch_related("tags").alist()
    theirs = await run_sync(lambda: list(Book.objects.fetch_mode(FETCH_PEERS).order_by("title")))
    await run_sync(prefetch_related_objects, theirs, "tags")
    for our, their in zip(found, theirs, strict=True):
        ours, expected = our.tags.filter(label__gt=""), their.tags.filter(label__gt="")
        assert getattr(ours, "_fetch_mode", None) == getattr(expected, "_fetch_mode", None)
        assert ours._iterable_class is expected._iterable_class
        assert [type(tag._state.fetch_mode) for tag in await ours.alist()] == [
            type(tag._state.fetch_mode) for tag in await expected.alist()
        ]
