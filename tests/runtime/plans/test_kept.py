"""Querysets a program keeps, as views have them: made once, used over and over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.db.models import Count, Q
from django.test.utils import override_settings

from tests.project.library.models import Author, Book
from turbo_orm import ExecutedStatement, run_sync
from turbo_orm.plans import shapes

pytestmark = pytest.mark.usefixtures("verifying")


@pytest.fixture
def seen_on_wire() -> Iterator[Callable[[], list[bool]]]:
    """Give, of the statements since it was last asked, whether each was executed on the wire."""
    told: list[ExecutedStatement] = []

    def take() -> list[bool]:
        taken, told[:] = [*told], []
        return [each.on_wire for each in taken]

    with override_settings(TURBO_ORM={"OBSERVERS": [told.append], "VERIFY_PLANS": True}):
        yield take


def by_function() -> Any:
    return Author.objects.filter(Q(name="kept") | Q(age=3)).exclude(name__in=["x", "y"])


def kept() -> list[Any]:
    """Querysets of the body of a class, of shapes that nobody has seen before."""
    shapes.clear()

    class View:
        root = Author.objects.all()
        filtered = Author.objects.filter(name="kept").order_by("-age")
        related = Book.objects.select_related("author").filter(title="kept")
        counted = Author.objects.annotate(n=Count("books")).filter(n__gt=0)
        by_function = by_function()
        sliced = Author.objects.filter(name="kept", age__gt=1)[:7]

    return [value for value in vars(View).values() if isinstance(value, Author.objects._queryset_class)]


USES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "all": lambda rows: rows.all().alist(),
    "count": lambda rows: rows.acount(),
    "exists": lambda rows: rows.aexists(),
    "first": lambda rows: rows.all().afirst(),
    "aggregate": lambda rows: rows.aaggregate(n=Count("pk")),
    "count in sync code": lambda rows: run_sync(rows.count),
}


@pytest.mark.parametrize("use", USES)
async def test_they_have_plans(use: str, seen_on_wire: Callable[[], list[bool]]):
    for rows in kept():
        for _ in range(3):
            await USES[use](rows)
        seen_on_wire()
        await USES[use](rows)
        assert seen_on_wire() == [True], rows._planned


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows.filter(age__lt=100).alist(),
        lambda rows: rows.aget_or_create(name="kept"),
        lambda rows: rows.filter(pk=1).aupdate(age=2),
    ],
)
async def test_what_is_derived_from_them_too(use: Any, seen_on_wire: Callable[[], list[bool]]):
    rows: Any = kept()[1]
    for _ in range(4):
        seen_on_wire()
        await use(rows)
    assert seen_on_wire() == [True]


async def test_they_are_found_by_key(seen_on_wire: Callable[[], list[bool]]):
    """`aget()` looks at the query of the queryset, which stays in plan mode."""
    author = await Author.objects.acreate(name="kept", age=2)
    for rows in kept()[:2]:
        for _ in range(4):
            seen_on_wire()
            assert await rows.aget(pk=author.pk) == author
            assert await run_sync(rows.get, pk=author.pk) == author
        assert seen_on_wire() == [True, True]


async def test_they_survive_what_their_shapes_depend_on(seen_on_wire: Callable[[], list[bool]]):
    """A lookup that is registered, as when apps are loaded, has all shapes made anew."""
    await Author.objects.acreate(name="kept", age=2)
    for rows in kept():
        before = await rows.all().alist()
        shapes.clear()
        for _ in range(3):
            seen_on_wire()
            assert await rows.all().alist() == before
        assert seen_on_wire() == [True]
    rows = kept()[1]
    shapes.clear()
    for _ in range(3):
        seen_on_wire()
        assert await rows.filter(age=2).acount() == 1
        assert await rows.filter(age=3).acount() == 0
    assert seen_on_wire() == [True, True]


async def test_a_shape_of_a_function_has_a_template_when_it_is_seen_again():
    shapes.clear()
    assert by_function()._planned is None
    assert by_function()._planned is not None
