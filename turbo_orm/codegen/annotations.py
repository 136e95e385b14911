"""Turns annotations of hand-written code into type expressions."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ForwardRef, TypeVar

import typing_extensions
from django.db.models import Model

from turbo_orm.codegen.expressions import ANY, NONE, generic, name, union

__all__ = ["AnnotationReader", "UnreadableAnnotation", "is_importable"]


#: What these are generic in, where the annotation does not say it.
_BARE: Mapping[type[Any], tuple[str, ...]] = {
    dict: (ANY, ANY),
    frozenset: (ANY,),
    list: (ANY,),
    set: (ANY,),
    tuple: (ANY, "..."),
    type: (ANY,),
}


class UnreadableAnnotation(Exception):
    """An annotation which generated code can't repeat."""


def is_importable(obj: Any) -> bool:
    """Whether ``module.qualname`` of a class really leads to it, as an import in generated code would."""
    import sys

    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


class AnnotationReader:
    """Reads annotations with the names which their module has at run time.

    ``fallback`` are names to try where the module has none: those of models, which people import
    for type checkers only.
    """

    def __init__(self, model_expression: Callable[[type[Model]], str], fallback: Mapping[str, Any]) -> None:
        self._model_expression = model_expression
        self._fallback = fallback

    def evaluate(self, annotation: Any, namespace: Mapping[str, Any]) -> Any:
        """Return the object which ``annotation`` stands for, if it is text."""
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        names = {**self._fallback, **namespace}
        try:
            return eval(annotation, names)
        except Exception as error:  # the text is the user's: anything may come out of it
            raise UnreadableAnnotation(f"{annotation!r} ({error})") from error

    def read(self, annotation: Any, namespace: Mapping[str, Any]) -> str:
        """Return the type expression of ``annotation``.

        Raises `UnreadableAnnotation` where there is none.
        """
        value = self.evaluate(annotation, namespace)
        if value is None or value is type(None):
            return NONE
        if value is Any or isinstance(value, TypeVar):
            return ANY
        origin = typing.get_origin(value)
        if origin is not None:
            return self._read_generic(value, origin, namespace)
        if isinstance(value, type):
            return self._read_class(value)
        raise UnreadableAnnotation(repr(value))

    def _read_class(self, value: type[Any], *, bare: bool = True) -> str:
        if issubclass(value, Model):
            return self._model_expression(value)
        if not is_importable(value):
            raise UnreadableAnnotation(repr(value))
        written = name(value.__module__, value.__qualname__)
        return generic(written, *_BARE[value]) if value in _BARE and bare else written

    def _read_generic(self, value: Any, origin: Any, namespace: Mapping[str, Any]) -> str:
        arguments = typing.get_args(value)
        if origin is typing.Union or origin is types.UnionType:
            return union(*(self.read(argument, namespace) for argument in arguments))
        if origin in (typing.Literal, typing_extensions.Literal):
            return generic(name("typing", "Literal"), *map(_literal, arguments))
        if origin in (typing.Annotated, typing.ClassVar, typing.Final):
            return self.read(arguments[0], namespace)
        if not isinstance(origin, type):
            raise UnreadableAnnotation(repr(value))
        if not arguments:  # typing.List
            return self._read_class(origin)
        return generic(
            self._read_class(origin, bare=False),
            *(self._read_argument(item, namespace) for item in arguments),
        )

    def _read_argument(self, argument: Any, namespace: Mapping[str, Any]) -> str:
        if argument is Ellipsis:
            return "..."
        if isinstance(argument, list):
            return f"[{', '.join(self.read(item, namespace) for item in argument)}]"
        return self.read(argument, namespace)


def _literal(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{name(type(value).__module__, type(value).__qualname__)}.{value.name}"
    # Braces mark names in type expressions.
    return repr(value).replace("{", r"\x7b").replace("}", r"\x7d")
