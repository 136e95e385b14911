"""What is kept of querysets: how much, for how long, and nothing of a user's."""

from __future__ import annotations

import datetime as dt
import gc
import sys
import uuid
import weakref
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.apps.registry import Apps
from django.conf import settings
from django.db import models
from django.db.migrations.state import AppConfigStub
from django.db.models import F, QuerySet
from django.test import override_settings
from django.test.utils import register_lookup

from tests.project.library.models import Author, Book, Person, Tag
from turbo_orm import AsyncManager, AsyncQuerySet
from turbo_orm.plans.shapes import Node

pytestmark = pytest.mark.usefixtures("shapes")


def nodes_below(node: Node) -> Iterator[Node]:
    for child in node.children.values():
        yield child
        yield from nodes_below(child)


def count_of(shapes: Any) -> int:
    return sum(1 for root in shapes.trie.roots for _ in nodes_below(root))


def sql_of(queryset: Any, terminal: str = "list") -> tuple[str, list[str]]:
    bound = queryset._bound(terminal)
    assert bound is not None, "it has no plan"
    sql, params = bound.as_sql()
    return sql, [*map(repr, params)]


def djangos(queryset: Any) -> tuple[str, list[str]]:
    sql, params = queryset.query.get_compiler("default").as_sql()
    return sql, [*map(repr, params)]


def _leads_to_forgotten(found: Any) -> bool:
    return any(node.forgotten for node in (found[2].values() if type(found) is tuple else (found,)))


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """The nodes whose templates were made."""
    built: list[Node] = []
    build = Node._build

    def note(self: Node, values: Any) -> Any:
        built.append(self)
        return build(self, values)

    monkeypatch.setattr(Node, "_build", note)
    return built


class TestFirstUse:
    def test_makes_no_template_and_no_plan(self, builds: list[Node]) -> None:
        queryset = Book.objects.filter(price__gte=1).exclude(title="x").order_by("title")[:3]
        assert queryset._bound("list") is None
        assert builds == []
        assert djangos(queryset)[0].endswith("LIMIT 3")

    def test_second_use_has_a_plan(self, builds: list[Node]) -> None:
        for number in range(2):
            queryset = Book.objects.filter(price__gte=number).order_by("title")[: number + 1]
        sql, params = sql_of(queryset)
        assert len(builds) == 3
        assert (sql, params) == djangos(queryset)

    def test_a_get_with_arguments(self, builds: list[Node]) -> None:
        assert Book.objects.all()._filtered((), {"pk": 1}) is None
        assert builds == []


