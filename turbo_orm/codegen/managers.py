"""Introspects the managers of a model and the hand-written methods of their classes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Manager, Model, QuerySet

from turbo_orm.codegen import ir
from turbo_orm.codegen.accounts import account_method
from turbo_orm.codegen.annotations import AnnotationReader, UnreadableAnnotation, is_importable
from turbo_orm.codegen.expressions import generic, name
from turbo_orm.codegen.functions import Function
from turbo_orm.codegen.inference import infer_made, row_variables
from turbo_orm.codegen.naming import name_managers
from turbo_orm.codegen.returns import ReturnReader
from turbo_orm.codegen.signatures import own_parameters, signature_of, takes_anything

__all__ = ["generated_querysets", "has_async_manager", "is_async", "model_managers"]

#: Managers of Django's that are generic in the model in the stubs of Django there are, and subscriptable as
#: all managers are.
_GENERIC = frozenset(
    name(module, qualname)
    for module, qualname in (
        ("django.contrib.auth.base_user", "BaseUserManager"),
        ("django.contrib.auth.models", "UserManager"),
        ("django.contrib.sessions.base_session", "BaseSessionManager"),
        ("django.contrib.sessions.models", "SessionManager"),
        ("django.contrib.sites.managers", "CurrentSiteManager"),
    )
)
#: Packages whose classes, such as `Generic`, are bases without methods of interest.
_TYPING = ("abc", "typing", "typing_extensions")


def has_async_manager(model: type[Model]) -> bool:
    return any(is_async(manager) for manager in model._meta.managers)


def model_managers(
    model: type[Model], annotations: AnnotationReader, *, attach: bool
) -> tuple[ir.Manager, ...]:
    """Return the async managers of *model*, the default one first.

    With *attach*, the default manager of a model that has none becomes one when its facade is
    imported. Where that has happened already, the managers are described as they were before.
    """
    default = model._default_manager.name
    managers = _managers(model, attach=attach)
    attached = attach and not any(map(is_async, managers))
    words = ["", *name_managers(manager.name for manager in managers[1:])]
    return tuple(
        _describe(manager, called, annotations, is_default=manager.name == default, attached=attached)
        for manager, called in zip(managers, words, strict=False)
    )


def generated_querysets(
    models: Iterable[type[Model]], annotations: AnnotationReader
) -> dict[type[Any], list[type[Model]]]:
    """Return the *models* of facades whose main managers make querysets of each hand-written class."""
    found: dict[type[Any], list[type[Model]]] = {}
    for model in models:
        for manager in _managers(model, attach=True)[:1]:
            queryset = _queryset_class(getattr(manager, "turbo_original", manager), annotations)
            if not _is_ours(queryset):
                found.setdefault(queryset, []).append(model)
    return found


def _managers(model: type[Model], *, attach: bool) -> list[Any]:
    """The managers which the facade has, the default one first."""
    default = model._default_manager.name
    managers = [manager for manager in model._meta.managers if is_async(manager)]
    if not managers and attach:
        managers = [manager for manager in model._meta.managers if manager.name == default]
    return sorted(managers, key=lambda manager: (manager.name != default, manager.name))


def _describe(
    adopted: Any, words: str, annotations: AnnotationReader, *, is_default: bool, attached: bool
) -> ir.Manager:
    manager = getattr(adopted, "turbo_original", adopted)
    base = _manager_base(manager, adopted.model)
    queryset = _queryset_class(manager, annotations)
    return ir.Manager(
        name=manager.name,
        words=words,
        is_default=is_default,
        is_attached=attached,
        base=base,
        is_unnamed=base is None and bool(_hand_written(type(manager))),
        queryset=_nameable(queryset),
        is_queryset_made=queryset is not manager._queryset_class,
        is_queryset_async=any(map(_is_turbo, queryset.__mro__)),
        methods=tuple(_methods(type(manager), manager, queryset, annotations)),
        queryset_methods=tuple(_methods(queryset, manager, queryset, annotations)),
    )


def _queryset_class(manager: Any, annotations: AnnotationReader) -> type[Any]:
    """The class of the manager's querysets: that which its own `get_queryset()` makes, if it has one.

    Its annotation and its source tell. It is not called: it may ask for what a command has not (a tenant, the
    database), and facades are the same on every machine.
    """
    declared: type[Any] = manager._queryset_class
    for base in _hand_written(type(manager)):
        function = vars(base).get("get_queryset")
        if not inspect.isfunction(function):
            continue
        found = _annotated_class(function, annotations) or infer_made(function)
        if found is not super:
            return found if isinstance(found, type) and issubclass(found, declared) else declared
    return declared


def _annotated_class(function: Any, annotations: AnnotationReader) -> type[Any] | None:
    """The hand-written queryset class that the annotation names."""
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        value = annotations.evaluate(signature_of(function).return_annotation, namespace)
    except UnreadableAnnotation:
        return None
    found = typing.get_origin(value) or value
    return found if isinstance(found, type) and issubclass(found, QuerySet) and not _is_ours(found) else None


def _manager_base(manager: Any, model: type[Model]) -> str | None:
    base = _nameable(type(manager))
    return generic(base, name("@row", model._meta.label)) if base in _GENERIC else base


def is_async(manager: Any) -> bool:
    """Whether the model's own code says so: not if it is importing a facade that made the manager async."""
    return hasattr(manager, "is_turbo_manager") and not hasattr(manager, "turbo_original")


