"""Querysets whose class has a `_clone()` or `__init__()` of its own: in plan mode as long as they can be."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model, Prefetch, Q, QuerySet
from django.db.models.query import ModelIterable

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("at_once", "verifying")


class _Keeping:
    """As many packages keep something in their querysets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept: Any = ()

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone.kept = (*self.kept, "cloned")
        return clone


class Keeping(_Keeping, AsyncQuerySet):
    """Ours."""


class Plain(_Keeping, AsyncQuerySet):
    """Django's own path, always."""

    _plan_mode = False


Use = Callable[[Any], Any]

CHAINS: dict[str, Use] = {
    "filter": lambda rows: rows.filter(price__gt=5),
    "filters": lambda rows: rows.filter(price__gt=5).filter(pk__lt=100).filter(author__age__gt=1),
    "exclude": lambda rows: rows.exclude(Q(title="Chess") | Q(pk=99)),
    "all": lambda rows: rows.all().all(),
    "order_by": lambda rows: rows.order_by("-title").reverse().reverse(),
    "slice": lambda rows: rows.order_by("title")[1:3],
    "values": lambda rows: rows.filter(pk__lt=100).values("title", "author__name"),
    "values_list": lambda rows: rows.values_list("title", flat=True).filter(price__gt=5),
    "annotate": lambda rows: rows.annotate(cheap=Q(price__lt=10)).filter(cheap=True),
    "only": lambda rows: rows.only("title"),
    "related": lambda rows: rows.select_related("author").defer("author__name"),
    "combined": lambda rows: rows.filter(title="Chess") | rows.filter(price__gt=5),
    "prefetch": lambda rows: rows.prefetch_related("tags").using("default"),
    "joins": lambda rows: rows.filter(tags__label="red").filter(tags__label="blue"),
}


@pytest.mark.parametrize("use", CHAINS)
def test_what_is_kept_and_the_query_are_as_with_djangos_querysets(use: str) -> None:
    for _ in range(2):
        ours, expected = CHAINS[use](Keeping(Book)), CHAINS[use](Plain(Book))
        assert ours._planned is not None
        # Each clone of Django's is one of ours. Those of its own that nobody sees may be fewer.
        assert ours.kept
        assert len(ours.kept) <= len(expected.kept)
        assert str(ours.query) == str(expected.query)
        assert str(ours.filter(pk=1).query if not ours.query.is_sliced else ours.query) == str(
            expected.filter(pk=1).query if not expected.query.is_sliced else expected.query
        )
        assert ours.kept == pickle.loads(pickle.dumps(ours)).kept


@pytest.mark.parametrize("use", CHAINS)
async def test_rows_have_plans(use: str) -> None:
    def rows(cls: Any) -> Any:
        found = CHAINS[use](cls(Book))
        return found if found.query.is_sliced or use == "order_by" else found.order_by("pk")

    expected = await run_sync(lambda: _told(list(rows(Plain))))
    await Book.objects.acount()  # then the server's version is known
    before = Verified.same
    queryset = CHAINS[use](Keeping(Book))
    if use not in ("slice", "order_by"):
        queryset = queryset.order_by("pk")
    assert await run_sync(_told, await queryset.alist()) == expected
    assert Verified.same > before


TERMINALS: dict[str, Callable[[Any], Any]] = {
    "get": lambda rows: rows.aget(pk=1),
    "get of a Q": lambda rows: rows.aget(Q(pk=1)),
    "get of one": lambda rows: rows.filter(pk=1).aget(),
    "first": lambda rows: rows.order_by("pk").afirst(),
    "last": lambda rows: rows.filter(price__gt=5).alast(),
    "latest": lambda rows: rows.alatest("pk"),
    "count": lambda rows: rows.filter(price__gt=5).acount(),
    "exists": lambda rows: rows.filter(price__gt=5).aexists(),
    "contains": lambda rows: rows.acontains(Book(pk=1)),
    "in bulk": lambda rows: rows.ain_bulk([1, 2]),
    "update": lambda rows: rows.filter(pk=1).aupdate(title="Chess"),
    "get or create": lambda rows: rows.aget_or_create(pk=1),
}


@pytest.mark.parametrize("in_bridge", [False, True])
@pytest.mark.parametrize("name", TERMINALS)
async def test_terminals_have_plans(name: str, in_bridge: bool) -> None:
    async def outcome(rows: Any) -> Any:
        if not in_bridge:
            return seen(await TERMINALS[name](rows))
        return seen(await run_sync(lambda: IN_BRIDGE[name](rows)))

    if in_bridge and name not in IN_BRIDGE:
        return
    expected = await outcome(AsyncQuerySet(Book))
    await Book.objects.acount()  # then the server's version is known
    before = Verified.same
    assert await outcome(Keeping(Book)) == expected
    assert Verified.same > before


