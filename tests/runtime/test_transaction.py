"""`atomic` and `on_commit`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from psycopg.pq import TransactionStatus

from tests.project.library.models import Author, Book
from tests.runtime.support import assert_pool_is_clean, author_names, backend_pid, pool, sleep
from turbo_orm import atomic, on_commit, run_sync
from turbo_orm.bridge.scopes import active_scope
from turbo_orm.bridge.wire_blocks import WireBlock
from turbo_orm.errors import BlockDeadlockError
from turbo_orm.testing import capture_queries


async def test_commit_and_rollback():
    async with atomic():
        await Author.objects.acreate(name="kept")
    with pytest.raises(LookupError):
        async with atomic():
            await Author.objects.acreate(name="lost")
            raise LookupError
    assert await author_names() == ["kept"]
    await assert_pool_is_clean()


async def test_savepoints():
    async with atomic():
        await Author.objects.acreate(name="a")
        with pytest.raises(LookupError):
            async with atomic():
                await Author.objects.acreate(name="b")
                raise LookupError
        await Author.objects.acreate(name="c")
    assert await author_names() == ["a", "c"]


async def test_no_savepoint_marks_the_outer_block():
    with pytest.raises(transaction.TransactionManagementError):
        async with atomic():
            with pytest.raises(LookupError):
                async with atomic(savepoint=False):
                    raise LookupError
            await Author.objects.acount()
    assert await author_names() == []


def _on_the_wire() -> bool:
    scope = active_scope(asyncio.get_running_loop())
    return scope is not None and scope.root.wire_block is not None


async def _known() -> None:
    """Have what the tests do in blocks known, so that it has plans."""
    for number in range(3):
        await Author.objects.acount()
        await (await Author.objects.acreate(name=f"known {number}")).adelete()


async def test_no_savepoint_on_the_wire():
    await _known()
    async with atomic():
        async with atomic(savepoint=False):
            await Author.objects.acreate(name="a")
            async with atomic(savepoint=False):
                await Author.objects.acreate(name="b")
        await Author.objects.acreate(name="c")
        assert _on_the_wire()
    assert await author_names() == ["a", "b", "c"]
    await assert_pool_is_clean()


@pytest.mark.parametrize("savepoint", [False, True])
@pytest.mark.parametrize("declared", [False, True])
async def test_no_savepoint_that_fails(declared: bool, savepoint: bool):
    """What was a savepoint around it can be rolled back to; otherwise there is only the whole."""
    async with atomic():
        await Author.objects.acreate(name="a")
        with pytest.raises(LookupError):
            async with atomic(savepoint=savepoint), atomic(savepoint=False):
                await Author.objects.acreate(name="b")
                if declared:
                    assert await run_sync(lambda: connection.in_atomic_block)
                raise LookupError
        if savepoint:
            await Author.objects.acreate(name="c")
        else:
            with pytest.raises(transaction.TransactionManagementError) as refused:
                await Author.objects.acount()
            assert refused.value.__cause__ is None
    assert await author_names() == (["a", "c"] if savepoint else [])
    await assert_pool_is_clean()


async def test_no_savepoint_has_its_turn():
    """Nothing of the block around it comes between its statements."""
    order: list[str] = []

    async def part(name: str) -> None:
        async with atomic(savepoint=False):
            for _ in range(3):
                await Author.objects.acount()
                order.append(name)

    await _known()
    async with atomic():
        await asyncio.gather(part("a"), part("b"))
        assert _on_the_wire()
    assert "".join(order) in ("aaabbb", "bbbaaa")


async def test_no_savepoint_of_another_database():
    async with atomic(), atomic(using="other", savepoint=False):
        await Author.objects.acreate(name="here")
        await Author.objects.using("other").acreate(name="there")
    assert await author_names() == ["here"]
    assert [author.name async for author in Author.objects.using("other")] == ["there"]


async def test_durable():
    async with atomic(durable=True):
        with pytest.raises(RuntimeError, match="durable"):
            async with atomic(durable=True):
                pass
        await Author.objects.acreate(name="a")
    assert await author_names() == ["a"]


@atomic
async def decorated_plainly(fail: bool) -> bool:
    await Author.objects.acreate(name="plain")
    if fail:
        raise LookupError
    return await run_sync(lambda: connection.in_atomic_block)


@atomic(using="default", durable=True)
async def decorated_with_arguments() -> bool:
    """Documented."""
    return await run_sync(lambda: connection.in_atomic_block)


async def test_decorators():
    with pytest.raises(LookupError):
        await decorated_plainly(True)
    assert await author_names() == []
    assert await decorated_plainly(False)
    assert await asyncio.gather(*[decorated_with_arguments() for _ in range(5)]) == [True] * 5
    assert decorated_with_arguments.__doc__ == "Documented."


async def test_decorating_a_sync_function_is_refused():
    with pytest.raises(TypeError, match=r"django\.db\.transaction\.atomic"):
        atomic(lambda: None)  # type: ignore[arg-type, return-value]


async def test_one_object_many_entries():
    block = atomic()
    async with block, block:
        await Author.objects.acreate(name="nested")

    inside = asyncio.Event()
    pids = []

    async def enter(number: int) -> int:
        async with block:
            await Author.objects.acreate(name=f"n{number}")
            pids.append(await run_sync(backend_pid))
            if len(pids) == 6:
                inside.set()
            await inside.wait()
            return pids[-1 - number]

    assert len(set(await asyncio.gather(*map(enter, range(6))))) == 6
    assert len(await author_names()) == 7


async def test_tasks_started_in_a_block_join_it_one_after_another():
    async with atomic():
        pid = await run_sync(backend_pid)

        async def child(number: int) -> int:
            async with atomic():
                await Author.objects.acreate(name=f"c{number}")
                await asyncio.sleep(0)
                if number % 2:
                    raise LookupError
            return await run_sync(backend_pid)

        outcomes = await asyncio.gather(*map(child, range(6)), return_exceptions=True)
        assert {outcome for outcome in outcomes if isinstance(outcome, int)} == {pid}
        assert await author_names() == ["c0", "c2", "c4"]
    assert len(await author_names()) == 3


async def test_a_task_that_outlives_the_block_leaves_it():
    go = asyncio.Event()

    async def late() -> bool:
        await go.wait()
        return await run_sync(lambda: connection.in_atomic_block)

    async with atomic():
        await Author.objects.acount()
        task = asyncio.create_task(late())
    go.set()
    assert await task is False


async def test_tasks_arriving_while_the_block_ends():
    """They wait for a turn that the block will never give, and go on without it."""

    async def queries() -> int:
        for _ in range(20):
            await Author.objects.acount()
        return 1

    tasks = []
    for _ in range(10):
        async with atomic():
            await Author.objects.acreate(name=f"n{len(tasks)}")
            tasks.append(asyncio.create_task(queries()))
            await asyncio.sleep(0.001)
    assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [1] * 10


async def test_wait_for_inside_a_block():
    async with atomic():
        pid = await run_sync(backend_pid)
        assert await asyncio.wait_for(run_sync(backend_pid), 5) == pid


@pytest.mark.parametrize("how", ["await", "gather", "wait", "wait_for", "shield"])
async def test_a_block_waiting_for_a_task_that_waits_for_it_is_told(how: str):
    go = asyncio.Event()

    async def worker() -> int:
        await go.wait()
        return await Author.objects.acount()

    async with atomic():
        task = asyncio.create_task(worker())
        await asyncio.sleep(0)
        with pytest.raises(BlockDeadlockError, match="nested block"):
            async with atomic():
                go.set()
                if how == "await":
                    await task
                elif how == "gather":
                    await asyncio.gather(task, asyncio.sleep(0))
                elif how == "wait":
                    (done,), _ = await asyncio.wait([task])
                    done.result()
                elif how == "wait_for":
                    await asyncio.wait_for(task, 30)
                else:
                    await asyncio.shield(task)
        assert await Author.objects.acount() == 0


async def test_a_deadlock_that_begins_later_is_noticed():
    async def worker() -> int:
        return await Author.objects.acount()

    async with atomic():
        with pytest.raises(BlockDeadlockError):
            async with atomic():
                pass
            task_outside = asyncio.create_task(asyncio.sleep(0))
            await task_outside
            started = asyncio.Event()
            proceed = asyncio.Event()

            async def waits_first() -> int:
                started.set()
                await proceed.wait()
                return await worker()

            task = asyncio.create_task(waits_first())
            await started.wait()
            async with atomic():
                proceed.set()
                await asyncio.sleep(0.1)  # the task already waits for its turn
                await run_sync(sleep, 0.01)
                await task


async def test_a_pool_is_not_exhausted_by_nested_blocks():
    async def work(number: int) -> None:
        async with atomic():
            await Author.objects.acreate(name=f"n{number}")
            async with atomic():
                await Author.objects.acount()

    await asyncio.gather(*map(work, range(60)))
    assert await Author.objects.acount() == 60


async def test_on_commit_runs_after_the_commit_only():
    log: list[object] = []

    async def callback() -> None:
        log.append(await Author.objects.acount())
        log.append(await run_sync(lambda: connection.in_atomic_block))

    async with atomic():
        await on_commit(callback)
        await on_commit(lambda: log.append("sync"))
        with pytest.raises(LookupError):
            async with atomic():
                await on_commit(lambda: log.append("never"))
                raise LookupError
        await Author.objects.acreate(name="a")
        assert log == []
    assert log == [1, False, "sync"]
    with pytest.raises(LookupError):
        async with atomic():
            await on_commit(lambda: log.append("never"))
            raise LookupError
    assert "never" not in log


async def test_a_hook_which_is_a_method_of_a_queryset_is_all_that_is_executed():
    """The text of such a method has the rows of the queryset in it."""
    with capture_queries() as around:
        async with atomic():
            await on_commit(Author.objects.all().acount)
    assert [each["sql"] for each in around if each["sql"].startswith("SELECT")] == [
        'SELECT COUNT(*) AS "__count" FROM "library_author"'
    ]


async def test_on_commit_while_tasks_of_the_block_want_their_turn():
    """The hook's queries come first; the tasks then go on outside the block."""
    log = []

    async def child() -> None:
        for _ in range(5):
            await run_sync(lambda: log.append(("child", connection.in_atomic_block)))

    async def hook() -> None:
        log.append(("hook", await Author.objects.acount()))
        await asyncio.sleep(0.02)
        async with atomic():
            await Author.objects.acreate(name="by the hook")

    tasks = []
    async with atomic():
        await Author.objects.acreate(name="a")
        await on_commit(hook)
        tasks = [asyncio.create_task(child()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(run_sync(sleep, 0.02)))
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert ("hook", 1) in log
    assert await author_names() == ["a", "by the hook"]
    await assert_pool_is_clean()


async def test_nobody_comes_between_the_commit_and_the_end(monkeypatch):
    """A task that asks while the block commits gets a connection of its own."""
    from django.db.backends.base.base import BaseDatabaseWrapper

    pids = {}
    commit = BaseDatabaseWrapper._commit

    def slow_commit(self):
        sleep(0.05)
        return commit(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", slow_commit)

    async def late() -> None:
        await asyncio.sleep(0.02)
        pids["late"] = await run_sync(lambda: (backend_pid(), connection.in_atomic_block))

    async with atomic():
        pids["block"] = await run_sync(backend_pid)
        task = asyncio.create_task(late())
    await task
    assert pids["late"][1] is False


@pytest.mark.parametrize("fails", [False, True])
async def test_nobody_comes_between_the_commit_on_the_wire_and_the_end(monkeypatch, fails):
    """The same where the block never needed Django's wrapper."""
    ending = asyncio.Event()
    end = WireBlock.end

    async def slow_end(self: WireBlock, exc: BaseException | None) -> None:
        ending.set()
        await asyncio.sleep(0.05)
        await end(self, exc)

    monkeypatch.setattr(WireBlock, "end", slow_end)

    async def planned() -> int:
        await ending.wait()
        return await Author.objects.acount()

    async def in_sync() -> bool:
        await ending.wait()
        return await run_sync(lambda: connection.in_atomic_block)

    async def in_another_block() -> int:
        await ending.wait()
        async with atomic():
            return await Author.objects.acount()

    with suppress(LookupError):
        async with atomic():
            await Author.objects.acreate(name="a")
            tasks = [asyncio.create_task(each()) for each in (planned, in_sync, in_another_block)]
            if fails:
                raise LookupError
    rows = 0 if fails else 1
    assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [rows, False, rows]
    await assert_pool_is_clean()


async def test_on_commit_outside_a_block_runs_now():
    log = []

    async def callback() -> None:
        log.append(await Author.objects.acount())

    await on_commit(callback)
    await on_commit(lambda: log.append(Author.objects.count()))
    assert log == [0, 0]


async def test_on_commit_errors():
    log = []

    def fail() -> None:
        raise LookupError

    async with atomic():
        await on_commit(fail, robust=True)
        await on_commit(lambda: log.append("after"))
        await Author.objects.acreate(name="a")
    assert log == ["after"]
    with pytest.raises(LookupError):
        async with atomic():
            await on_commit(fail)
            await on_commit(lambda: log.append("not reached"))
            await Author.objects.acreate(name="b")
    assert log == ["after"]
    assert await author_names() == ["a", "b"]


async def test_select_for_update_outside_a_block_is_djangos_error():
    with pytest.raises(transaction.TransactionManagementError, match="select_for_update"):
        await Author.objects.select_for_update().alist()


async def test_two_aliases():
    async with atomic(), atomic(using="other"):
        await Author.objects.acreate(name="here")
        await Author.objects.using("other").acreate(name="there")
    assert await author_names() == ["here"]
    with pytest.raises(LookupError):
        async with atomic(using="other"):
            await Author.objects.using("other").acreate(name="lost")
            await Author.objects.acreate(name="kept")
            raise LookupError
    assert await author_names() == ["here", "kept"]
    assert await Author.objects.using("other").acount() == 1


async def test_unknown_alias():
    from django.utils.connection import ConnectionDoesNotExist

    with pytest.raises(ConnectionDoesNotExist, match="nope"):
        async with atomic(using="nope"):
            pass


async def test_an_error_in_the_block_keeps_its_traceback_and_class():
    with pytest.raises(DatabaseError):
        async with atomic():
            await run_sync(lambda: list(Author.objects.extra(where=["no_such_column"])))
    await assert_pool_is_clean()


def test_repr():
    assert repr(atomic(using="x", durable=True)) == "atomic(using='x', durable=True)"


async def test_who_goes_on_is_told_what_broke_the_block():
    async def causes() -> list[Any]:
        found: list[Any] = []
        await Author.objects.acreate(name="a")
        with suppress(transaction.TransactionManagementError):
            async with atomic():
                with suppress(IntegrityError):
                    await Author.objects.acreate(name="a")
                try:
                    await Author.objects.acount()
                except transaction.TransactionManagementError as error:
                    found.append(type(error.__cause__))
                await run_sync(transaction.set_rollback, True)
        await Author.objects.adelete()
        return found

    for _ in range(3):  # by Django, and on plans
        assert await causes() == [IntegrityError]


class TestCommitInTheBridge:
    """Blocks of sync code in `run_sync()`: COMMIT goes the way the last statement went."""

    @staticmethod
    def add(name: str) -> None:
        with transaction.atomic():
            Author.objects.create(name=name)

    async def test_the_socket_stays_with_the_wire(self):
        for name in "abcdef":
            await run_sync(self.add, name)
        (conn,) = pool()._pool
        assert conn.wire.attached
        assert conn.pgconn.transaction_status == TransactionStatus.IDLE
        assert await author_names() == [*"abcdef"]

    async def test_an_error_that_comes_with_it(self):
        def dangling() -> None:
            with transaction.atomic():
                Book.objects.create(title="x", author_id=-1)  # deferred, as all of Django's keys
                Author.objects.create(name="lost")

        for name in ("a", "b", "c"):
            with pytest.raises(IntegrityError, match="library_book_author_id"):
                await run_sync(dangling)
            await run_sync(self.add, name)
        assert await author_names() == ["a", "b", "c"]
        await assert_pool_is_clean()

    async def test_hooks_run_after_it(self):
        seen = []

        def block(name: str) -> None:
            with transaction.atomic():
                Author.objects.create(name=name)
                transaction.on_commit(lambda: seen.append(connection.in_atomic_block))

        for name in ("a", "b", "c"):
            await run_sync(block, name)
        assert seen == [False] * 3

    async def test_after_a_cursor(self):
        def block(name: str) -> None:
            with transaction.atomic():
                Author.objects.create(name=name)
                with connections["default"].cursor() as cursor:
                    cursor.execute("SELECT 1")

        for name in ("a", "b", "c"):
            await run_sync(block, name)
        assert await author_names() == ["a", "b", "c"]
        await assert_pool_is_clean()

    async def test_cancelled(self):
        """Whether it was committed is as open as with any cancellation; the connection is not."""

        def slow() -> None:
            with transaction.atomic():
                with connections["default"].cursor() as cursor:
                    cursor.execute(
                        "CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$; "
                        "CREATE TEMP TABLE late (id int); "
                        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late "
                        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.wait(); "
                        "INSERT INTO late VALUES (1)"
                    )
                Author.objects.create(name="lost")

        for name in ("a", "b"):
            await run_sync(self.add, name)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run_sync(slow), 0.3)
        assert await author_names() == ["a", "b"]
        await assert_pool_is_clean()