@pytest.mark.usefixtures("at_once")
class TestBound:
    def test_of_the_setting(self, shapes: Any) -> None:
        with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": 20}):
            for key in range(10):
                for name in ("title", "-title", "price", "-price", "author", "editor__age", "pk", "-pk"):
                    queryset = Book.objects.filter(**{f"meta__k{key}": 1}).order_by(name)
                    assert sql_of(queryset) == djangos(queryset)
                    assert count_of(shapes) <= 20
        for key in range(50):
            Book.objects.filter(**{f"meta__k{key}": 1})
        assert count_of(shapes) == 50

    def test_what_is_used_stays(self, shapes: Any) -> None:
        with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": 20}):
            favourite = Book.objects.filter(title="a").exclude(price=1)._planned[0]
            for number in range(200):
                Book.objects.filter(**{f"meta__k{number}": 1})
                assert Book.objects.filter(title="a").exclude(price=1)._planned[0] is favourite

    def test_of_many_that_are_equally_old_as_many_go_as_must(self, shapes: Any) -> None:
        with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": 20}):
            for number in range(20):
                Book.objects.filter(**{f"meta__k{number}": 1})
            for number in range(20):
                Book.objects.filter(**{f"meta__k{number}": 1})  # all since the newest was made
            assert count_of(shapes) == shapes.trie.count == 20
            Book.objects.filter(meta__another=1)
            assert count_of(shapes) == shapes.trie.count == 11

    def test_of_equals_the_longer_ones_go_first(self, shapes: Any) -> None:
        with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": 10}):
            firsts = [Book.objects.filter(**{f"meta__k{number}": 1}) for number in range(5)]
            for first in firsts:
                first.order_by("pk")
            for first in firsts:
                first.order_by("pk")
            Book.objects.filter(meta__another=1)
            assert [first._planned[0].forgotten for first in firsts] == [False] * 5
            assert count_of(shapes) == 6

    def test_what_is_forgotten_is_not_found_by_its_filters(self, shapes: Any) -> None:
        def gone() -> bool:
            return favourite._planned[0].forgotten  # type: ignore[no-any-return]

        with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": 10}):
            favourite = Book.objects.filter(title="a", published=None)
            assert Book.objects.filter(title="b", published=None)._planned[0] is favourite._planned[0]
            number = 0
            while not gone():
                Book.objects.filter(**{f"meta__k{number}": 1})
                number += 1
            root = favourite._planned[0].parent
            assert root is not None
            assert not any(map(_leads_to_forgotten, root.filters.values()))
            again = Book.objects.filter(title="c", published=None)
            assert again._planned[0] is not favourite._planned[0]
            assert sql_of(again) == djangos(again)

    def test_shapes_of_a_queryset_that_is_held(self, shapes: Any) -> None:
        held = Book.objects.filter(title="a")
        longer = held.exclude(price=1)
        with override_settings(TURBO_ORM={**settings.TURBO_ORM}):  # it moves the epoch
            pass
        assert held._planned[0].epoch != shapes.trie.epoch
        held = Book.objects.filter(title="a")
        longer = held.exclude(price=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("turbo_orm.plans.shapes.get_config", lambda: type("Small", (), {"max_shapes": 8}))
            for number in range(50):
                Author.objects.filter(**{f"books__meta__k{number}": 1})
            assert held._planned[0].forgotten
            for number in range(50):
                queryset = held.filter(**{f"meta__k{number}": 1})
                assert sql_of(queryset) == djangos(queryset)
            assert not held._planned[0].forgotten
            assert count_of(shapes) == shapes.trie.count <= 8
        assert sql_of(longer) == djangos(longer)

    def test_not_touched_by_values(self, shapes: Any) -> None:
        def use(number: int) -> None:
            querysets = [
                Book.objects.filter(pk=number, title=str(number), price__lt=Decimal(number)),
                Book.objects.exclude(pk__in=[*range(number % 7 + 1)])[: number + 1],
                Book.objects.filter(meta={"a": number}),
                Author.objects.filter(books=Book(pk=number)),
                Author.objects.filter(created__gt=dt.datetime.now(dt.timezone.utc)),
                Person.everyone.filter(pk=uuid.uuid4()).values("name"),
            ]
            for queryset in querysets:
                sql_of(queryset, "list")
                sql_of(queryset, "count") if not queryset._planned[3] else None

        use(1)
        before = count_of(shapes)
        for number in range(2, 300):
            use(number)
        assert count_of(shapes) == before
        for root in shapes.trie.roots:
            for node in nodes_below(root):
                assert len(node.plans) <= 2
                assert all(len(plan._statements) <= 100 for plan in node.plans.values())

    def test_of_the_constants_of_update(self, shapes: Any) -> None:
        for number in range(200):
            Book.objects.filter(pk=1)._bound_update({"price": F("price") + number})
        (root,) = shapes.trie.roots
        assert all(len(node.plans) <= 60 for node in nodes_below(root))


KEPT: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (lambda: Author(pk=12345), lambda value: Book.objects.filter(author=value)),
    (lambda: Author(pk=12345), lambda value: Book.objects.exclude(author__in=[value])),
    (lambda: Author(pk=12345), lambda value: Book.objects.exclude(contributors=value)),
    (lambda: Author(pk=None), lambda value: Book.objects.filter(author=value)),
    (lambda: Book(pk=12345), lambda value: Author.objects.exclude(books__in=[value], contributed=value)),
    (lambda: [*range(1000, 2000)], lambda value: Book.objects.filter(pk__in=value)),
    (lambda: [*range(1000, 2000)], lambda value: Book.objects.exclude(tags__in=value).filter(marks=value)),
    (lambda: [*range(1000, 2000)], lambda value: Book.objects.filter(marks__overlap=value)),
    (lambda: {"a": [1]}, lambda value: Book.objects.filter(meta=value).exclude(meta__contains=value)),
    (
        lambda: "x" * 1000,
        lambda value: Book.objects.filter(title__icontains=value).exclude(notes__text=value),
    ),
    (lambda: b"x" * 1000, lambda value: Book.objects.filter(title=value)),
    (lambda: "x" * 1000, lambda value: Book.objects.filter(pk=value)),
    (lambda: Decimal("12345.5"), lambda value: Book.objects.filter(price__range=(value, value))),
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("make", "use"), KEPT)
def test_no_value_is_kept(
    shapes: Any, at_once: bool, make: Callable[[], Any], use: Callable[[Any], Any]
) -> None:
    shapes.build_at_once(at_once)
    value = make()
    gc.collect()
    before = sys.getrefcount(value)
    for _ in range(4):
        try:
            queryset = use(value)
            for terminal in ("list", "get", "first", "last", "count", "exists"):
                queryset._bound(terminal)
            assert terminal == "exists"
            queryset.query.where  # noqa: B018  looking at it is the test
        except (ValueError, TypeError, Warning) as exc:  # Django 4.2 only warns of unsaved instances
            exc.__traceback__ = None
        queryset = None
    gc.collect()
    assert sys.getrefcount(value) == before