IN_BRIDGE: dict[str, Use] = {
    "get": lambda rows: rows.get(pk=1),
    "get of a Q": lambda rows: rows.get(Q(pk=1)),
    "get of one": lambda rows: rows.filter(pk=1).get(),
    "first": lambda rows: rows.order_by("pk").first(),
    "count": lambda rows: rows.filter(price__gt=5).count(),
    "exists": lambda rows: rows.filter(price__gt=5).exists(),
    "contains": lambda rows: rows.contains(Book(pk=1)),
    "in bulk": lambda rows: rows.in_bulk([1, 2]),
    "update": lambda rows: rows.filter(pk=1).update(title="Chess"),
}


async def test_delete() -> None:
    for use in (lambda rows: rows.adelete(), lambda rows: run_sync(rows.delete)):
        tag = await Tag.objects.acreate(label="to delete")
        rows: Any = Keeping(Tag).filter(label="to delete", books=None)
        assert await use(rows) == (1, {"library.Tag": 1})
        assert not await Tag.objects.filter(pk=tag.pk).aexists()


# Classes which do more than to keep something.


def _before(self: Any, proceed: Any) -> Any:
    self.query.add_q(Q(pk__lt=100))
    return proceed()


def _after(self: Any, proceed: Any) -> Any:
    clone = proceed()
    clone.query.add_q(Q(pk__lt=100))
    return clone


def _another_class(self: Any, proceed: Any) -> Any:
    clone = proceed()
    clone.__class__ = type("Another", (type(clone),), {})
    return clone


def _titles(self: Any, proceed: Any) -> Any:
    clone = proceed()
    clone._iterable_class, clone._fields = Titles, None
    return clone


def _with_tags(self: Any, proceed: Any) -> Any:
    clone = proceed()
    clone._prefetch_related_lookups = ("tags",)
    return clone


def _counted(self: Any, proceed: Any) -> Any:
    self.query.is_empty()  # it only looks
    return proceed()


class Titles(ModelIterable):  # type: ignore[type-arg]
    """Rows that are titles."""

    def __iter__(self) -> Any:
        return (book.title for book in super().__iter__())


CLONES: dict[str, Callable[[Any, Any], Any]] = {
    "changed before": _before,
    "changed after": _after,
    "another class": _another_class,
    "another iterable": _titles,
    "prefetches": _with_tags,
    "looks": _counted,
}

USES: dict[str, Callable[[Any], Any]] = {
    **{name: use for name, use in CHAINS.items() if name != "combined"},
    "get": lambda rows: rows.filter(pk__gt=0).get(pk=1),
    "first": lambda rows: rows.first(),
    "last": lambda rows: rows.filter(price__gt=0).last(),
    "in bulk": lambda rows: rows.in_bulk([1, 2]),
    "exists": lambda rows: rows.filter(pk=1).exists(),
    "count": lambda rows: rows.exclude(pk=1).count(),
    "earliest": lambda rows: rows.earliest("pk"),
    "contains": lambda rows: rows.contains(Book(pk=1)),
}

ASYNC: dict[str, Callable[[Any], Any]] = {
    "get": lambda rows: rows.filter(pk__gt=0).aget(pk=1),
    "first": lambda rows: rows.afirst(),
    "last": lambda rows: rows.filter(price__gt=0).alast(),
    "in bulk": lambda rows: rows.ain_bulk([1, 2]),
    "exists": lambda rows: rows.filter(pk=1).aexists(),
    "count": lambda rows: rows.exclude(pk=1).acount(),
    "earliest": lambda rows: rows.aearliest("pk"),
    "contains": lambda rows: rows.acontains(Book(pk=1)),
}


