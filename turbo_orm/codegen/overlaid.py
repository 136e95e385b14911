"""Decides which attributes of a row have a base class of their own, before the hand-written one.

Of an attribute whose type is not that of the base, mypy says `assignment`, as of real mistakes. Where two
bases disagree it says `misc`, as of all that overlays the hand-written class, and takes the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import generic, name
from turbo_orm.codegen.views import Entry, ManagerView

__all__ = ["place_managers"]

_CLASS_VAR = name("typing", "ClassVar")
_Entries = tuple[Entry, ...]


def place_managers(
    model: ir.Model, attributes: Sequence[Entry], managers: Iterable[ManagerView], spell: Callable[[str], str]
) -> tuple[_Entries, _Entries, _Entries]:
    """Return the attributes that go into the row's class, what goes before it, and the managers in the class.

    What goes before it is a manager where the hand-written class, or the parent's row, has another:
    django-stubs has a class of its own for many-to-many relations, parents have the managers of their own
    rows, and a manager whose class source code cannot name is no subclass of that.
    """
    many = {relation.name for relation in model.relations if relation.kind is ir.RelationKind.MANY_TO_MANY}
    other = {manager.name for manager in model.managers if model.parents or manager.is_unnamed}
    entries = [Entry(view.attribute, spell(generic(_CLASS_VAR, view.manager)), " = ...") for view in managers]
    before = [entry for entry in attributes if entry.name in many]
    before += [entry for entry in entries if entry.name in other]
    return (
        tuple(entry for entry in attributes if entry.name not in many),
        tuple(before),
        tuple(entry for entry in entries if entry.name not in other),
    )
