"""``model(**kwargs)`` for new objects, by generated code where that does the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from keyword import iskeyword
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import BinaryField, Field, ForeignKey, Model
from django.db.models.base import ModelState
from django.db.models.fields.reverse_related import ForeignObjectRel

from turbo_orm.plans.instances import is_made_by_django, stores_directly
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.signals import has_init_receivers
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["new_object"]

Construct = Callable[[Mapping[str, Any]], Any]

#: Defaults that can be shared between objects.
_CONSTANTS = (int, str, bool, float, Decimal, type(None))

#: Sets of keywords per model that are worth a function each.
_MAX_FUNCTIONS = 100

#: Where a model's fields, and functions for them, are kept: with its options, so that they go
#: where it goes.
_ATTRIBUTE = "_turbo_constructors"


def new_object(model: type[Model], kwargs: Mapping[str, Any]) -> Any | None:
    """Return what `QuerySet.create()` makes of *kwargs* before it saves.

    None where that may run code of the project which could query, or fails: that is for
    Django's own path, in the bridge.
    """
    if has_init_receivers(model):
        return None
    meta: Any = model._meta
    fields, functions = meta.__dict__.get(_ATTRIBUTE, _NOTHING)
    if fields is not meta.fields:
        functions = {}
        meta.__dict__[_ATTRIBUTE] = meta.fields, functions
    names = tuple(kwargs)
    try:
        construct = functions[names]
    except KeyError:
        construct = _constructor(model, names)
        if len(functions) < _MAX_FUNCTIONS:
            functions[names] = construct
    if construct is None or model.__init__ is not _init:
        return None
    try:
        return construct(kwargs)
    except Exception:
        # Django's path raises it, or succeeds: a default that queries can in the bridge.
        return None


_init = Model.__init__
_NOTHING: tuple[Any, dict[tuple[str, ...], Construct | None]] = None, {}


def _constructor(model: type[Model], names: tuple[str, ...]) -> Construct | None:
    if not is_made_by_django(model) or model._meta.abstract:
        return None
    # Django 5.0 and later: create() refuses the names of reverse relations.
    refused: frozenset[str] = getattr(model._meta, "_reverse_one_to_one_field_names", frozenset())
    if not refused.isdisjoint(names):
        return None
    # Django fails, but only when it has asked for all defaults.
    if not all(_is_taken(model, name) for name in names):
        return None
    try:
        return _generated(model, names)
    except Unsupported:
        return lambda kwargs: model(**kwargs)


def _is_taken(model: type[Model], name: str) -> bool:
    """Whether ``model(**{name: value})`` is no mistake."""
    meta: Any = model._meta
    if name in meta._property_names:
        return True
    try:
        meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _generated(model: type[Model], names: tuple[str, ...]) -> Construct:
    namespace: dict[str, Any] = {"Model": model, "new": object.__new__, "ModelState": ModelState}
    left = set(names)
    # Runs of fields go into the dictionary directly; in between, descriptors of relations are set.
    lines = ["def construct(kwargs):", "    o = new(Model)"]
    items = ["'_state': ModelState()"]
    fill = "    o.__dict__ = {{{}}}"
    for number, field in enumerate(model._meta.fields):
        if field.column is None or getattr(field, "generated", False):
            continue
        if isinstance(field.remote_field, ForeignObjectRel) and field.name in left:
            if field.name == field.attname or not field.name.isidentifier() or iskeyword(field.name):
                raise Unsupported(f"{field} is set under an odd name")
            left.remove(field.name)
            if items:
                lines.append(fill.format(", ".join(items)))
            fill, items = "    o.__dict__.update({{{}}})", []
            lines.append(f"    o.{field.name} = kwargs[{field.name!r}]")
            continue
        if not stores_directly(model, field.attname):
            raise Unsupported(f"{field} is set by a descriptor")
        given = field.attname in left
        left.discard(field.attname)
        value = f"kwargs[{field.attname!r}]" if given else _default(number, field, namespace)
        items.append(f"{field.attname!r}: {value}")
    if left:
        raise Unsupported(f"{', '.join(left)} are no fields")
    if items:
        lines.append(fill.format(", ".join(items)))
    construct: Construct = make_function("construct", "\n".join([*lines, "    return o", ""]), namespace)
    return construct


def _default(number: int, field: Any, namespace: dict[str, Any]) -> str:
    if _is_constant(field) and type(value := field.get_default()) in _CONSTANTS:
        if field.has_default() and value is field.default:
            namespace[f"field{number}"] = field
            return f"field{number}.default"  # Django looks at it each time, too
        namespace[f"default{number}"] = value
        return f"default{number}"
    namespace[f"field{number}"] = field
    if type(field).get_default is Field.get_default and "get_default" not in vars(field):
        return f"field{number}._get_default()"
    return f"field{number}.get_default()"


def _is_constant(field: Any) -> bool:
    """Whether *field* has the same default for all objects, by methods of Django's alone."""
    kind = type(field)
    # Django keeps it there, too, once it has made it.
    made = vars(field).get("_get_default", Field)
    return (
        (not field.has_default() or not callable(field.default))
        and kind.get_default in _DJANGOS
        and "get_default" not in vars(field)
        and kind._get_default is _get_default
        and getattr(made, "__module__", None) in (Field.__module__, str.__module__)
    )


_get_default = vars(Field)["_get_default"]
_DJANGOS = (Field.get_default, ForeignKey.get_default, BinaryField.get_default)
