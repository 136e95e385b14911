"""`turbo_orm.testing.TestCase`: sync set-up, async code and its rollback on one connection."""

from __future__ import annotations

import asyncio
import io
import unittest

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from hypothesis import given, settings, strategies
from hypothesis.extra import django as hypothesis_django

from tests.project.library.models import Author
from tests.runtime.support import sleep
from turbo_orm import atomic, on_commit, testing


async def count_authors(request):
    async with atomic():
        await Author.objects.acreate(name="by the view")
    return HttpResponse(str(await Author.objects.acount()))


def sync_count(request):
    return HttpResponse(str(Author.objects.count()))


urlpatterns = [path("", count_authors), path("sync", sync_count)]
seen: list[object] = []


class Example(testing.TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.author = Author.objects.create(name="from set-up")

    def setUp(self):
        Author.objects.create(name="from setUp")

    async def test_async_code_sees_the_set_up(self):
        seen.append(await Author.objects.acount())
        await Author.objects.acreate(name="from the test")
        assert await Author.objects.acount() == 3

    async def test_client(self):
        with override_settings(ROOT_URLCONF=__name__):
            response = await self.async_client.get("/")
        seen.append(response.content)
        assert await Author.objects.acount() == 3

    async def test_queries_of_a_request(self):
        with override_settings(ROOT_URLCONF=__name__), testing.assert_num_queries(4):
            await self.async_client.get("/")

    def test_sync(self):
        with override_settings(ROOT_URLCONF=__name__):
            seen.append(self.client.get("/").content)
            seen.append(self.client.get("/sync").content)
        assert Author.objects.count() == 3

    def test_commit_hooks(self):
        async def register():
            async with atomic():
                await on_commit(lambda: seen.append("committed"))

        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            async_to_sync(register)()
        assert len(callbacks) == 1

    async def test_commit_hooks_in_async_code(self):
        async def register() -> None:
            async with atomic():
                await on_commit(lambda: Author.objects.create(name="by a hook"))
                await on_commit(more)

        async def more() -> None:
            await Author.objects.acreate(name="by an async hook")
            await on_commit(lambda: seen.append("by a hook of a hook"))

        async with self.acaptureOnCommitCallbacks() as callbacks:
            await register()
        assert len(callbacks) == 2
        assert await Author.objects.acount() == 2
        async with self.acaptureOnCommitCallbacks(execute=True) as callbacks:
            await register()
            assert callbacks == []
        assert len(callbacks) == 3
        assert await Author.objects.acount() == 4

    def test_a_failure_is_reported(self):
        assert connection.in_atomic_block
        raise LookupError("on purpose")


class InThreads(testing.TestCase):
    async def test_functions_in_threads(self):
        await Author.objects.acreate(name="a")
        for thread_sensitive in (True, False):
            call = sync_to_async(Author.objects.count, thread_sensitive=thread_sensitive)
            assert await call() == 1


class Durable(testing.TransactionTestCase):
    async def test_commits(self):
        async with atomic(durable=True):
            await Author.objects.acreate(name="committed")
        seen.append(await Author.objects.acount())


class BrokenSetUp(testing.TestCase):
    @classmethod
    def setUpTestData(cls):
        raise LookupError("in the set-up")

    def test_never_runs(self):
        seen.append("never")


@unittest.skip("as a whole")
class Skipped(testing.TestCase):
    def test_never_runs(self):
        seen.append("never")


class SkippedByItsSetUp(testing.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("before ours")

    def test_never_runs(self):
        seen.append("never")


class BrokenAhead(SkippedByItsSetUp):
    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(seen.append, "cleaned up")
        raise LookupError("before ours")


def interrupt() -> None:
    raise KeyboardInterrupt


class Interrupted(testing.TestCase):
    def setUp(self):
        Author.objects.create(name="from setUp")

    async def test_a_wait(self):
        asyncio.get_running_loop().call_later(0.05, interrupt)
        await asyncio.sleep(60)

    def test_a_query(self):
        self._session._loop.call_later(0.05, interrupt)
        sleep(60)

    async def test_another(self):
        seen.append(await Author.objects.acount())

    def tearDown(self):
        seen.append("torn down")


class WithHypothesis(hypothesis_django.TestCase, testing.TestCase):
    @settings(max_examples=3)
    @given(hypothesis_django.from_model(Author, name=strategies.text("abc", max_size=5)))
    def test_examples(self, author):
        async_to_sync(self.count)()

    async def count(self):
        seen.append(await Author.objects.acount())


def run(*cases: type[unittest.TestCase]) -> unittest.TestResult:
    seen.clear()
    suite = unittest.TestSuite(
        test for case in cases for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
    )
    return unittest.TextTestRunner(io.StringIO()).run(suite)


for case in (
    Example,
    InThreads,
    Durable,
    BrokenSetUp,
    Skipped,
    SkippedByItsSetUp,
    BrokenAhead,
    Interrupted,
    WithHypothesis,
):
    case.__test__ = False  # run by the tests below, not by pytest


@pytest.mark.threads  # Django's test client runs middleware in one
def test_everything_shares_the_tests_transaction():
    result = run(Example)
    assert result.testsRun == 7
    assert [(str(test), "on purpose" in text) for test, text in result.errors] == [
        (str(Example("test_a_failure_is_reported")), True)
    ]
    assert result.failures == []
    assert seen == [2, b"3", "committed", "by a hook of a hook", b"3", b"3"]
    assert Author.objects.count() == 0


@pytest.mark.threads
def test_threads_share_it():
    assert run(InThreads).wasSuccessful()


def test_transaction_test_case():
    result = run(Durable)
    assert (result.testsRun, result.errors, result.failures, seen) == (1, [], [], [1])


def test_a_broken_set_up_leaves_nothing():
    result = run(BrokenSetUp)
    assert len(result.errors) == 1
    assert seen == []
    assert Author.objects.count() == 0


def test_classes_that_are_not_set_up():
    result = run(Skipped, SkippedByItsSetUp, BrokenAhead, Durable)
    assert [reason for _, reason in result.skipped] == ["as a whole", "before ours"]
    assert len(result.errors) == 1
    assert (result.failures, seen) == ([], ["cleaned up", 1])


def test_with_hypothesis():
    result = run(WithHypothesis)
    assert (result.errors, result.failures, set(seen)) == ([], [], {1})
    assert Author.objects.count() == 0


def test_an_interrupted_test_is_ended_before_the_next():
    seen.clear()
    Interrupted.setUpClass()
    try:
        for name in ("test_a_wait", "test_a_query"):
            result = unittest.TestResult()
            with pytest.raises(KeyboardInterrupt):
                Interrupted(name)(result)
            assert "CancelledError: KeyboardInterrupt" in result.errors[0][1]
            assert Interrupted("test_another")(unittest.TestResult()) is None
    finally:
        Interrupted.tearDownClass()
        Interrupted.doClassCleanups()
    assert seen == ["torn down", 1, "torn down"] * 2
    assert Author.objects.count() == 0
