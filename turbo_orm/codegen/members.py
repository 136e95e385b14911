"""Introspects the methods and properties of hand-written model classes which give rows or querysets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Model
from django.utils.functional import cached_property

from turbo_orm.codegen import ir
from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.expressions import builtin, names
from turbo_orm.codegen.functions import Function
from turbo_orm.codegen.returns import RowReturnReader

__all__ = ["OVERLAID", "model_members"]

#: The methods of rows to which the stub gives exact parameters.
OVERLAID = ("save", "asave", "refresh_from_db", "arefresh_from_db", "afull_clean", "adelete")

#: Decorators which the stub repeats, by what they make.
_DECORATORS: Mapping[type[Any], str] = {
    classmethod: builtin("classmethod"),
    property: builtin("property"),
    staticmethod: builtin("staticmethod"),
}
_CACHED = (cached_property, functools.cached_property)
#: Where the function of a property is, or of a method which is decorated.
_FUNCTION_OF: Mapping[type[Any], str] = {
    classmethod: "__func__",
    property: "fget",
    staticmethod: "__func__",
    **dict.fromkeys(_CACHED, "func"),
}


def model_members(
    model: type[Model], parents: Iterable[type[Model]], annotations: AnnotationReader
) -> Iterator[ir.Member]:
    """Yield the members of *model* whose annotations name generated classes.

    Of others type checkers know as much from the hand-written class, and of what *parents* have from
    these, the generated ones.
    """
    inherited = {*Model.__mro__, *(base for parent in parents for base in parent.__mro__)}
    for base in model.__mro__:
        if base in inherited:
            continue
        returns = RowReturnReader(model, base, (), annotations)
        for called, attribute in vars(base).items():
            if not called.startswith("_") and inspect.getattr_static(model, called, None) is attribute:
                yield from _members(called, attribute, base, annotations, returns)


def _members(
    called: str, attribute: Any, base: type[Any], annotations: AnnotationReader, returns: RowReturnReader
) -> Iterator[ir.Member]:
    kind = type(attribute)
    function = getattr(attribute, _FUNCTION_OF.get(kind, ""), attribute)
    if not inspect.isfunction(function) or called in OVERLAID:
        return
    is_static = isinstance(attribute, staticmethod)
    methods = list(_function(called, function, base, is_static=is_static).describe(annotations, returns))
    if not any(module in ("@row", "@queryset") for method in methods for module, _ in names(method.returns)):
        return
    accept = ""
    if isinstance(attribute, _CACHED):
        accept = _function(called, function, base).returned(annotations)
    elif isinstance(attribute, property) and attribute.fset is not None:
        accept = _function(called, attribute.fset, base).first_parameter(annotations)
    for method in methods:
        yield ir.Member(method, "" if accept else _DECORATORS.get(kind, ""), accept)


def _function(called: str, function: Any, base: type[Any], *, is_static: bool = False) -> Function:
    return Function(called, function, base, is_static, True, {})
