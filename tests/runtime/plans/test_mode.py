"""A queryset in plan mode is what Django's would be, whatever is done to it."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.query import EmptyQuerySet

from tests.project.library.models import Author, Book, Note, Person, Tag
from turbo_orm import AsyncQuerySet, close_pools, run_sync
from turbo_orm.plans.mode import COMPOSED_OF, PlannedQuerySet
from turbo_orm.plans.queries import OfQueryset, pending_query
from turbo_orm.plans.state import INTERNALS
from turbo_orm.plans.unmade import become

pytestmark = pytest.mark.usefixtures("snapshot", "at_once")

Use = Callable[[Any], Any]

CHAINS: list[Use] = [
    lambda rows: rows,
    lambda rows: rows.all(),
    lambda rows: rows.filter(title="x"),
    lambda rows: rows.filter(title="x").values("title", "pk"),
    lambda rows: rows.values_list("title", flat=True).exclude(price=1),
    lambda rows: rows.values_list("title", named=True)[:3],
    lambda rows: rows.prefetch_related("tags", Prefetch("author")).filter(pk=1),
    lambda rows: rows.using("other").select_related("author").only("title", "author__name"),
    lambda rows: rows._next_is_sticky().filter(tags__label="x"),
    lambda rows: rows._next_is_sticky(),
    lambda rows: rows.reverse().distinct().order_by(),
    lambda rows: rows.none(),
    lambda rows: rows.annotate(n=Count("tags")).filter(n=1),
    lambda rows: rows.values_list("title", flat=[1]),
    lambda rows: rows.values_list("title", flat=0),
    lambda rows: rows.values_list(flat=False),
    lambda rows: rows.filter(),
    lambda rows: rows.exclude(),
    lambda rows: rows.filter(Q()),
    lambda rows: rows.complex_filter({}),
    lambda rows: rows.complex_filter({"title": "x", "tags__label": "y"}).filter(tags__label="z"),
    lambda rows: rows.complex_filter(Q(title="x") | Q(price=1)),
]


def attributes(queryset: Any) -> dict[str, Any]:
    names = {*vars(QuerySet(Book)), *vars(queryset)} - {"_query", "_planned", "_trace", "_pending"}
    found = {name: getattr(queryset, name) for name in names}
    found["_prefetch_related_lookups"] = [
        getattr(each, "prefetch_to", each) for each in found["_prefetch_related_lookups"]
    ]
    return found


@pytest.mark.parametrize("use", CHAINS)
def test_attributes_are_djangos(use: Use) -> None:
    ours, expected = use(AsyncQuerySet(Book)), use(QuerySet(Book))
    assert attributes(ours) == attributes(expected)
    assert (ours.ordered, ours.db) == (expected.ordered, expected.db)
    assert isinstance(ours, EmptyQuerySet) == isinstance(expected, EmptyQuerySet)
    assert ours.query.select_related == expected.query.select_related
    assert attributes(ours) == attributes(expected)
    ours.query.where  # noqa: B018  looking at it is the test
    assert attributes(ours) == attributes(expected)
    assert vars(ours).keys() - {"_planned", "_trace"} <= vars(expected).keys()


@pytest.mark.parametrize("use", CHAINS)
def test_either_a_plan_or_a_query(use: Use) -> None:
    queryset = use(AsyncQuerySet(Book))
    assert (queryset._planned is None) == ("_query" in vars(queryset))
    query = queryset.query
    assert (queryset._planned is None) == ("_query" in vars(queryset))
    query.where  # noqa: B018  looking at it is the test
    assert queryset._planned is None
    assert vars(queryset)["_query"] is queryset.query is query
    expected = use(QuerySet(Book)).query
    assert query.is_empty() == expected.is_empty()
    assert query.is_empty() or str(query) == str(expected)


@pytest.mark.parametrize("use", CHAINS[:13])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda queryset: pickle.loads(pickle.dumps(queryset)), lambda qs: qs.all()],
)
def test_copies(shapes: Any, use: Use, copied: Use) -> None:
    queryset = use(Book.objects.using("default"))
    if queryset._sticky_filter or queryset.db != "default":
        queryset = queryset.using("default")
    expected = use(QuerySet(Book).using("default")).using("default")
    again = copied(queryset)
    assert type(again) is type(queryset)
    assert shapes.trie.count < 9  # and nobody copied them
    assert list(again) == list(expected)
    assert list(again.order_by("pk") if not again.query.is_sliced else again) == list(
        expected.order_by("pk") if not expected.query.is_sliced else expected
    )


def test_hints_are_not_shared() -> None:
    base = Book.objects.all()
    longer = base.filter(pk=1)
    longer._add_hints(instance=1)
    assert base._hints == {}
    assert longer.all()._hints is longer._hints


COMBINED: list[Use] = [
    lambda rows: rows(Book).filter(title="Chess") | rows(Book).filter(title="Dance"),
    lambda rows: rows(Book).filter(price__gt=1) & rows(Book).exclude(title="Dance"),
    lambda rows: rows(Book).filter(title="Chess").union(rows(Book).filter(title="Dance")).order_by("title"),
    lambda rows: (
        rows(Book).filter(price__gt=1).difference(rows(Book).filter(title="Dance")).order_by("title")
    ),
    lambda rows: rows(Book).filter(author__in=rows(Author).filter(age__gt=1)),
    lambda rows: rows(Book).filter(author__in=rows(Author).filter(age__gt=1)[:1]),
    lambda rows: rows(Book).filter(author=rows(Author).filter(name="Ada").values("pk")[:1]),
    lambda rows: rows(Book).filter(Exists(rows(Tag).filter(books=OuterRef("pk"), label="red"))),
    lambda rows: rows(Book).annotate(
        a=Subquery(rows(Author).filter(pk=OuterRef("author")).values("age")[:1])
    ),
    lambda rows: rows(Book).filter(price__gt=1).annotate(n=Count("tags")).filter(n__gt=0).order_by("n", "pk"),
    lambda rows: rows(Book).filter(price__gt=F("author__age")),
    lambda rows: rows(Book).filter(price__gt=1).aggregate(Count("pk")).items(),
    lambda rows: rows(Book).filter(price__gt=1).order_by("pk").iterator(chunk_size=1),
    lambda rows: rows(Book).filter(price__gt=1).order_by("pk").in_bulk().items(),
    lambda rows: [rows(Book).filter(price__gt=1).earliest("pk"), rows(Book).latest("published")],
    lambda rows: rows(Book).filter(price__gt=1).dates("published", "year"),
    lambda rows: [rows(Book).filter(price__gt=1)[1], rows(Book).order_by("pk")[0:4:2]],
    lambda rows: [len(rows(Book).filter(pk=1)), bool(rows(Book).filter(pk=99)), Book(pk=1) in rows(Book)],
    lambda rows: [repr(rows(Book).filter(pk=1)).partition(" ")[2]],
    lambda rows: rows(Book).filter(pk=1).extra(where=["price > %s"], params=[1]),
    lambda rows: rows(Book).filter(pk=1).select_for_update().none(),
    lambda rows: [rows(Book).filter(pk=1).contains(Book(pk=1)), rows(Book).filter(pk=1).explain() != ""],
    lambda rows: [str(rows(Note).filter(text="x").query), rows(Note).filter(text="x").query.is_empty()],
]


@pytest.mark.parametrize("use", COMBINED)
def test_what_leaves_plan_mode(use: Use) -> None:
    for _ in range(2):
        assert [*use(AsyncQuerySet)] == [*use(QuerySet)]


def test_values_which_change_after_django_has_stored_them() -> None:
    def changed(rows: Any) -> str:
        value: dict[str, Any] = {"a": [1]}
        queryset = rows(Book).filter(title=value).filter(pk__gt=0)
        value["a"].append(2)
        value["b"] = 3
        return str(queryset.query)

    for _ in range(2):
        assert changed(AsyncQuerySet) == changed(QuerySet)


@pytest.mark.parametrize("verb", ["acount", "aexists", "afirst", "alast"])
async def test_only_get_takes_filters(verb: str) -> None:
    with pytest.raises(TypeError):
        await getattr(Book.objects.all(), verb)(title="Chess")
    with pytest.raises(TypeError):
        await getattr(Book.objects.all(), verb)("Chess")


async def test_planning_leaves_djangos_connections_alone() -> None:
    """The running code would have to ask them, from then on, who watches its statements."""

    handler: Any = connections
    for number in range(3):
        await Tag.objects.acreate(label=f"made {number}")
        await Tag.objects.filter(label=f"made {number}").aupdate(label="changed")
        await Tag.objects.filter(label="changed").acount()
        assert (await Tag.objects.filter(label="changed").adelete())[0] == 1
        # asgiref's, of this context.
        assert getattr(handler._connections._original, "default", None) is None
    await close_pools()


def test_sync_use_and_async_use_of_one_queryset() -> None:
    async def both() -> Any:
        queryset = Book.objects.filter(price__gt=5).order_by("pk")
        found = await queryset.alist()
        again = await run_sync(list, queryset)
        fresh = await run_sync(list, queryset.all())
        await close_pools()
        return found, again, fresh

    found, again, fresh = asyncio.run(both())
    assert [*map(id, found)] == [*map(id, again)]
    assert fresh == found == list(QuerySet(Book).filter(price__gt=5).order_by("pk"))


class TestOverrides:
    """A subclass's own methods are called wherever Django would call them."""

    @pytest.mark.parametrize("name", INTERNALS)
    def test_internals(self, name: str) -> None:
        if name in ("db", "query"):
            own: Any = property(lambda self: getattr(AsyncQuerySet, name).__get__(self))
        else:

            def own(self: Any, *args: Any, **kwargs: Any) -> Any:
                return getattr(super(cls, self), name)(*args, **kwargs)

        cls: Any = type("Own", (AsyncQuerySet,), {name: own})
        assert not cls._plan_mode
        assert cls(Book)._planned is None
        assert not type("Child", (cls,), {})._plan_mode

    @pytest.mark.parametrize(
        ("terminal", "name"),
        [
            (terminal, name)
            for terminal in ("list", "get", "first", "last", "count", "exists", "update", "delete")
            for name in COMPOSED_OF[terminal]
        ],
    )
    def test_of_terminals(self, terminal: str, name: str, snapshot: Any) -> None:
        called: list[str] = []

        def own(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return getattr(super(cls, self), name)(*args, **kwargs)

        def own_property(self: Any) -> Any:
            called.append(name)
            return getattr(super(cls, self), name)

        body = {name: property(own_property) if name == "ordered" else own}
        cls: Any = type("Own", (AsyncQuerySet,), body)
        plain: Any = type("Plain", (QuerySet,), body)

        async def use() -> Any:
            queryset = cls(Book).filter(pk=1)
            called.clear()
            arguments = {"title": "Algebra"} if terminal == "update" else {}
            await getattr(queryset, f"a{terminal}")(**arguments)
            await close_pools()

        assert terminal not in cls._plannable_terminals
        asyncio.run(use())
        snapshot.restore()
        ours = called.copy()
        cls = plain
        queryset = plain(Book).filter(pk=1)
        called.clear()
        if terminal in ("list", "get", "first", "last", "count", "exists"):
            list(queryset) if terminal == "list" else getattr(queryset, terminal)()
            assert bool(ours) == bool(called)
        elif name == terminal:
            assert ours == [name]

    def test_of_nothing_that_matters(self) -> None:
        class Own(AsyncQuerySet):
            def cheap(self) -> Any:
                return self.filter(price__lt=10)

        assert Own(Book).cheap()._planned is not None
        assert Own._plannable_terminals == PlannedQuerySet._plannable_terminals


class TestWarnings:
    """Django's, each once."""

    @pytest.mark.parametrize("at_once", [True, False])
    @pytest.mark.parametrize(
        "use",
        [
            lambda rows: rows(Author).filter(created__gt=dt.datetime(2024, 5, 6)),
            lambda rows: rows(Author).filter(
                created__range=(dt.datetime(2024, 5, 6), dt.datetime(2024, 5, 7))
            ),
            lambda rows: rows(Author).exclude(Q(created=dt.datetime(2024, 5, 6))),
            lambda rows: rows(Book).values_list(flat=True),
        ],
    )
    def test_when_the_queryset_is_made(self, shapes: Any, at_once: bool, use: Use) -> None:
        def caught(rows: Any) -> list[str]:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                try:
                    use(rows)
                except TypeError as exc:
                    return [str(exc)]
            return [str(each.message) for each in found]

        shapes.build_at_once(at_once)
        assert [caught(AsyncQuerySet) for _ in range(4)] == [caught(QuerySet)] * 4

    def test_as_errors(self) -> None:
        for rows in (AsyncQuerySet, QuerySet):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(RuntimeWarning, match="naive datetime"):
                    rows(Author).filter(created__gt=dt.datetime(2024, 5, 6))


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows(Book).filter(pk="x"),
        lambda rows: rows(Book).complex_filter({"pk": "x"}),
        lambda rows: rows(Book).complex_filter(None),
        lambda rows: rows(Book)[:3].complex_filter({"pk": 1}),
        lambda rows: rows(Book).filter(nonsense=1),
        lambda rows: rows(Book).filter(author=Author()),
        lambda rows: rows(Book).filter(author=Book(pk=1)),
        lambda rows: rows(Book).filter(title__lt=None),
        lambda rows: rows(Book).values("pk").only("pk"),
        lambda rows: rows(Book)[:3].filter(pk=1),
        lambda rows: rows(Book)[:3].order_by("pk"),
        lambda rows: rows(Book)[-1:],
        lambda rows: rows(Book).order_by("nonsense"),
        lambda rows: rows(Book).filter(([], 1)),
        lambda rows: rows(Book).filter(("pk", 1, 2)),
        lambda rows: rows(Book).filter(1),
        lambda rows: rows(Book).filter(pk__in=1),
        lambda rows: rows(Person).filter(pk="no uuid"),
    ],
)
def test_same_errors(use: Use) -> None:
    def error(rows: Any) -> tuple[type, str]:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which, is Django's matter
            use(rows)
        return caught.type, str(caught.value)

    for _ in range(3):
        assert error(AsyncQuerySet) == error(QuerySet)