def _nameable(cls: type[Any]) -> str | None:
    """The class, if it is hand-written and type checkers see all of its bases.

    They don't see through ``class BookManager(AsyncManager.from_queryset(BookQuerySet))``; such a base
    would be Any, which makes them accept everything.
    """
    if _is_ours(cls) or not all(is_importable(base) for base in _hand_written(cls)):
        return None
    dynamic = any(
        not is_importable(base) and _is_made_by_django(base)
        for base in cls.__mro__
        if base not in _roots(cls)
    )
    return None if dynamic else name(cls.__module__, cls.__qualname__)


def _roots(cls: type[Any]) -> set[type[Any]]:
    """The bases of Django's Manager, and of AsyncManager and AsyncQuerySet."""
    return {*Manager.__mro__, *(base for ours in cls.__mro__ if _is_turbo(ours) for base in ours.__mro__)}


def _hand_written(cls: type[Any]) -> list[type[Any]]:
    return [base for base in cls.__mro__ if not _is_ours(base)]


def _is_ours(cls: type[Any]) -> bool:
    return _is_turbo(cls) or _is_made_by_django(cls) or cls is object


def _is_turbo(cls: type[Any]) -> bool:
    return cls.__module__.startswith("turbo_orm.")


def _is_made_by_django(cls: type[Any]) -> bool:
    module = cls.__module__
    return module.startswith("django.db.models.") or module.partition(".")[0] in _TYPING


def _methods(
    cls: type[Any], manager: Any, queryset: type[Any], annotations: AnnotationReader
) -> Iterator[ir.Method]:
    """Describe the hand-written methods of ``cls``, the class of *manager* or that of its querysets."""
    found: dict[str, tuple[ir.Method, ...]] = {}
    querysets = _hand_written(queryset)
    row = annotations.read(manager.model, {})
    for base in reversed(_hand_written(cls)):
        rows = row_variables(base)
        returns = ReturnReader(manager.model, base, querysets, annotations, rows)
        for method_name, attribute in vars(base).items():
            found.pop(method_name, None)
            is_static = isinstance(attribute, staticmethod)
            function = attribute.__func__ if is_static else attribute
            if not inspect.isfunction(function) or not _is_public(method_name, function):
                continue
            known = account_method(base, method_name, function, row)
            on_managers = hasattr(type(manager), method_name)
            method = Function(method_name, function, base, is_static, on_managers, dict.fromkeys(rows, row))
            found[method_name] = (known,) if known else tuple(method.describe(annotations, returns))
    for method_name in sorted(found):
        yield from found[method_name]


def _is_public(method_name: str, function: Any) -> bool:
    """Whether Django copies the method to managers, or would but for `queryset_only`.

    Not if it overrides one of Django's and the generated signature of that is better.
    """
    if hasattr(QuerySet, method_name) or hasattr(Manager, method_name):
        return _is_override(method_name, function)
    return not method_name.startswith("_") or getattr(function, "queryset_only", None) is False


def _is_override(method_name: str, function: Any) -> bool:
    """Whether it overrides a method of querysets, with parameters that are worth more than generated ones.

    Where those check the names of fields, they are worth more than a method without annotation whose own
    parameters may be left out.
    """
    djangos = inspect.getattr_static(QuerySet, method_name, None)
    if method_name.startswith("_") or not inspect.isfunction(djangos):
        return False
    own = own_parameters(function, djangos)
    if not own or not takes_anything(djangos):
        return bool(own)
    is_annotated = signature_of(function).return_annotation is not inspect.Signature.empty
    return is_annotated or any(parameter.default is inspect.Parameter.empty for parameter in own)