@pytest.mark.usefixtures("at_once")
def test_a_queryset_keeps_keys_instead_of_instances() -> None:
    author = Author(pk=12345)
    queryset = Book.objects.filter(author=author).exclude(editor__in=[author])
    gone = weakref.ref(author)
    expected = djangos(QuerySet(Book).filter(author=author).exclude(editor__in=[author]))
    del author
    gc.collect()
    assert gone() is None
    assert sql_of(queryset) == djangos(queryset) == expected


@pytest.mark.usefixtures("at_once")
def test_filters_of_each_kind_are_found_by_their_types(shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    day = dt.date(2024, 5, 6)
    uses: list[dict[str, Any]] = [
        {"title": "a"},
        {"title": "a", "published": None},
        {"title": "a", "published": day},
        {"published": None, "title": "a"},
        {"published__isnull": True},
        {"published__isnull": False},
        {"published": None, "editor__isnull": True},
        {"published": None, "editor__isnull": False},
        {"published": day, "editor__isnull": False},
        {"editor__isnull": True, "published__isnull": False, "title": "a", "price": 1},
        {"editor__isnull": False, "published__isnull": False, "title": "a", "price": 2},
        {"meta": 1},
        {"pk": 1},
        {"pk": "1"},
    ]
    expected = [djangos(Book.objects.filter(**use)) for use in uses]
    for _ in range(2):
        assert [sql_of(Book.objects.filter(**use)) for use in uses] == expected

    def ask(*args: Any) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(Node, "find_filtered", ask)
    assert [sql_of(Book.objects.filter(**use)) for use in uses] == expected


@pytest.mark.usefixtures("at_once")
def test_models_go_with_their_shapes(shapes: Any) -> None:
    ghosts = Apps([AppConfigStub("ghosts")])

    def use() -> Any:
        class Ghost(models.Model):
            name = models.CharField(max_length=9)
            friend = models.ForeignKey("self", models.CASCADE)
            objects = AsyncManager()

            class Meta:
                apps = ghosts
                app_label = "ghosts"

        queryset = Ghost.objects.filter(name="x", friend__in=[Ghost(pk=1)])
        queryset = queryset.filter(id=1)
        assert "ghosts_ghost" in sql_of(queryset.order_by("name"))[0]
        return weakref.ref(Ghost)

    gone = use()
    ghosts.clear_cache()
    ghosts.all_models.clear()
    ghosts.app_configs.clear()
    gc.collect()
    assert gone() is None


class Odd(models.Lookup):
    lookup_name = "odd"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} % 2 = 1", params


class Backwards(models.lookups.Exact):
    lookup_name = "exact"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, params = self.process_lhs(compiler, connection)
        other, more = self.process_rhs(compiler, connection)
        return f"{other} = {sql}", [*more, *params]