def _classes(clone: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def made(base: Any) -> Any:
        def _clone(self: Any) -> Any:
            return clone(self, lambda: base._clone(self))

        return type("Own", (base,), {"_clone": _clone})

    ours, djangos = made(AsyncQuerySet), made(AsyncQuerySet)
    djangos._plan_mode = False
    return ours, djangos


def _outcome(use: Callable[[Any], Any], rows: Any) -> Any:
    try:
        found = use(rows)
        if isinstance(found, QuerySet):
            return str(found.query), _told(list(found))
        return _told(found)
    except Exception as error:
        return type(error), str(error)


def _told(found: Any) -> Any:
    """Return what `seen()` does, but that what was prefetched may be kept in another way."""
    if isinstance(found, list | tuple):
        return [*map(_told, found)]
    if isinstance(found, dict):
        return [(key, _told(value)) for key, value in found.items()]
    if not isinstance(found, Model):
        return seen(found)
    attributes = dict(vars(found))
    prefetched = attributes.pop("_prefetched_objects_cache", {})
    related = {name: [*getattr(found, name).all()] for name in prefetched}
    state = attributes.pop("_state")
    return type(found), seen(attributes), related, _told(list(state.fields_cache.values()))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", CLONES)
async def test_what_clones_do_to_themselves_is_done(name: str, use: str) -> None:
    ours, djangos = _classes(CLONES[name])
    for _ in range(2):
        expected = await run_sync(_outcome, USES[use], djangos(Book))
        assert await run_sync(_outcome, USES[use], ours(Book)) == expected
        if use in ASYNC:
            try:
                found = await run_sync(_told, await ASYNC[use](ours(Book)))
            except Exception as error:
                found = type(error), str(error)
            assert found == expected


class Looking:
    """A constructor that looks at the query."""

    def __init__(self, model: Any = None, query: Any = None, using: Any = None, hints: Any = None) -> None:
        super().__init__(model, query, using, hints)  # type: ignore[call-arg]
        self.looked = None if query is None else (str(query), query.is_sliced, query.where.children != [])


class Filtering:
    """A constructor that has the rows of now in mind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._query.add_q(Q(pk__lt=100))  # type: ignore[attr-defined]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("mixin", [Looking, Filtering])
async def test_constructors_see_the_query(mixin: type, use: str) -> None:
    ours: Any = type("Ours", (mixin, AsyncQuerySet), {})
    djangos: Any = type("Djangos", (mixin, AsyncQuerySet), {})
    djangos._plan_mode = False
    for _ in range(2):
        expected = await run_sync(_outcome, USES[use], djangos(Book))
        assert await run_sync(_outcome, USES[use], ours(Book)) == expected
    if mixin is Looking:
        chain, expected = (rows(Book).filter(pk=1).order_by("title") for rows in (ours, djangos))
        assert chain.looked == expected.looked
        assert chain.all()[:1].all().looked == expected.all()[:1].all().looked


async def test_the_filter_of_a_related_manager_is_put_off() -> None:
    """Until somebody looks, the instance may get another key."""
    for cls in (Keeping, *_classes(_before)[:1]):
        author = Author(pk=1)
        books: Any = author.books  # type: ignore[attr-defined]
        ours = books._apply_rel_filters(cls(Book))
        expected = books._apply_rel_filters((Plain if cls is Keeping else _classes(_before)[1])(Book))
        author.pk = 2
        assert str(ours.all().query) == str(expected.all().query)
        assert str(ours.filter(pk=1).query) == str(expected.filter(pk=1).query)
        assert getattr(ours, "kept", None) == getattr(expected, "kept", None)


async def test_prefetched() -> None:
    def seen_of(authors: Any) -> Any:
        return [[_told(getattr(author, "found", [*author.books.all()])) for author in authors]]

    for cls, other in ((Keeping, Plain), _classes(_before)):
        for to_attr in (None, "found"):
            lookup = Prefetch("books", cls(Book).filter(pk__gt=0).order_by("pk"), to_attr)
            plain = Prefetch("books", other(Book).filter(pk__gt=0).order_by("pk"), to_attr)
            ours = await Author.objects.order_by("pk").prefetch_related(lookup).alist()
            expected = await Author.objects.order_by("pk").prefetch_related(plain).alist()
            assert await run_sync(seen_of, ours) == await run_sync(seen_of, expected)


def test_beside_others_that_have_replaced_djangos_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    clone: Any = QuerySet._clone  # type: ignore[attr-defined]
    monkeypatch.setattr(QuerySet, "_clone", lambda self: clone(self))
    assert Keeping(Book)._planned is None
    assert Keeping(Book).filter(pk=1).kept == Plain(Book).filter(pk=1).kept


def test_of_what_is_below_there_is_no_plan_mode() -> None:
    class Chaining(Keeping):
        def _chain(self) -> Any:
            return super()._chain()

    assert Chaining(Book)._planned is None
    assert Keeping(Book)._planned is not None
    assert type("Child", (Keeping,), {})(Book).filter(pk=1)._planned is not None
