"""Introspects the columns of a model."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from functools import partialmethod
from inspect import getattr_static
from typing import Any

from django.db.models import NOT_PROVIDED, Field, Model
from django.db.models.fields.proxy import OrderWrt

from turbo_orm.codegen import ir
from turbo_orm.codegen.annotations import AnnotationReader, UnreadableAnnotation, is_importable
from turbo_orm.codegen.expressions import EXPR, builtin, generic, name, optional, ours, union, without_none
from turbo_orm.codegen.lookups import field_lookups
from turbo_orm.codegen.options import Breadth, Options
from turbo_orm.codegen.signatures import annotations_of
from turbo_orm.codegen.types import KNOWN_FIELDS, UNKNOWN, Family, ValueType, array_of, inline
from turbo_orm.errors import CodegenError

__all__ = ["FieldReader", "column_of"]


#: The classes of columns whose type has none of its own, by family.
_COLUMNS = {
    Family.TEXT: "TextColumn",
    Family.ORDERED: "OrderedColumn",
    Family.MEASURE: "OrderedColumn",
    Family.KEY: "OrderedColumn",
}


class FieldReader:
    """Turns Django's fields into `ir.Field`, and collects what stayed unknown."""

    def __init__(self, options: Options, annotations: AnnotationReader) -> None:
        self._options = options
        #: The entries of the option, by the field's class, however its path is written.
        self._configured = {_field_class(path): (path, to) for path, to in options.field_types.items()}
        self._annotations = annotations
        #: The columns described so far whose type nothing tells.
        self.unknown: list[ir.Unknown] = []
        self._lookups: dict[tuple[object, ...], tuple[ir.Lookup, ...]] = {}

    def columns(self, model: type[Model]) -> tuple[ir.Field, ...]:
        breadth = self._options.breadth_of(model._meta.label)
        return tuple(self._column(model, field, breadth) for field in model._meta.concrete_fields)

    def value_type(self, field: Any) -> ValueType:
        """Return the value type of *field*; of the key it holds, where it is a relation."""
        if field.is_relation:
            return self.value_type(field.target_field)
        if type(field).__name__ == "CompositePrimaryKey":
            parts = (self.value_type(part).read for part in field.fields)
            return inline(generic(builtin("tuple"), *parts), family=Family.KEY)
        return self._of_model_annotation(field) or self._of_class(field)

    def missing(self, field: Any) -> str:
        """Return the type of *field* in rows of a join which found none: of a composite key, each part."""
        if type(field).__name__ != "CompositePrimaryKey":
            return optional(self.value_type(field).read)
        return generic(builtin("tuple"), *(optional(self.value_type(part).read) for part in field.fields))

    def _column(self, model: type[Model], field: Field[Any, Any], breadth: Breadth) -> ir.Field:
        kind = self.value_type(field)
        if kind is UNKNOWN:
            self.unknown.append(ir.Unknown(f"{model._meta.label}.{field.name}", _path(type(field))))
        nullable = optional if field.null else union
        return ir.Field(
            name=field.name,
            attname=field.attname,
            read=nullable(kind.read) if not kind.row else kind.read,
            row=nullable(kind.row or kind.read),
            accept=nullable(kind.accept),
            update=nullable(kind.value if not field.is_relation else union(kind.accept, EXPR)),
            descriptor=bool(kind.row),
            null=field.null,
            required=_is_required(field, model),
            generated=bool(getattr(field, "generated", False)),
            has_display=isinstance(getattr_static(model, f"get_{field.name}_display", None), partialmethod),
            has_steps=field.get_internal_type() in ("DateField", "DateTimeField") and not field.null,
            help=str(field.help_text),
            lookups=self._lookups_of(field, kind, breadth),
            column=column_of(kind),
        )

    def _lookups_of(self, field: Any, kind: ValueType, breadth: Breadth) -> tuple[ir.Lookup, ...]:
        """Ask each class of fields once: most models have the same few."""
        if getattr(field, "instance_lookups", None):
            return field_lookups(field, kind, breadth, self.value_type)
        key = (type(field), kind.read, kind.value, field.null, field.primary_key, breadth)
        if key not in self._lookups:
            self._lookups[key] = field_lookups(field, kind, breadth, self.value_type)
        return self._lookups[key]

    def _of_class(self, field: Any) -> ValueType:
        for base in type(field).__mro__:
            path = _path(base)
            if base in self._configured:
                return _like_its_bases(type(field), _configured(*self._configured[base]))
            if path in KNOWN_FIELDS:
                return KNOWN_FIELDS[path]
            if path == "django.contrib.postgres.fields.array.ArrayField":
                return array_of(self.value_type(field.base_field), null=field.base_field.null)
            if path == "django.db.models.fields.generated.GeneratedField":
                return self.value_type(field.output_field)
            if "from_db_value" in vars(base):
                return self._of_converter(base, vars(base)["from_db_value"])
        return UNKNOWN

    def _of_converter(self, field_class: type[Any], converter: Any) -> ValueType:
        """Read the return annotation of a custom field's ``from_db_value``."""
        function = inspect.unwrap(getattr(converter, "__func__", converter))
        annotation = annotations_of(function).get("return") if inspect.isfunction(function) else None
        if annotation is None:
            return UNKNOWN
        try:
            read = without_none(self._annotations.read(annotation, getattr(function, "__globals__", {})))
        except UnreadableAnnotation:
            return UNKNOWN
        return _like_its_bases(field_class, read)

    def _of_model_annotation(self, field: Any) -> ValueType | None:
        """Read ``price: Money = MoneyField()`` in a model's body, where the field's class is custom."""
        model = getattr(field, "model", None)
        if model is None or _path(type(field)) in KNOWN_FIELDS:
            return None
        for base in model.__mro__:
            annotation = annotations_of(base).get(field.name)
            if annotation is None:
                continue
            try:
                namespace = vars(importlib.import_module(base.__module__))
                value = self._annotations.evaluate(annotation, namespace)
                if isinstance(value, type) and issubclass(value, Field):
                    return None
                return inline(without_none(self._annotations.read(value, namespace)))
            except UnreadableAnnotation:
                return None
        return None


