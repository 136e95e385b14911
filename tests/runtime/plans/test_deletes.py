"""`delete()` on plans: of an object, of the rows a cascade takes with it, of rows in `run_sync()`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete, pre_delete
from django.db.models.sql import DeleteQuery
from django.test import override_settings
from django.test.utils import isolate_apps

from tests.project.library.models import Author, Book, Contribution, Note, Place, Profile, Restaurant, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import outcome, seen
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import AsyncManager, atomic, run_sync
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "frozen_now", "verifying")


def _unsaved() -> Any:
    return Profile(bio="x")


def _gone() -> Any:
    profile = Profile.objects.get(author__name="Ada")
    Profile.objects.filter(pk=profile.pk).delete()
    return profile


def _with_own_delete() -> Any:
    profile = Profile.objects.get(author__name="Ada")
    profile.delete = lambda: ("mine", {})  # type: ignore[method-assign]
    return profile


def _deferred() -> Any:
    return Profile.objects.only("pk").get(author__name="Ada")


#: What is deleted, and how many planned DELETEs there are.
OBJECTS: dict[str, tuple[Callable[[], Any], int]] = {
    "alone": (lambda: Profile.objects.get(author__name="Ada"), 1),
    "between two": (lambda: Contribution.objects.first(), 1),
    "with a generic key": (lambda: Note.objects.first(), 1),
    "deferred": (_deferred, 1),
    "gone already": (_gone, 1),
    "unsaved": (_unsaved, 0),
    "with a delete() of its own": (_with_own_delete, 0),
    "with rows of its relations": (lambda: Tag.objects.get(label="red"), 2),
    "with cascades": (lambda: Author.objects.get(name="Ada"), 11),
    "with generic relations": (lambda: Book.objects.get(pk=1), 4),
    "two tables": (lambda: Restaurant.objects.first(), 2),
    "a parent": (lambda: Place.objects.get(name="Cafe"), 2),
}


async def _outcome(delete: Callable[[], Awaitable[Any]], obj: Any) -> Any:
    try:
        found: Any = await delete()
    except Exception as error:
        found = type(error), str(error)
    obj.__dict__.pop("delete", None)
    return found, seen(obj)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("name", OBJECTS)
async def test_objects(snapshot: Snapshot, name: str, in_block: bool):
    make, planned = OBJECTS[name]
    outcomes = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            obj = await run_sync(make)
            with _deletes() as deletes:
                async with atomic() if in_block else nullcontext():
                    found = await _outcome(obj.adelete, obj)
            assert len(deletes) == (planned if plans else 0)
        outcomes.append((found, snapshot.rows()))
    assert outcomes[0] == outcomes[1]
    await assert_pool_is_clean()


class _deletes:  # noqa: N801 - a context manager
    """The tables that planned statements delete from, while it is entered."""

    def __enter__(self) -> list[str]:
        from turbo_orm.plans import running

        self.found: list[str] = []
        self.patch = pytest.MonkeyPatch()
        for name in ("run", "run_in_bridge"):
            self.patch.setattr(running, name, self._noting(getattr(running, name)))
        return self.found

    def _noting(self, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def noting(work: Any) -> Any:
            if work.statement.sql.startswith("DELETE"):
                self.found.append(work.statement.sql)
            return run(work)

        return noting

    def __exit__(self, *args: object) -> None:
        self.patch.undo()


async def test_one_statement_and_no_transaction():
    profile = await Profile.objects.aget(author__name="Ada")
    with capture_queries() as queries:
        assert await profile.adelete() == (1, {"library.Profile": 1})
    assert profile.pk is None
    assert [each["sql"].split()[0] for each in queries] == ["DELETE"]


async def test_using():
    profile = await Profile.objects.aget(author__name="Ada")
    with _deletes() as deletes:
        assert await profile.adelete(using="default") == (1, {"library.Profile": 1})
    assert len(deletes) == 1
    note = await Note.objects.afirst()
    with pytest.raises(Exception, match="doesn't exist"):
        await note.adelete(using="nowhere")


@pytest.mark.parametrize("signal", [pre_delete, post_delete])
async def test_receivers_are_told(signal: Any):
    told = []

    def receiver(instance: Any, **_: Any) -> None:
        told.append((instance.pk, Profile.objects.count()))

    profile = await Profile.objects.aget(author__name="Ada")
    pk, count = profile.pk, await Profile.objects.acount()
    signal.connect(receiver, sender=Profile)
    try:
        await profile.adelete()
    finally:
        signal.disconnect(receiver, sender=Profile)
    assert told == [(pk, count if signal is pre_delete else count - 1)]


async def test_many_objects_go_in_batches():
    authors = await Author.objects.abulk_create([Author(name=f"a{n}") for n in range(230)])
    before = Verified.same
    with _deletes() as deletes:
        count, by_model = await Author.objects.filter(pk__in=[author.pk for author in authors]).adelete()
    assert (count, by_model) == (230, {"library.Author": 230})
    assert [sql.count("%s") for sql in deletes if 'FROM "library_author"' in sql] == [100, 100, 30]
    assert Verified.same > before


async def test_a_cascade_stays_on_the_wire():
    told: list[Any] = []

    async def deleted(name: str) -> list[str]:
        del told[:]
        author = await Author.objects.acreate(name=name)
        await author.books.acreate(title=name, price=1)
        await Book.objects.filter(pk=1).aupdate(editor=author)  # a foreign key that becomes NULL
        await author.adelete()
        assert await Book.objects.filter(pk=1, editor=None).aexists()
        # `Plain` has no `AsyncManager`: a cursor reads it, and ends the transaction.
        off = [each.sql for each in told if not each.on_wire and each.sql != "COMMIT"]
        return [sql for sql in off if "library_plain" not in sql]

    with override_settings(TURBO_ORM={"POOL": POOL, "OBSERVERS": [told.append]}):
        await deleted("first")  # the server's version is known
        assert await deleted("second") == []


#: Querysets whose rows others depend on.
CASCADING: dict[str, Callable[[], Any]] = {
    "all": lambda: Author.objects.all(),
    "filtered": lambda: Author.objects.filter(name__in=["Ada", "Bob"]),
    "in an order": lambda: Author.objects.filter(age__gt=1).order_by("-age").reverse(),
    "with relations": lambda: Book.objects.filter(price__gt=2).select_related("author"),
    "of several tables": lambda: Book.objects.filter(author__name__gt="A", tags__label="red"),
    "distinct": lambda: Author.objects.filter(books__price__gt=1).distinct(),
    "annotated": lambda: Author.objects.annotate(n=models.Count("books")).filter(n__gte=1),
    "locked": lambda: Author.objects.filter(pk__gt=1).select_for_update(),
    "none": lambda: Author.objects.none(),
    "a slice": lambda: Author.objects.all()[:2],
    "distinct of a field": lambda: Author.objects.order_by("name").distinct("name"),
    "values": lambda: Author.objects.values("name"),
}


@pytest.mark.parametrize("name", CASCADING)
async def test_querysets(snapshot: Snapshot, name: str):
    outcomes = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            kept = CASCADING[name]()
            with capture_queries() as queries:
                found = await outcome(kept.adelete)
            # What Django makes of it is not looked at: of the order the queryset still has.
            assert kept.query.order_by == CASCADING[name]().query.order_by
            outcomes.append((found, [each["sql"] for each in queries], snapshot.rows()))
    assert outcomes[0] == outcomes[1]


async def test_the_rows_of_a_queryset_s_cascade_are_read_on_the_wire():
    told: list[Any] = []

    async def deleted(name: str) -> list[Any]:
        await Tag.objects.acreate(label=name)
        del told[:]
        assert await Tag.objects.filter(label=name).order_by("-label").adelete() == (1, {"library.Tag": 1})
        return [
            each.sql for each in told if not each.on_wire and each.sql != "COMMIT"
        ]  # of Django's atomic()

    with override_settings(TURBO_ORM={"POOL": POOL, "OBSERVERS": [told.append]}):
        await deleted("first")
        assert await deleted("second") == []


async def test_rows_of_sync_code():
    def delete() -> Any:
        return Contribution.objects.filter(book=1).delete(), Contribution.objects.count()

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await run_sync(_undoing, delete)
    with _deletes() as deletes:
        assert await run_sync(_undoing, delete) == expected
    assert len(deletes) == 1


def _undoing(function: Callable[[], Any]) -> Any:
    with transaction.atomic():
        found = function()
        transaction.set_rollback(True)
    return found


@pytest.fixture
def guarded(django_databases: None) -> Iterator[Any]:
    """A model whose rows another table refers to behind Django's back."""
    with isolate_apps("tests.project.library"):

        class Guarded(models.Model):
            objects = AsyncManager()

            class Meta:
                app_label = "library"

    with connection.schema_editor() as editor:
        editor.create_model(Guarded)
        editor.execute("CREATE TABLE library_guard (id bigint REFERENCES library_guarded (id))")
    connection.close()
    yield Guarded
    with connection.schema_editor() as editor:
        editor.execute("DROP TABLE library_guard")
        editor.delete_model(Guarded)
    connection.close()


