"""Infers what a queryset method without annotations returns, where its source makes that plain.

Most hand-written methods are ``return self.filter(...)``: a chain of calls on ``self``. Most
`get_queryset()` of managers are a chain on ``super()``, or on a queryset which they make:
``BookQuerySet(self.model, using=self._db)``.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.db.models.manager import BaseManager

from turbo_orm.codegen import ir
from turbo_orm.codegen.signatures import definition_of

__all__ = ["infer_made", "infer_return", "row_variables"]

#: Classes whose first type argument is the model.
_GENERIC = (QuerySet, BaseManager)

#: Methods which return a queryset of the same rows.
_SAME = frozenset(
    (
        "all",
        "alias",
        "complex_filter",
        "defer",
        "difference",
        "distinct",
        "exclude",
        "extra",
        "fetch_mode",
        "filter",
        "get_queryset",
        "intersection",
        "none",
        "only",
        "order_by",
        "prefetch_related",
        "reverse",
        "select_for_update",
        "select_related",
        "union",
        "using",
    )
)


def infer_return(function: Any, owner: type[Any]) -> str | None:
    """Return which queryset *function*, a method of *owner*, gives; ``None`` if that is not plain."""
    return _Method(owner, frozenset()).infer(function)


def infer_made(function: Any) -> Any:
    """Return the class of the querysets which *function*, `get_queryset()` of a manager, makes.

    It is `super` where they are those of the base, ``None`` if it is not plain.
    """
    definition = definition_of(function)
    if definition is None:
        return None
    nodes = list(_own_nodes(definition))
    assigned = _assigned(nodes)
    names = {**getattr(inspect.unwrap(function), "__globals__", {}), **dict.fromkeys(assigned)}
    returned = {_made(node.value, names, assigned) for node in nodes if isinstance(node, ast.Return)}
    return returned.pop() if len(returned) == 1 else None


@cache
def row_variables(cls: type[Any]) -> tuple[TypeVar, ...]:
    """Return the type variables which stand for the model in ``cls``, a manager or queryset class.

    Of ``class OwnedQuerySet(AsyncQuerySet[M])`` only the source has the argument: Django drops it.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, SyntaxError, TypeError):
        return ()
    names = dict(vars(sys.modules[cls.__module__]))
    names.update((variable.__name__, variable) for variable in getattr(cls, "__type_params__", ()))
    found: list[TypeVar] = []
    for base in getattr(tree.body[0], "bases", ()):
        origin = _named(base, names)
        if isinstance(base, ast.Subscript) and isinstance(origin, type) and issubclass(origin, _GENERIC):
            first = base.slice.elts[0] if isinstance(base.slice, ast.Tuple) else base.slice
            variable = _named(first, names)
            found += [variable] if isinstance(variable, TypeVar) else []
    return tuple(found)


def _made(node: ast.expr | None, names: dict[str, Any], assigned: dict[str, list[ast.expr]]) -> Any:
    """What is called where the chain begins whose value *node* is."""
    while isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Call):
            called = _named(node.func, names)
            if isinstance(called, type) and issubclass(called, QuerySet):
                return called
            if isinstance(node.func, ast.Name):
                return super if node.func.id == "super" else None
        node = _inner(node)
    if not isinstance(node, ast.Name):
        return None
    others = {name: values for name, values in assigned.items() if name != node.id}
    # After `rows = rows.filter(...)` it is what it was.
    values = [value for value in assigned.get(node.id, ()) if not _begins_with(node.id, value)]
    made = {_made(value, names, others) for value in values}
    return made.pop() if len(made) == 1 else None


def _begins_with(name: str, node: ast.expr) -> bool:
    while isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
        node = _inner(node)
    return isinstance(node, ast.Name) and node.id == name


def _inner(node: ast.Call | ast.Attribute | ast.Subscript) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node.value


def _named(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a dotted name stands for, with type arguments or without."""
    if isinstance(node, ast.Subscript):
        return _named(node.value, names)
    if isinstance(node, ast.Attribute):
        return getattr(_named(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


class _Method:
    """Reads one method; *seen* are the names of those which led here."""

    def __init__(self, owner: type[Any], seen: frozenset[str]) -> None:
        self._owner = owner
        self._seen = seen
        self._this = ""
        self._assigned: dict[str, list[ast.expr]] = {}

    def infer(self, function: Any) -> str | None:
        definition = definition_of(function)
        if not isinstance(definition, ast.FunctionDef) or not definition.args.args:
            return None
        self._this = definition.args.args[0].arg
        nodes = list(_own_nodes(definition))
        self._assigned = _assigned(nodes)
        returned = [node.value for node in nodes if isinstance(node, ast.Return)]
        if not returned or any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
            return None
        return _join([self._chain(value, frozenset()) for value in returned])

    def _chain(self, node: ast.expr | None, following: frozenset[str]) -> str | None:
        """What the expression gives; *following* are the variables whose values led here."""
        if isinstance(node, ast.Name):
            return self._variable(node.id, following)
        if isinstance(node, ast.IfExp):
            return _join([self._chain(node.body, following), self._chain(node.orelse, following)])
        if isinstance(node, ast.Subscript):
            return self._chain(node.value, following) if isinstance(node.slice, ast.Slice) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return ir.SAME_QUERYSET if node.func.id == "super" else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            start = self._chain(node.func.value, following)
            return start and self._called(node.func.attr, start)
        return None

    def _variable(self, name: str, following: frozenset[str]) -> str | None:
        if name == self._this:
            return ir.SAME_QUERYSET
        values = self._assigned.get(name, [])
        if name in following:
            return ir.SAME_QUERYSET  # `rows = rows.filter(...)`: what it was before counts
        return _join([self._chain(value, following | {name}) for value in values])

    def _called(self, method: str, start: str) -> str | None:
        if method in _SAME:
            return start
        if method == "annotate":
            return ir.ANNOTATED_QUERYSET
        function = inspect.getattr_static(self._owner, method, None)
        if method in self._seen or not inspect.isfunction(function):
            return None
        if function.__module__.startswith(("django.", "turbo_orm.")):
            return None
        found = _Method(self._owner, self._seen | {method}).infer(function)
        return ir.ANNOTATED_QUERYSET if found and start == ir.ANNOTATED_QUERYSET else found


def _own_nodes(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions inside it."""
    pending: list[ast.AST] = list(definition.body)
    while pending:
        node = pending.pop(0)
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            pending.extend(ast.iter_child_nodes(node))


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return what is assigned to each variable."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _join(found: list[str | None]) -> str | None:
    """One answer for all branches: annotated if one is, none if one is unknown."""
    if not found or None in found:
        return None
    return ir.ANNOTATED_QUERYSET if ir.ANNOTATED_QUERYSET in found else ir.SAME_QUERYSET