def test_no_slot_leaves_a_template() -> None:
    queryset = Book.objects.filter(Q(title="x") | Q(author__name="y")).exclude(tags__label="z")
    assert queryset._planned is not None
    assert "slot" not in str(queryset.query)


def test_the_state_of_an_ordinary_queryset_will_do() -> None:
    """As of a pickle from before the model had an `AsyncManager`."""
    expected = QuerySet(Book).filter(title="x").order_by("price")
    restored: Any = AsyncQuerySet.__new__(AsyncQuerySet)
    restored.__dict__.update(vars(expected))
    assert restored._planned is None
    assert str(restored.all().query) == str(expected.query)
    assert str(restored.filter(pk=1).query) == str(expected.filter(pk=1).query)


#: What can be asked of a query without values, of a queryset that stays in plan mode.
FLAGS = (
    "combinator",
    "distinct_fields",
    "is_empty",
    "is_sliced",
    "select_for_update",
    "select_related",
)


@pytest.mark.parametrize("limits", [None, slice(3), slice(2, None)])
@pytest.mark.parametrize("name", FLAGS)
def test_who_asks_for_flags_leaves_plan_mode_on(shapes: Any, name: str, limits: slice | None) -> None:
    def chain(rows: Any) -> Any:
        found = rows.filter(price__gt=1)
        return found if limits is None else found[limits]

    def flag(queryset: Any) -> Any:
        found = getattr(queryset.query, name)
        return found() if name == "is_empty" else found

    ours, expected = chain(AsyncQuerySet(Book)), chain(QuerySet(Book))
    assert flag(ours) == flag(expected)
    assert ours._planned is not None
    ours.query.select_related = False
    assert ours._planned is not None
    # Nested dictionaries: what they are of belongs to the query.
    related = AsyncQuerySet(Book).select_related("author")
    assert related.query.select_related == QuerySet(Book).select_related("author").query.select_related
    assert related._planned is None


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a call": lambda query: query.add_ordering("-price"),
    "a flag": lambda query: setattr(query, "select_related", False),
    "limits": lambda query: query.set_limits(1, 3),
    "a condition": lambda query: query.where.children.pop(),
    "distinct": lambda query: setattr(query, "distinct", True),
    "no order": lambda query: query.clear_ordering(force=True),
    "no order if it can": lambda query: query.clear_ordering(),
    "no order but the model's": lambda query: query.clear_ordering(True, clear_default=False),
}


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_the_query_are_the_queryset_s(shapes: Any, name: str, kept: bool, sliced: bool) -> None:
    def changed(queryset: Any) -> Any:
        if kept:
            query = queryset.query
            assert query.distinct is False
            before = queryset.all() if sliced else queryset.filter(author__age__gt=3)
            CHANGES[name](query)
            return str(before.query), str(queryset.query), str(queryset.all().query), query is queryset.query
        CHANGES[name](queryset.query)
        further = queryset if sliced or name == "limits" else queryset.filter(pk=1)
        return str(queryset.query), str(further.query)

    def chain(rows: Any) -> Any:
        found = rows.filter(price__gt=1).select_related("author")
        return found[1:5] if sliced else found

    assert changed(chain(AsyncQuerySet(Book))) == changed(chain(QuerySet(Book)))


