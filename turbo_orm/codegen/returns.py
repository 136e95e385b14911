"""Decides what hand-written methods of managers and querysets return to callers of the generated ones."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Collection, Iterator, Mapping
from types import CodeType
from typing import Annotated, Any, TypeVar

import typing_extensions
from django.db.models import Model, QuerySet

from turbo_orm.codegen import ir
from turbo_orm.codegen.annotations import AnnotationReader, UnreadableAnnotation
from turbo_orm.codegen.expressions import ANY, generic, name, ours
from turbo_orm.codegen.inference import infer_return
from turbo_orm.codegen.signatures import written_return

__all__ = ["ReturnReader", "RowReturnReader"]


class ReturnReader:
    """Reads what methods of *owner* return, a manager or queryset class of *model*.

    *querysets* are the hand-written classes which the generated queryset is an instance of, *variables*
    type variables of *owner* which stand for the model.
    """

    def __init__(
        self,
        model: type[Model],
        owner: type[Any],
        querysets: Collection[type[Any]],
        annotations: AnnotationReader,
        variables: Collection[TypeVar] = (),
    ) -> None:
        self._model = model
        self._owner = owner
        self._querysets = querysets
        self._annotations = annotations
        self._variables = variables

    def read(self, function: Any, annotation: Any, namespace: Mapping[str, Any]) -> str:
        """Return the type; *annotation* is what the signature of *function* says."""
        if annotation is inspect.Signature.empty:
            return infer_return(function, self._owner) or ANY
        context = _context(function)
        for written in _written(function, annotation):
            try:
                value = self._annotations.evaluate(written, namespace)
                if not context:
                    return self._read(value, namespace)
                yielded = typing.get_args(value)
                return generic(context, self._read(yielded[0], namespace) if yielded else ANY)
            except UnreadableAnnotation:
                continue
        return ANY

    def _read(self, value: Any, namespace: Mapping[str, Any]) -> str:
        return self._annotations.read(value, namespace, lambda part: self._special(part, namespace))

    def _special(self, value: Any, namespace: Mapping[str, Any]) -> str | None:
        if isinstance(value, TypeVar):
            return self._annotations.read(self._model, namespace) if value in self._variables else None
        return self._queryset(value, namespace)

    def _queryset(self, value: Any, namespace: Mapping[str, Any]) -> str | None:
        """Return the expression of a queryset; ``None`` for other things, and for other hand-written ones.

        ``Self``, the own class, and a queryset of the own model are the generated queryset of the same
        rows; a bare ``AsyncQuerySet`` or ``QuerySet``, or one of Any, has what the method annotates as
        well.
        """
        origin = typing.get_origin(value) or value
        if origin is typing_extensions.Self:
            return ir.SAME_QUERYSET
        if not isinstance(origin, type):
            return None
        if issubclass(origin, self._owner):
            return ir.SAME_QUERYSET
        if not issubclass(origin, QuerySet):
            return None
        rows = [self._row(argument, namespace) for argument in typing.get_args(value)]
        if origin in self._querysets:
            return ir.SAME_QUERYSET if not rows or self._is_own(rows[0]) else None
        if not _is_general(origin):
            return self._annotations.queryset_expression(origin, rows[0] if rows else None)
        if all(row is Any or isinstance(row, TypeVar) for row in rows):
            return ir.ANNOTATED_QUERYSET
        if typing.get_origin(rows[0]) is Annotated:  # django-stubs' WithAnnotations
            return ir.ANNOTATED_QUERYSET
        if self._is_own(rows[0]) and rows[0] is rows[-1]:
            return ir.SAME_QUERYSET
        return self._other(origin, rows, namespace)

    def _other(self, origin: type[Any], rows: list[Any], namespace: Mapping[str, Any]) -> str:
        """Write a queryset of another model, or of other rows. Of what has a facade, it is ours."""
        written = [self._annotations.read(row, namespace) for row in rows]
        is_ours = written[0].startswith("{@row:") or origin.__module__.startswith("turbo_orm.")
        if written[0] == written[-1]:
            written = written[:1]
        stub, djangos = ours("AsyncQuerySet"), name("django.db.models", "QuerySet")
        return generic(stub if is_ours else djangos, *written)

    def _row(self, argument: Any, namespace: Mapping[str, Any]) -> Any:
        row = self._annotations.evaluate(argument, namespace)
        return self._model if isinstance(row, TypeVar) and row in self._variables else row

    def _is_own(self, model: Any) -> bool:
        """Whether rows of *model*, or of a type variable, are those of the own model."""
        return not isinstance(model, type) or issubclass(self._model, model)


class RowReturnReader(ReturnReader):
    """Reads what methods and properties of ``owner`` return, a model class or a base of one."""

    def read(self, function: Any, annotation: Any, namespace: Mapping[str, Any]) -> str:
        return ANY if annotation is inspect.Signature.empty else super().read(function, annotation, namespace)

    def _queryset(self, value: Any, namespace: Mapping[str, Any]) -> str | None:
        origin = typing.get_origin(value) or value
        if origin is typing_extensions.Self:
            return name("typing_extensions", "Self")
        if not isinstance(origin, type) or not issubclass(origin, QuerySet):
            return None
        rows = [self._row(argument, namespace) for argument in typing.get_args(value)]
        if not _is_general(origin):
            return self._annotations.queryset_expression(origin, rows[0] if rows else None)
        if not rows or not isinstance(rows[0], type):
            return None
        return self._other(origin, rows, namespace)


def _is_general(queryset: type[Any]) -> bool:
    """Whether it is Django's class, or ours."""
    return queryset.__module__.startswith(("django.db.models.", "turbo_orm."))


def _written(function: Any, annotation: Any) -> Iterator[Any]:
    """The annotation as text, which says more than what it was evaluated to, and as it is."""
    if not isinstance(annotation, str):
        text = written_return(function)
        if text is not None:
            yield text
    yield annotation


def _code(decorator: Any) -> CodeType:
    """Return the code of what a decorator puts in the place of each function."""
    code: CodeType = decorator(lambda: None).__code__
    return code


#: What contextlib's decorators make of a generator, which keeps its own annotation.
_CONTEXTS: Mapping[CodeType, str] = {
    _code(contextlib.contextmanager): name("contextlib", "AbstractContextManager"),
    _code(contextlib.asynccontextmanager): name("contextlib", "AbstractAsyncContextManager"),
}


def _context(function: Any) -> str | None:
    """Return the context manager that *function* gives, if one of its decorators makes it that."""
    while function is not None:
        found = _CONTEXTS.get(getattr(function, "__code__", None))  # type: ignore[arg-type]
        if found:
            return found
        function = getattr(function, "__wrapped__", None)
    return None
