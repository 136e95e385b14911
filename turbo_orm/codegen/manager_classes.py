"""The classes of a model's managers and of the querysets which they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import ANY, generic, ours
from turbo_orm.codegen.expressions import names as names_in
from turbo_orm.codegen.methods import view_methods
from turbo_orm.codegen.naming import ModelNames
from turbo_orm.codegen.views import ManagerView

__all__ = ["view_managers"]


def view_managers(
    model: ir.Model, names: ModelNames, fresh: str, spell: Callable[[str], str]
) -> tuple[ManagerView, ...]:
    """Return the managers of *model*, the main one first; *fresh* is the row as querysets give it."""
    viewer = _Viewer(model.name, names, fresh, spell)
    views: list[ManagerView] = []
    by_queryset: dict[str | None, ManagerView] = {}
    for index, manager in enumerate(model.managers):
        shared = by_queryset.get(manager.queryset)
        view = viewer.view(manager, is_main=index == 0, shared=shared)
        by_queryset.setdefault(manager.queryset, view)
        views.append(view)
    return tuple(views)


class _Viewer:
    """Makes the views of the managers of the model *row*."""

    def __init__(self, row: str, names: ModelNames, fresh: str, spell: Callable[[str], str]) -> None:
        self._row = row
        self._names = names
        self._fresh = fresh
        self._spell = spell

    def view(self, manager: ir.Manager, *, is_main: bool, shared: ManagerView | None) -> ManagerView:
        """Return the view; *shared* is that of a manager before it with the same queryset class."""

        def called(suffix: str) -> str:
            return self._names[suffix] if is_main else self._names.of_manager(manager.words, suffix)

        queries = shared.queries if shared else called("Queries")
        queryset = shared.queryset if shared else called("QuerySet")
        annotated_row = self._names["_Annotated"]
        # In this order: of equal names in a facade, the first one that is spelled stays as it is.
        manager_bases = self._manager_bases(manager)
        queryset_bases = self._queryset_bases(manager, "_R")
        annotated = (
            f"_{queryset}Annotated"
            if manager.queryset
            else self._spell(generic(ours("AsyncQuerySet"), self._row, annotated_row))
        )
        own = {method.name for method in manager.methods}
        on_rows = _gives_generated(manager.queryset_methods)
        return ManagerView(
            attribute=manager.name,
            queries=queries,
            queryset=queryset,
            manager=called("Manager"),
            made=manager.queryset.strip("{}") if manager.queryset and manager.is_queryset_made else "",
            queryset_bases=queryset_bases,
            manager_bases=manager_bases,
            annotate=f"_{queryset}Annotate",
            annotated=annotated,
            annotated_base=self._queryset_bases(manager, annotated_row) if manager.queryset else "",
            methods=view_methods(
                (
                    *(
                        method
                        for method in manager.queryset_methods
                        if not method.queryset_only and method.name not in own
                    ),
                    *(method for method in manager.methods if _improves(method, manager)),
                ),
                f"{queryset}[{self._fresh}]",
                annotated,
                self._spell,
            ),
            queryset_methods=view_methods(on_rows, f"{queryset}[_R]", annotated, self._spell),
            own=frozenset(method.name for method in (*manager.methods, *manager.queryset_methods)),
            annotated_methods=view_methods(on_rows, annotated, annotated, self._spell)
            if manager.queryset
            else (),
            shares_queryset=shared is not None,
        )

    def _manager_bases(self, manager: ir.Manager) -> str:
        bases = [self._spell(generic(ours("ManagerOverlay"), self._fresh))]
        if manager.base:
            bases.append(self._spell(manager.base))
        if manager.base and not manager.is_attached:
            bases.insert(1, self._spell(generic(ours("ManagerOf"), self._row)))
        else:  # next to a base which cannot be edited, importing the facade puts ours
            bases.append(self._spell(generic(ours("AsyncManager"), self._row)))
        return ", ".join(bases)

    def _queryset_bases(self, manager: ir.Manager, rows: str) -> str:
        """Return the bases of a queryset class that gives *rows*."""
        bases = [f"{self._spell(ours('Rows'))}[{rows}]"]
        if manager.queryset:
            bases.append(self._spell(manager.queryset))
        if manager.queryset and manager.is_queryset_async:
            bases.insert(1, self._spell(generic(ours("QuerySetOf"), self._row, rows)))
        else:
            bases.append(self._spell(generic(ours("AsyncQuerySet"), self._row, rows)))
        return ", ".join(bases)


def _gives_generated(methods: Iterable[ir.Method]) -> list[ir.Method]:
    """Return the methods whose types neither the hand-written class nor the overlay of Django's tells."""
    generated = {
        method.name
        for method in methods
        if method.is_override
        or any(module in ("@row", "@queryset") for module, _ in names_in(method.returns))
    }
    return [method for method in methods if method.name in generated]


def _improves(method: ir.Method, manager: ir.Manager) -> bool:
    """Whether to repeat a method of the manager's class: not if checkers can infer more from the class."""
    return manager.base is None or method.is_override or method.returns != ANY
