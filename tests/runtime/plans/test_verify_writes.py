"""Always-compare sees INSERTs, too: all that the other tests insert, and what is not Django's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from tests.project.library.models import Place, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.test_bulk_inserts import COLUMNS, MAKERS, by_unnest, paper, papers  # noqa: F401  fixtures
from tests.runtime.plans.test_inserts import CREATIONS
from turbo_orm import AsyncManager, AsyncQuerySet, run_sync
from turbo_orm.db.arrays import ENCODERS
from turbo_orm.db.statements import statement
from turbo_orm.errors import PlanMismatchError
from turbo_orm.instance import is_managed
from turbo_orm.plans.inserts import insert_plan
from turbo_orm.plans.verify import Verified


@pytest.fixture(autouse=True)
def _verifying(snapshot: Snapshot) -> Iterator[None]:
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": {"min_size": 1, "max_size": 5}}):
        yield


async def _know_the_server() -> None:
    await AsyncQuerySet(Tag).acount()


@pytest.mark.parametrize("name", CREATIONS)
async def test_create(name: str) -> None:
    await _know_the_server()
    model, kwargs = CREATIONS[name]
    values, same = await run_sync(kwargs), Verified.same
    await AsyncQuerySet(model).acreate(**values)
    assert Verified.same > same


@pytest.mark.parametrize("name", sorted(CREATIONS.keys() - {"a key", "a key by its alias"}))
async def test_save(name: str) -> None:
    await _know_the_server()
    model, kwargs = CREATIONS[name]
    if not is_managed(model):
        return
    values, same = await run_sync(kwargs), Verified.same
    await model(**values).asave()
    assert Verified.same > same


@by_unnest
@pytest.mark.parametrize("name", MAKERS)
async def test_bulk_create(name: str) -> None:
    await _know_the_server()
    make, options = MAKERS[name]
    objs = make()
    same = Verified.same
    await AsyncQuerySet(type(objs[0])).abulk_create(objs, **options)
    assert Verified.same > same


@by_unnest
@pytest.mark.parametrize("name", COLUMNS)
async def test_columns(paper: Any, name: str) -> None:  # noqa: F811  the fixture
    await _know_the_server()
    columns = {"left": range(6), **COLUMNS[name]} if hasattr(models, "GeneratedField") else COLUMNS[name]
    same = Verified.same
    await AsyncQuerySet(paper).abulk_create(papers(paper, **columns)())
    assert Verified.same > same


class _Encrypted(models.CharField):  # type: ignore[type-arg]
    """Another value for the database each time, as with a nonce."""

    numbers = count(1)

    def get_prep_value(self, value: Any) -> Any:
        return f"{next(self.numbers)} {value[::-1]}"

    def from_db_value(self, value: str, *args: Any) -> str:
        return value.partition(" ")[2][::-1]


@pytest.fixture
def secret() -> Iterator[Any]:
    with isolate_apps("tests.project.library"):

        class Secret(models.Model):
            label = _Encrypted(max_length=50)
            objects = AsyncManager()

            class Meta:
                app_label = "library"
                db_table = Tag._meta.db_table

        yield Secret


async def test_values_which_differ_each_time_are_no_other_plan(secret: Any) -> None:
    await _know_the_server()
    same = Verified.same
    for _ in range(3):
        made = await secret.objects.acreate(label="made")
        made.label = "saved"
        await made.asave()
        await made.asave(update_fields=["label"])
        many = await secret.objects.abulk_create([secret(label="a"), secret(label="b")])
        many[0].label = "c"
        await secret.objects.abulk_update(many, ["label"])
        await run_sync(secret(label="sync").save)
        rows = secret.objects.filter(pk__gte=made.pk).order_by("pk")
        assert [row.label async for row in rows] == ["saved", "c", "b", "sync"]
        assert await rows.filter(label="a").acount() == 0
        assert await secret.objects.filter(pk=made.pk).aupdate(label="updated") == 1
    assert Verified.same > same


async def test_of_values_which_differ_each_time_the_type_is_the_same(
    secret: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _know_the_server()
    made = await secret.objects.acreate(label="a")

    def wrong_params(*args: Any, **kwargs: Any) -> Any:
        plan = insert_plan(*args, **kwargs)
        assert plan is not None
        monkeypatch.setattr(plan, "params", lambda obj: (1,))
        return plan

    with monkeypatch.context() as patched:
        patched.setattr("turbo_orm.creation.insert_plan", wrong_params)
        with pytest.raises(PlanMismatchError):
            await secret.objects.acreate(label="b")
    monkeypatch.undo()
    assert not await secret.objects.filter(pk__gt=made.pk).aexists()


async def test_a_wrong_plan_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    await _know_the_server()
    await AsyncQuerySet(Tag).acreate(label="right")

    def wrong_params(*args: Any, **kwargs: Any) -> Any:
        plan = insert_plan(*args, **kwargs)
        assert plan is not None
        monkeypatch.setattr(plan, "params", lambda obj: ("wrong",))
        return plan

    with monkeypatch.context() as patched:
        patched.setattr("turbo_orm.creation.insert_plan", wrong_params)
        with pytest.raises(PlanMismatchError, match=r"'right 2'.*\n.*'wrong'"):
            await AsyncQuerySet(Tag).acreate(label="right 2")
    monkeypatch.undo()
    assert await AsyncQuerySet(Tag).filter(label__in=["right 2", "wrong"]).acount() == 0


@by_unnest
async def test_a_wrong_array_or_text_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    await _know_the_server()
    places = [Place(name=f"{n}") for n in range(6)]
    from turbo_orm.plans import inserting

    right = inserting.bulk_insert

    def wrong(kind: str) -> Any:
        def insert(*args: Any) -> Any:
            found = right(*args)
            assert found is not None
            if kind == "text":
                return found._replace(statement=statement(found.statement.sql + " ", 1))
            return found._replace(params=(ENCODERS["varchar"](["x"] * 6, False),))

        return insert

    for kind in ("text", "params"):
        monkeypatch.setattr(inserting, "bulk_insert", wrong(kind))
        with pytest.raises(PlanMismatchError, match="A plan to insert Place differs"):
            await AsyncQuerySet(Place).abulk_create(places)
