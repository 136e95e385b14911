"""Describes hand-written methods: their parameters, what they return, and each of their overloads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import typing_extensions
from django.db.models import QuerySet

from turbo_orm.codegen import ir
from turbo_orm.codegen.annotations import AnnotationReader, UnreadableAnnotation
from turbo_orm.codegen.expressions import ANY, name, names, split_union, union
from turbo_orm.codegen.returns import ReturnReader
from turbo_orm.codegen.signatures import signature_of

__all__ = ["Function"]


@dataclass(frozen=True)
class Function:
    """A function in the body of a hand-written class."""

    called: str  # a decorator may have changed the function's own name
    function: Any
    owner: type[Any]
    is_static: bool
    is_on_managers: bool
    #: What type variables of the class stand for.
    variables: Mapping[Any, str]

    def describe(self, annotations: AnnotationReader, returns: ReturnReader) -> Iterator[ir.Method]:
        """Yield the method, or each of its overloads."""
        overloads = typing_extensions.get_overloads(self.function)
        for function in overloads or [self.function]:
            namespace = self._namespace(function)
            signature = signature_of(function)
            yield ir.Method(
                name=self.called,
                queryset_only=not self.is_on_managers,
                is_async=_is_async(function),
                is_overload=bool(overloads),
                is_override=hasattr(QuerySet, self.called),
                parameters=self._parameters(self._after_self(signature), namespace, annotations),
                returns=returns.read(function, signature.return_annotation, namespace),
            )

    def first_parameter(self, annotations: AnnotationReader) -> str:
        """Return the type of the first parameter after ``self``."""
        parameters = self._after_self(signature_of(self.function))
        return self._type(parameters[0].annotation, self._namespace(self.function), annotations)

    def returned(self, annotations: AnnotationReader) -> str:
        """Return the type of what it returns, as a parameter's."""
        annotation = signature_of(self.function).return_annotation
        return self._type(annotation, self._namespace(self.function), annotations)

    def _after_self(self, signature: inspect.Signature) -> list[inspect.Parameter]:
        parameters = list(signature.parameters.values())
        has_self = parameters and parameters[0].kind in _POSITIONAL and not self.is_static
        return parameters[1:] if has_self else parameters

    def _namespace(self, function: Any) -> dict[str, Any]:
        """The names that annotations can use: those of the module, and classes in the body of this one."""
        nested = {key: value for key, value in vars(self.owner).items() if isinstance(value, type)}
        own = {self.owner.__name__: self.owner}
        own |= {variable.__name__: variable for variable in self.variables}
        return {**getattr(inspect.unwrap(function), "__globals__", {}), **own, **nested}

    def _parameters(
        self, parameters: list[inspect.Parameter], namespace: Any, annotations: AnnotationReader
    ) -> str:
        kinds = inspect.Parameter
        written: list[str] = []
        seen_star = False
        for position, parameter in enumerate(parameters):
            if parameter.kind is kinds.KEYWORD_ONLY and not seen_star:
                written.append("*")
            seen_star = seen_star or parameter.kind in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL)
            stars = _STARS.get(parameter.kind, "")
            default = "" if parameter.default is kinds.empty else " = ..."
            type_ = self._type(parameter.annotation, namespace, annotations)
            written.append(f"{stars}{parameter.name}: {type_}{default}")
            following = parameters[position + 1].kind if position + 1 < len(parameters) else None
            if parameter.kind is kinds.POSITIONAL_ONLY and following is not kinds.POSITIONAL_ONLY:
                written.append("/")
        return ", ".join(written)

    def _type(self, annotation: Any, namespace: Any, annotations: AnnotationReader) -> str:
        """The type of a parameter: where rows are annotated, those of the hand-written class fit in too."""
        if annotation is inspect.Parameter.empty:
            return ANY
        try:
            read = annotations.read(annotation, namespace, self._variable)
            return union(*map(_accepting, split_union(read)))
        except UnreadableAnnotation:
            return ANY

    def _variable(self, value: Any) -> str | None:
        return self.variables.get(value) if isinstance(value, TypeVar) else None


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS: Mapping[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def _is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine, as of what a decorator wraps that is no coroutine function."""
    while function is not None:
        if inspect.iscoroutinefunction(function):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _accepting(member: str) -> str:
    labels = (label for _, label in names(member) if member == name("@row", label))
    return next((name("@base", label) for label in labels), member)