@pytest.mark.usefixtures("at_once")
class TestEpochs:
    """What Django would make of a shape can change."""

    def test_a_lookup_that_is_registered_and_unregistered(self) -> None:
        def check() -> None:
            ours, expected = Tag.objects.filter(label="x"), QuerySet(Tag).filter(label="x")
            if ours._bound("list") is not None:
                assert sql_of(ours) == djangos(expected)
            assert djangos(ours) == djangos(expected)

        check()
        with register_lookup(models.SlugField, Backwards):
            check()
            assert "%s = " in djangos(Tag.objects.filter(label="x"))[0]
        check()
        assert "%s = " not in djangos(Tag.objects.filter(label="x"))[0]
        with register_lookup(Tag._meta.get_field("label"), Backwards):
            check()
        check()
        with register_lookup(models.Field, Odd), register_lookup(models.IntegerField, Odd):
            assert "% 2 = 1" in djangos(Author.objects.filter(age__odd=1))[0]

    def test_a_queryset_from_before(self, shapes: Any) -> None:
        before = Tag.objects.filter(label="x")
        with register_lookup(models.SlugField, Backwards):
            # As in Django: its own lookup is what it was, those to come are new.
            expected = QuerySet(Tag).filter(label="x")
            longer = before.filter(label="y")
            assert longer._planned is not None  # programs keep querysets
            assert djangos(longer)[0].count("%s = ") >= djangos(expected)[0].count("%s = ")

    @pytest.mark.parametrize("name", ["USE_TZ", "TIME_ZONE", "DATABASE_ROUTERS", "TURBO_ORM"])
    def test_settings(self, shapes: Any, name: str) -> None:
        before = shapes.trie.epoch
        Tag.objects.filter(label="x")
        new: dict[str, Any] = {"USE_TZ": False, "TIME_ZONE": "Asia/Kathmandu", "DATABASE_ROUTERS": []}
        with override_settings(**{name: new.get(name, settings.TURBO_ORM)}):
            assert shapes.trie.epoch > before
            queryset = Author.objects.filter(created__date="2024-05-06")
            assert sql_of(queryset) == djangos(QuerySet(Author).filter(created__date="2024-05-06"))
        queryset = Author.objects.filter(created__date="2024-05-06")
        assert sql_of(queryset) == djangos(QuerySet(Author).filter(created__date="2024-05-06"))

    @pytest.mark.parametrize(
        ("model", "use"),
        [
            (Book, lambda rows: rows.filter(price__gt=1)),
            (Author, lambda rows: rows.order_by("author")),
            (Author, lambda rows: rows.order_by("title", "-editor")),
            (Author, lambda rows: rows.order_by("author_id", "editor__pk", "-author__name")),
            (Book, lambda rows: rows.order_by("title")),
            (Book, lambda rows: rows.order_by("-pk")),
        ],
    )
    @pytest.mark.parametrize("ordering", [[], ["-pk"], ["pk"]])
    def test_swapped_ordering(
        self,
        monkeypatch: pytest.MonkeyPatch,
        model: Any,
        use: Callable[[Any], Any],
        ordering: list[str],
    ) -> None:
        def check() -> None:
            ours, expected = use(Book.objects.all()), use(QuerySet(Book))
            assert ours.ordered == expected.ordered
            assert sql_of(ours) == djangos(expected)
            assert sql_of(ours, "first")[0].count("ORDER BY") == 1

        check()
        monkeypatch.setattr(model._meta, "ordering", ordering)
        check()
        monkeypatch.undo()
        check()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("terminal", "order_by", "asked"),
    [
        ("list", (), True),
        ("list", ("author",), True),
        ("list", ("title", F("price").desc()), True),
        ("list", ("title", "-pk"), False),
        ("first", ("title",), True),
        ("get", (), False),
        ("count", (), False),
        ("exists", (), False),
    ],
)
def test_who_is_asked_for_their_ordering(terminal: str, order_by: tuple[Any, ...], asked: bool) -> None:
    rows = Book.objects.filter(author__name="x")
    plan = (rows.order_by(*order_by) if order_by else rows)._bound(terminal).plan
    assert [ordering for _, ordering in plan.orderings] == (
        [Book._meta.ordering, Author._meta.ordering] if asked else []
    )


@pytest.mark.usefixtures("at_once")
def test_one_odd_value_does_not_spoil_a_shape() -> None:
    def plan(year: int) -> Any:
        return Book.objects.filter(published__year=year)._bound("list")

    assert plan(10**6) is None
    assert any(plan(year) is not None for year in range(2020, 2025))
    assert plan(10**6) is None
    assert plan(2020) is not None


@pytest.mark.usefixtures("at_once")
def test_a_shape_without_a_plan_is_hardly_ever_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from turbo_orm.plans import compiling

    compiled: list[Any] = []
    monkeypatch.setattr(compiling._Compilation, "plan", lambda self: compiled.append(self) or 1 / 0)
    for number in range(1000):
        assert Book.objects.filter(pk=number)._bound("list") is None
    assert 1 < len(compiled) < 8


def test_a_subclass_of_a_queryset_shares_shapes(shapes: Any) -> None:
    class Own(AsyncQuerySet):
        def cheap(self) -> Any:
            return self.filter(price__lt=10)

    shapes.build_at_once()
    assert Own(Book).cheap()._planned[0] is Book.objects.filter(price__lt=1)._planned[0]