def _like_its_bases(field_class: type[Any], read: str) -> ValueType:
    """Describe values of type *read* of a field which extends one that is known.

    It has the lookups of that one, and takes what that one takes.
    """
    known = next(
        (KNOWN_FIELDS[path] for path in map(_path, field_class.__mro__) if path in KNOWN_FIELDS), None
    )
    if known is None:
        return inline(read)
    if known.read == read and not known.row:
        return known
    own = inline(read, union(read, known.accept))
    return replace(own, family=known.family, arguments=known.arguments)


def _path(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def column_of(kind: ValueType) -> ir.Column:
    """Describe the columns of values of *kind*."""
    if kind.exact_column:
        return ir.Column(ours(kind.exact_column))
    shared = kind.shared_column or _COLUMNS.get(kind.family, "Column")
    return ir.Column(ours(shared), kind.row or kind.read, kind.value)


def _configured(field_path: str, type_path: str) -> str:
    """Return the expression of a dotted path in ``TURBO_ORM["FIELD_TYPES"]``."""
    where = f'TURBO_ORM["FIELD_TYPES"][{field_path!r}] is {type_path!r}'
    found = _import(type_path, where, 'a class, for example "shop.money.Money"')
    if isinstance(found, type) and is_importable(found):
        return name(found.__module__, found.__qualname__)
    module_path, _, qualname = type_path.rpartition(".")
    return name(module_path, qualname)


def _field_class(path: str) -> Any:
    """Return the class at a dotted path in ``TURBO_ORM["FIELD_TYPES"]``."""
    where, wanted = f'TURBO_ORM["FIELD_TYPES"] has {path!r}', "a field's class"
    found = _import(path, where, wanted)
    if not isinstance(found, type) or not issubclass(found, Field):
        raise CodegenError(f"{where}, which is not {wanted}.")
    return found


def _import(path: str, where: str, wanted: str) -> Any:
    try:
        return pkgutil.resolve_name(path if "." in path else f"builtins.{path}")
    except (ImportError, AttributeError, ValueError) as error:
        raise CodegenError(
            f"{where}, which cannot be imported ({error}). Give the dotted path of {wanted}."
        ) from error


def _is_required(field: Any, model: Any) -> bool:
    """Whether ``create()`` needs the field, because nothing else gives it a value."""
    supplied = (
        isinstance(field, OrderWrt)
        or field.name in _set_by_generic_keys(model)
        or field.null
        or field.blank
        or field.has_default()
        or getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
        or getattr(field, "generated", False)
        or getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
        or getattr(getattr(field, "remote_field", None), "parent_link", False)
    )
    return not supplied and not field.is_relation and _is_djangos(type(field).pre_save)


def _set_by_generic_keys(model: Any) -> set[str]:
    """The fields which assigning a ``GenericForeignKey`` sets."""
    return {
        name
        for field in model._meta.private_fields
        for name in (getattr(field, "ct_field", ""), getattr(field, "fk_field", ""))
    }


def _is_djangos(function: Any) -> bool:
    """A `pre_save` of somebody else's may make the value (a slug, an identifier)."""
    return str(function.__module__).startswith("django.")
