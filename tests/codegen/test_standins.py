"""A facade that is stale or missing does not stop the command which renews it, wherever it is imported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django import forms
from django.contrib.admin import AdminSite, ModelAdmin

from tests.codegen.support import Project
from turbo_orm.codegen.standins import Anything

_APPS = """
from django.apps import AppConfig

class NotesConfig(AppConfig):
    name = "notes"

    def ready(self):
        import notes.receivers
"""
_RECEIVERS = """
from django.db.models.signals import post_save
from notes.turbo import Note, NoteColumns, NoteCreate, NoteQuerySet

class Special(NoteQuerySet):
    pass

def titled(columns: NoteColumns[Note, None]) -> NoteCreate:
    return NoteCreate(text="x")

post_save.connect(titled, sender=Note)
"""


@pytest.fixture
def importing(notes: Project) -> Project:
    """A project which imports its facade when it starts."""
    notes.write("notes/apps.py", _APPS)
    notes.write("notes/receivers.py", _RECEIVERS)
    return notes


def rename_model(project: Project) -> None:
    project.replace("notes/models.py", "class Note(", "class Memo(")


def rename_manager(project: Project) -> None:
    project.replace("notes/models.py", "objects =", "rows =")


def merge(project: Project) -> None:
    project.replace("notes/turbo.py", "# turbo:", "<<<<<<< HEAD\n# turbo:")


def use_new_name(project: Project) -> None:
    project.replace("notes/receivers.py", "import Note,", "import Note, NoteSoon,")


@pytest.mark.slow
@pytest.mark.parametrize("change", [rename_model, rename_manager, merge, use_new_name])
def test_stale_facade_is_renewed(importing: Project, change: Callable[[Project], None]) -> None:
    finished = importing.generate()
    assert finished.returncode == 0, finished.stderr
    change(importing)
    assert importing.manage("check").returncode == 1
    finished = importing.generate()
    assert finished.returncode == 0, finished.stderr
    current = importing.generate("--check")
    assert current.returncode == 0, current.stdout + current.stderr


@pytest.mark.slow
def test_missing_facade_is_made_and_the_project_starts(importing: Project) -> None:
    assert "No module named 'notes.turbo'" in importing.manage("check").stderr
    finished = importing.generate()
    assert finished.returncode == 0, finished.stderr
    checked = importing.manage("check")
    assert checked.returncode == 0, checked.stderr
    assert "turbo_orm.W1" not in checked.stderr


@pytest.mark.slow
def test_other_commands_say_what_to_do(importing: Project) -> None:
    importing.generate()
    rename_model(importing)
    last = importing.manage("check").stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: notes.models has no 'Note', but its generated module was made when it had one. "
        "Run `manage.py turbo_generate`."
    )


def test_admin_and_forms_have_nothing_to_do_for_a_class_which_is_not_there() -> None:
    missing = Anything("Missing", (), {})
    site = AdminSite()
    site.register(missing)
    site.register([missing], ModelAdmin)

    class MissingForm(forms.ModelForm):
        class Meta:
            model = missing
            fields = "__all__"

    assert missing.objects.filter(missing.Q(x=1) | ~missing.Q(y=1))[:3] is missing
    assert (missing | None) is missing
    assert list(missing) == []
    assert not missing
    with pytest.raises(AttributeError):
        missing.__wrapped__  # noqa: B018  reading it is the test


def test_class_which_is_not_there_can_be_a_base() -> None:
    missing = Anything("Missing", (), {})

    class Child(missing):  # type: ignore[misc,valid-type]
        pass

    assert Child.anything is Child
