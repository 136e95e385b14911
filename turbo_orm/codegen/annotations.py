"""Turns annotations of hand-written code into type expressions."""

from __future__ import annotations

import ast
import builtins
import sys
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ForwardRef, TypeVar

import typing_extensions
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from turbo_orm.codegen.checked_names import CheckedName, checked_names
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


#: Types that are what their names stand for.
_NAMED = (
    typing.NewType,
    typing_extensions.TypeAliasType,
    # Up to Python 3.13 that is another class.
    getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),
)
#: What a subscription calls in the text of annotations.
_SUBSCRIPT = "__turbo_subscript__"


class UnreadableAnnotation(Exception):
    """An annotation which generated code can't repeat."""


def is_importable(obj: Any) -> bool:
    """Whether ``module.qualname`` of a class really leads to it, as an import in generated code would."""
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


class AnnotationReader:
    """Reads annotations with the names which their module has, at run time or for type checkers.

    *fallback* are names to try where the module has none, and Python neither. *model_expression*
    tells how a model is written; ``None`` if it is a class like others. So does *queryset_expression* of
    a hand-written queryset class and the rows which the annotation says it has, if any.
    """

    def __init__(
        self,
        model_expression: Callable[[type[Model]], str | None],
        fallback: Mapping[str, Any],
        queryset_expression: Callable[[type[Any], Any], str | None] = lambda queryset, row: None,
    ) -> None:
        self.model_expression = model_expression
        self.queryset_expression = queryset_expression
        self._fallback = {key: value for key, value in fallback.items() if not hasattr(builtins, key)}

    def evaluate(self, annotation: Any, namespace: Mapping[str, Any]) -> Any:
        """Return the object which *annotation* stands for, if it is text."""
        read: set[str] = set()
        while isinstance(annotation, (str, ForwardRef)):
            text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
            if text in read:
                raise UnreadableAnnotation(f"{text!r} stands for itself")
            read.add(text)
            annotation = self._evaluate(text, namespace)
        return annotation

    def _evaluate(self, text: str, namespace: Mapping[str, Any]) -> Any:
        checked = checked_names(str(namespace.get("__name__", "")))
        names = {**self._fallback, **checked, **namespace, _SUBSCRIPT: _subscript}
        for called, value in checked.items():
            if value is None and called not in namespace:
                del names[called]
        try:
            tree = ast.fix_missing_locations(_Subscripts().visit(ast.parse(text.strip(), mode="eval")))
            return eval(compile(tree, "<annotation>", "eval"), names)
        except Exception as error:  # the text is the user's: anything may come out of it
            raise UnreadableAnnotation(f"{text!r} ({error})") from error

    def read(
        self,
        annotation: Any,
        namespace: Mapping[str, Any],
        special: Callable[[Any], str | None] = lambda value: None,
    ) -> str:
        """Return the type expression of *annotation*.

        Where *special* returns an expression for the annotation, or for a part of it, that is taken.
        Raises `UnreadableAnnotation` where there is none.
        """
        return _Reading(self, namespace, special).read(annotation)


class _Reading:
    """Reads one annotation."""

    def __init__(
        self, reader: AnnotationReader, namespace: Mapping[str, Any], special: Callable[[Any], str | None]
    ) -> None:
        self._reader = reader
        self._namespace = namespace
        self._special = special
        #: The values inside which the one is that is being read.
        self._inside: list[Any] = []

    def read(self, annotation: Any) -> str:
        value = self._reader.evaluate(annotation, self._namespace)
        if value in self._inside:  # JSON = Union[dict[str, "JSON"], str] has no end
            return ANY
        self._inside.append(value)
        try:
            return self._read_value(value)
        finally:
            self._inside.pop()

    def _read_value(self, value: Any) -> str:
        special = self._special(value)
        if special is not None:
            return special
        if value is None or value is type(None):
            return NONE
        if value is Any or isinstance(value, TypeVar):
            return ANY
        if isinstance(value, _NAMED):
            return self._read_named(value)
        origin = typing.get_origin(value)
        if origin is not None:
            return self._read_generic(value, origin)
        if isinstance(value, type):
            return self._read_class(value)
        raise UnreadableAnnotation(repr(value))

    def _read_named(self, value: Any) -> str:
        """A `NewType` and ``type Name = ...`` are what their names stand for."""
        module, called = str(value.__module__), str(value.__name__)
        if getattr(sys.modules.get(module), called, None) is not value:
            raise UnreadableAnnotation(repr(value))
        return name(module, called)

    def _read_class(self, value: type[Any], *, bare: bool = True) -> str:
        model = self._reader.model_expression(value) if issubclass(value, Model) else None
        if model is not None:
            return model
        if not isinstance(value, CheckedName) and not is_importable(value):
            raise UnreadableAnnotation(repr(value))
        written = name(_public_module(value), value.__qualname__)
        return generic(written, *_BARE[value]) if value in _BARE and bare else written

    def _read_generic(self, value: Any, origin: Any) -> str:
        arguments = typing.get_args(value)
        if origin is typing.Union or origin is types.UnionType:
            return union(*map(self.read, arguments))
        if origin in (typing.Literal, typing_extensions.Literal):
            return generic(name("typing", "Literal"), *map(_literal, arguments))
        if origin in (typing.Annotated, typing.ClassVar, typing.Final):
            return self.read(arguments[0])
        if isinstance(origin, _NAMED):
            return generic(self._read_named(origin), *map(self._read_argument, arguments))
        if not isinstance(origin, type):
            raise UnreadableAnnotation(repr(value))
        if not arguments:  # typing.List
            return self._read_class(origin)
        return generic(self._read_class(origin, bare=False), *map(self._read_argument, arguments))

    def _read_argument(self, argument: Any) -> str:
        if argument is Ellipsis:
            return "..."
        if isinstance(argument, list):
            return f"[{', '.join(map(self.read, argument))}]"
        return self.read(argument)


def _public_module(value: type[Any]) -> str:
    """The module to import a class from: ours are what stubs say they are in the package itself."""
    module = value.__module__
    if module.startswith("turbo_orm.") and getattr(sys.modules["turbo_orm"], value.__name__, None) is value:
        return "turbo_orm"
    return module


class _Subscripts(ast.NodeTransformer):
    """Makes ``A[b]`` a call, so that the arguments of Django's classes are kept."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        called = ast.Name(_SUBSCRIPT, ast.Load())
        return ast.copy_location(ast.Call(called, [node.value, node.slice], []), node)


def _subscript(origin: Any, arguments: Any) -> Any:
    return types.GenericAlias(origin, arguments) if _drops_arguments(origin) else origin[arguments]


def _drops_arguments(origin: Any) -> bool:
    """Whether ``origin[arguments]`` is the class alone, as of Django's querysets and managers."""
    return isinstance(origin, type) and issubclass(origin, (QuerySet, BaseManager))


def _literal(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{name(type(value).__module__, type(value).__qualname__)}.{value.name}"
    # Braces mark names in type expressions.
    return repr(value).replace("{", r"\x7b").replace("}", r"\x7d")
