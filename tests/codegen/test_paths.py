"""Paths across relations."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from turbo_orm.codegen import ir
from turbo_orm.codegen.ir import Reach, RelationKind
from turbo_orm.codegen.paths import lookup_keywords, relation_paths, value_paths


def model(label: str, columns: list[ir.Field], relations: list[ir.Relation]) -> ir.Model:
    exact = ir.Lookup("", "{:int}", Reach.FAR)
    return ir.Model(
        label=label,
        name=label.partition(".")[2],
        module="x",
        qualname="x",
        doc="",
        facade="x.turbo",
        prefix="x",
        is_importable=True,
        key_read="{:int}",
        key_missing="{:int} | None",
        key_accept="{:int}",
        key_lookups=(exact,),
        key_column=ir.Column("{IntColumn}"),
        parents=(),
        fields=tuple(columns),
        relations=tuple(relations),
        managers=(),
        members=(),
        is_ordered=False,
        orders=(),
        overridden=(),
    )


def column(name: str, *, null: bool = False, attname: str = "") -> ir.Field:
    row = "{:int} | None" if null else "{:int}"
    return ir.Field(
        name=name,
        attname=attname or name,
        read=row,
        row=row,
        accept=row,
        update=row,
        descriptor=False,
        null=null,
        required=True,
        generated=False,
        has_display=False,
        has_steps=False,
        help="",
        lookups=(
            ir.Lookup("", row, Reach.FAR),
            ir.Lookup("lt", row, Reach.NEXT),
            ir.Lookup("range", "{R}", Reach.OWN),
        ),
        column=ir.Column("{IntColumn}"),
    )


def relation(kind: RelationKind, name: str, target: str, *, null: bool = False) -> ir.Relation:
    return ir.Relation(kind, name, name, target, null, "{:int}", "{:int}", "")


BOOK = model(
    "a.Book",
    [column("title"), column("author", attname="author_id", null=True)],
    [
        relation(RelationKind.FOREIGN_KEY, "author", "a.Author", null=True),
        relation(RelationKind.REVERSE_FOREIGN_KEY, "reviews", "a.Review"),
    ],
)
AUTHOR = model("a.Author", [column("age")], [relation(RelationKind.REVERSE_FOREIGN_KEY, "books", "a.Book")])
REVIEW = model(
    "a.Review",
    [column("book", attname="book_id")],
    [relation(RelationKind.FOREIGN_KEY, "book", "a.Book")],
)
MODELS = {entry.label: entry for entry in (BOOK, AUTHOR, REVIEW)}


def keywords(depth: int) -> list[str]:
    return [keyword.name for group in lookup_keywords(BOOK, MODELS, depth) for keyword in group]


def test_own_fields_and_relations_at_depth_0() -> None:
    assert keywords(0) == [
        "pk",
        "title",
        "title__lt",
        "title__range",
        "author_id",
        "author_id__lt",
        "author_id__range",
        "author",
        "author__in",
        "author__isnull",
        "reviews",
        "reviews__in",
        "reviews__isnull",
    ]


def test_the_farther_a_field_the_fewer_lookups() -> None:
    found = keywords(1)
    assert {"author__pk", "author__age", "reviews__book_id"} <= set(found)
    assert "author__age__lt" in found
    assert "author__age__range" not in found
    assert "reviews__book_id__lt" not in found


def test_a_backward_relation_at_the_end_of_a_path_is_crossed_too() -> None:
    assert "author__books" not in keywords(1)
    assert {"author__books", "author__books__in"} <= set(keywords(2))


def test_behind_two_relations_a_column_has_one_name() -> None:
    found = keywords(2)
    assert {"reviews__book__title", "reviews__book__author"} <= set(found)
    assert not {"reviews__book__pk", "reviews__book__author_id"} & set(found)
    paths = [path.name for path in value_paths(BOOK, MODELS, 2)]
    assert {"reviews__book__title", "reviews__book__author", "reviews__book_id"} <= set(paths)
    assert not {"reviews__book__pk", "reviews__book__author_id"} & set(paths)


def test_only_the_first_relation_of_a_path_may_be_a_backward_one() -> None:
    found = keywords(2)
    assert "reviews__book__title" in found
    assert "author__books__title" not in found


def test_each_keyword_once() -> None:
    assert len(keywords(2)) == len(set(keywords(2)))


def test_values_across_a_nullable_relation_may_be_none() -> None:
    values = {path.name: path.value for path in value_paths(BOOK, MODELS, 1)}
    assert values["title"] == "{:int}"
    assert values["author__age"] == "{:int} | None"
    assert next(iter(values)) == "pk"


def test_relations_to_select_and_to_prefetch() -> None:
    assert relation_paths(BOOK, MODELS, 1, only_one=True) == ["author"]
    assert relation_paths(BOOK, MODELS, 1, only_one=False) == [
        "author",
        "author__books",
        "reviews",
        "reviews__book",
    ]


def test_ir_is_frozen_and_readable_as_json() -> None:
    app = ir.App("a", "a.turbo", (BOOK,), (AUTHOR,), ())
    assert json.loads(ir.dump(app))["models"][0]["relations"][0]["kind"] == "foreign_key"
    with pytest.raises(FrozenInstanceError):
        app.label = "b"  # type: ignore[misc]
    classes = [entry for entry in vars(ir).values() if is_dataclass(entry)]
    assert len(classes) >= 8
    allowed = ("str", "bool", "tuple", "RelationKind", "Reach", "Column", "Method")
    assert all(str(field.type).startswith(allowed) for entry in classes for field in fields(entry))
