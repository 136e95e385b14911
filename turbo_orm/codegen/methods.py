"""The methods of hand-written classes, as stubs repeat them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from turbo_orm.codegen import ir
from turbo_orm.codegen.views import MethodView

__all__ = ["view_methods"]


def view_methods(
    methods: Iterable[ir.Method], same: str, annotated: str, spell: Callable[[str], str]
) -> tuple[MethodView, ...]:
    """Return views of *methods*, which return the querysets *same* and *annotated*."""

    def returns(expression: str) -> str:
        filled = expression.replace(ir.SAME_QUERYSET, same).replace(ir.ANNOTATED_QUERYSET, annotated)
        return spell(filled)

    return tuple(
        MethodView(
            definition="async def" if method.is_async else "def",
            name=method.name,
            parameters=spell(f", {method.parameters}" if method.parameters else ""),
            returns=returns(method.returns),
            is_overload=method.is_overload,
        )
        for method in methods
    )