async def test_an_error_of_the_database(guarded: Any):
    row = await guarded.objects.acreate()
    await guarded.objects.acreate()
    await run_sync(_guard, row.pk)
    with pytest.raises(IntegrityError, match="library_guard"):
        await row.adelete()
    assert row.pk is not None
    async with atomic():
        with pytest.raises(IntegrityError):
            await row.adelete()
        with pytest.raises(transaction.TransactionManagementError):
            await guarded.objects.acount()
        await run_sync(transaction.set_rollback, True)
    assert await guarded.objects.acount() == 2
    await assert_pool_is_clean()


def _guard(pk: int) -> None:
    from django.db import connections

    with connections["default"].cursor() as cursor:
        cursor.execute("INSERT INTO library_guard (id) VALUES (%s)", [pk])


async def test_a_replaced_method_is_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models.Model, "delete", lambda self: (7, {}))
    profile = await Profile.objects.aget(author__name="Ada")
    assert await profile.adelete() == (7, {})


@pytest.mark.parametrize("owner", [Collector, DeleteQuery])
async def test_replaced_steps_are_taken(owner: Any, monkeypatch: pytest.MonkeyPatch):
    taken = []
    name = "collect" if owner is Collector else "delete_batch"
    original = getattr(owner, name)

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        taken.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, replaced)
    profile = await Profile.objects.aget(author__name="Ada")
    assert await profile.adelete() == (1, {"library.Profile": 1})
    assert len(taken) == 1


def test_in_sync_code_it_is_djangos(django_databases: None):
    with _deletes() as deletes:
        assert DeleteQuery(Note).delete_batch([-1, -2], "default") == 0
    assert deletes == []
    connection.close()
