"""`manage.py turbo_generate`: what it writes, prints and returns."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable

import pytest

from tests.codegen.support import Project

pytestmark = pytest.mark.slow  # a process for each command

_MANY = "books = models.ManyToManyField('notes.Note')\n"


def test_first_run_writes_a_facade_for_each_app(bookshop: Project) -> None:
    finished = bookshop.generate()
    assert finished.returncode == 0, finished.stderr
    assert set(bookshop.facades()) == {
        "accounts/turbo.py",
        "accounts/turbo.pyi",
        "shop/turbo.py",
        "shop/turbo.pyi",
    }
    assert "wrote shop/turbo.pyi" in finished.stdout
    assert re.search(r"6 models with 30 fields in 2 apps: 4 files written, 0 unchanged, \d", finished.stdout)


def test_second_run_writes_nothing(bookshop: Project) -> None:
    bookshop.generate()
    before = {path: path.stat().st_mtime_ns for path in bookshop.folder.rglob("turbo.py*")}
    finished = bookshop.generate()
    assert "wrote" not in finished.stdout
    assert "0 files written, 4 unchanged" in finished.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_app_labels_choose_apps(bookshop: Project) -> None:
    assert bookshop.generate("shop").returncode == 0
    assert set(bookshop.facades()) == {"shop/turbo.py", "shop/turbo.pyi"}
    # The other app's generated classes are referred to all the same.
    assert "from accounts.turbo import" in bookshop.read("shop/turbo.pyi")


def test_output_depends_on_nothing_but_models_and_options(bookshop: Project) -> None:
    bookshop.generate(PYTHONHASHSEED="1")
    first = bookshop.facades()
    for path in first:
        (bookshop.folder / path).unlink()
    bookshop.generate(PYTHONHASHSEED="2", LANG="de_DE.UTF-8", TZ="Asia/Tokyo")
    assert bookshop.facades() == first
    everything = b"".join(first.values())
    assert str(bookshop.folder).encode() not in everything
    assert not re.search(rb"20\d\d-\d\d-\d\d", everything)


def test_facade_is_importable_and_holds_the_models(bookshop: Project) -> None:
    bookshop.generate()
    program = """
import django; django.setup()
import shop.models, shop.turbo, accounts.turbo
assert shop.turbo.Book is shop.models.Book
assert shop.turbo.BookQuerySet is shop.models.BookQuerySet
assert isinstance(shop.models.Book.objects, shop.turbo.BookManager)
assert str(shop.turbo.BookQ(title="x")) == "(AND: ('title', 'x'))"
from shop.turbo import BookOrder, BookCreate, BookRelatedManager
try:
    shop.turbo.Nothing
except AttributeError as error:
    print(error)
"""
    finished = bookshop.python("-c", program)
    assert finished.returncode == 0, finished.stderr
    assert "has no attribute 'Nothing'" in finished.stdout
    assert "run `manage.py turbo_generate`" in finished.stdout


def test_removed_manager_is_named_on_import(notes: Project) -> None:
    notes.generate()
    notes.replace("notes/models.py", "objects = AsyncManager()", "rows = AsyncManager()")
    finished = notes.python("-c", "import django; django.setup(); import notes.turbo")
    assert "notes.Note has no manager 'objects'" in finished.stderr
    assert "Run `manage.py turbo_generate notes`" in finished.stderr


def test_check_passes_when_current(notes: Project) -> None:
    notes.generate()
    finished = notes.generate("--check")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_check_prints_a_diff_and_writes_nothing(notes: Project) -> None:
    notes.generate()
    before = notes.facades()
    notes.replace("notes/models.py", "    objects", "    stars = models.IntegerField()\n    objects")
    finished = notes.generate("--check")
    assert finished.returncode == 1
    assert "--- notes/turbo.pyi (on disk)" in finished.stdout
    assert "\n+    stars: int\n" in finished.stdout
    assert "Run `manage.py turbo_generate` and commit the result." in finished.stderr
    assert notes.facades() == before


def test_check_notices_an_edited_file(notes: Project) -> None:
    notes.generate()
    notes.replace("notes/turbo.pyi", "text: str", "text: int")
    assert notes.generate("--check").returncode == 1


def test_check_without_facades_fails_and_writes_nothing(notes: Project) -> None:
    assert notes.generate("--check").returncode == 1
    assert notes.facades() == {}


def test_dry_run_names_files_and_writes_nothing(notes: Project) -> None:
    finished = notes.generate("--dry-run")
    assert finished.returncode == 0
    assert "would write notes/turbo.py\n" in finished.stdout
    assert "2 files to write, 0 unchanged" in finished.stdout
    assert notes.facades() == {}


def test_diff_is_printed_and_written(notes: Project) -> None:
    notes.generate()
    notes.replace("notes/models.py", "    objects", "    stars = models.IntegerField()\n    objects")
    finished = notes.generate("--diff")
    assert finished.returncode == 0
    assert "\n+    stars: int\n" in finished.stdout
    assert "    stars: int\n" in notes.read("notes/turbo.pyi")


def test_depth_and_lookups_are_options(bookshop: Project) -> None:
    bookshop.generate("--depth", "0")
    shallow = bookshop.read("shop/turbo.pyi")
    assert "author__username" not in shallow
    assert "title__istartswith:" in shallow
    assert "created_at__hour__gte:" not in shallow
    bookshop.generate("--depth", "2", "--lookups", "all")
    deep = bookshop.read("shop/turbo.pyi")
    assert "book__author__username:" in deep
    assert "created_at__hour__gte:" in deep


def test_quiet_run_prints_nothing(notes: Project) -> None:
    finished = notes.generate("-v0")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert notes.facades()


def test_exit_codes_are_in_the_help(notes: Project) -> None:
    helped = notes.generate("--help").stdout
    assert "exit codes:\n  0  " in helped
    assert "\n  1  --check" in helped
    assert "\n  2  " in helped


def test_json(notes: Project) -> None:
    told = json.loads(notes.generate("--json").stdout)
    assert {"apps": ["notes"], "models": 1, "fields": 2, "unknown": []}.items() <= told.items()
    assert told["files"] == [
        {"path": "notes/turbo.py", "changed": True},
        {"path": "notes/turbo.pyi", "changed": True},
    ]
    again = json.loads(notes.generate("--json", "--check").stdout)
    assert [file["changed"] for file in again["files"]] == [False, False]
    notes.replace("notes/turbo.pyi", "text: str", "text: int")
    checked = notes.generate("--json", "--check")
    assert checked.returncode == 1
    assert [file["changed"] for file in json.loads(checked.stdout)["files"]] == [False, True]


def test_watch_generates_again_when_a_model_changes(notes: Project) -> None:
    process = notes.start("turbo_generate", "--watch")
    try:
        wait_for(lambda: "notes/turbo.pyi" in notes.facades())
        notes.replace("notes/models.py", "    objects", "    stars = models.IntegerField()\n    objects")
        wait_for(lambda: "    stars: int\n" in notes.read("notes/turbo.pyi"))
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output.count("wrote notes/turbo.pyi") == 2
    assert output.count("1 model with") == 2


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