def test_a_query_outlives_its_queryset(shapes: Any) -> None:
    query = AsyncQuerySet(Book).filter(price__gt=1).query
    gc.collect()
    assert str(query) == str(QuerySet(Book).filter(price__gt=1).query)


def test_a_query_is_the_one_its_queryset_has_when_it_is_looked_at(shapes: Any) -> None:
    ours, expected = AsyncQuerySet(Book).filter(price__gt=1), QuerySet(Book).filter(price__gt=1)
    first = ours.query
    assert pickle.loads(pickle.dumps(ours)).query.where == expected.query.where
    assert str(first) == str(expected.query)
    assert first is ours.query
    ours, first = AsyncQuerySet(Book).filter(price__gt=1), None
    first = ours.query
    ours.query = QuerySet(Book).filter(price__lt=5).query
    assert str(first) == str(expected.query)
    assert str(ours.query) != str(first)


def test_a_queryset_of_which_somebody_has_the_query_is_freed_at_once(shapes: Any) -> None:
    ours = AsyncQuerySet(Book).filter(price__gt=1)
    query = ours.query
    gone = weakref.ref(ours)
    gc.disable()
    try:
        del ours
        assert gone() is None
    finally:
        gc.enable()
    assert query.select_related is False


@pytest.mark.parametrize(("name", "kwargs"), [("is_empty", {}), ("clear_ordering", {"force": True})])
def test_who_asks_while_another_thread_looks_sees_the_query(
    shapes: Any, name: str, kwargs: dict[str, Any]
) -> None:
    ours, expected = AsyncQuerySet(Book).filter(price__gt=1), QuerySet(Book).filter(price__gt=1)
    query, reference = ours.query, ours._pending
    ask = getattr(OfQueryset, name)  # found before the other thread looked
    become(query)
    assert pending_query(reference, ours) is None
    assert ask(query, **kwargs) == getattr(expected.query, name)(**kwargs)
    assert str(ours.query) == str(expected.query)
