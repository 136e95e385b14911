"""Introspects the ways from a model to others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import ForeignObjectRel, Model

from turbo_orm.codegen import ir
from turbo_orm.codegen.fields import FieldReader
from turbo_orm.codegen.ir import RelationKind

__all__ = ["model_relations"]


def model_relations(model: type[Model], fields: FieldReader) -> tuple[ir.Relation, ...]:
    """Return the relations of *model*: forward in order of declaration, backward by name."""
    forward = list(_forward(model, fields))
    backward = sorted(_backward(model, fields), key=lambda relation: (relation.query_name, relation.name))
    return (*forward, *backward)


def _forward(model: type[Model], fields: FieldReader) -> Iterator[ir.Relation]:
    options: Any = model._meta
    for field in (*options.fields, *options.many_to_many, *options.private_fields):
        if not field.is_relation:
            continue
        if field.related_model is None:
            yield _relation(RelationKind.GENERIC_FOREIGN_KEY, field.name, "", None, True, fields, field.name)
        elif field.many_to_many:
            yield _relation(
                RelationKind.MANY_TO_MANY, field.name, field.name, field, True, fields, str(field.help_text)
            )
        elif field.one_to_many:
            yield _relation(RelationKind.GENERIC_RELATION, field.name, field.name, field, True, fields, "")
        elif field.concrete:
            kind = RelationKind.ONE_TO_ONE if field.one_to_one else RelationKind.FOREIGN_KEY
            yield _relation(kind, field.name, field.name, field, field.null, fields, str(field.help_text))


def _backward(model: type[Model], fields: FieldReader) -> Iterator[ir.Relation]:
    options: Any = model._meta
    for relation in options.related_objects:
        # The other side of a symmetrical relation to the model itself, or of a generic one without a name.
        if relation.hidden or relation.name.endswith("+"):
            continue
        if relation.many_to_many:
            kind = RelationKind.REVERSE_MANY_TO_MANY
        elif relation.one_to_one:
            kind = RelationKind.REVERSE_ONE_TO_ONE
        else:
            kind = RelationKind.REVERSE_FOREIGN_KEY
        # The other side of a generic relation has a name in lookups, and no attribute.
        accessor = "" if relation.field.one_to_many else relation.get_accessor_name() or ""
        yield _relation(kind, accessor, relation.name, relation, True, fields, "")


def _relation(
    kind: RelationKind, name: str, query_name: str, field: Any, null: bool, fields: FieldReader, doc: str
) -> ir.Relation:
    if field is None:
        return ir.Relation(kind, name, query_name, "", null, "", "", "")
    key = fields.value_type(_key_field(field))
    return ir.Relation(
        kind=kind,
        name=name,
        query_name=query_name,
        target=field.related_model._meta.label,
        null=null,
        key=key.value,
        key_accept=key.accept,
        help=doc,
        through=_through(field),
    )


def _through(field: Any) -> str:
    """The label of the model between those of a many-to-many relation, if it is hand-written."""
    relation: Any = field if isinstance(field, ForeignObjectRel) else field.remote_field
    options = getattr(getattr(relation, "through", None), "_meta", None)
    return "" if options is None or options.auto_created else str(options.label)


def _key_field(field: Any) -> Any:
    """The field of the other model whose value stands for a row in lookups."""
    if isinstance(field, ForeignObjectRel) or not field.concrete or field.many_to_many:
        return field.related_model._meta.pk
    return field.target_field
