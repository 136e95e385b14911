"""Names in a facade."""

from __future__ import annotations

from turbo_orm.codegen.naming import ModelNames, choose_prefixes, name_managers, name_types


def test_prefix_is_the_model() -> None:
    assert choose_prefixes(["Author", "Book"]) == ["Author", "Book"]


def test_prefix_is_escaped_where_another_model_has_one_of_the_names() -> None:
    assert choose_prefixes(["Book", "BookRow", "BookManager"]) == ["Book_", "BookRow", "BookManager"]


def test_names() -> None:
    names = ModelNames("Book", "Book_")
    assert names["Row"] == "Book_Row"
    assert names["_Optional"] == "_Book_Optional"
    assert names.of_manager("ByTag", "Manager") == "Book_ByTagManager"


def test_managers_are_named_by_their_words_and_each_differently() -> None:
    assert name_managers(["by_tag", "byTag", "published"]) == ["ByTag", "ByTag_", "Published"]


def test_managers_are_escaped_where_the_model_has_one_of_the_names() -> None:
    assert name_managers(["many", "related", "rows"]) == ["Many_", "Related_", "Rows"]


def test_types_are_named_by_their_words_and_each_differently() -> None:
    assert name_types("_", ["str", "str | None", "dict[str, int]", "dict[str | int]"]) == [
        "_Str",
        "_StrNone",
        "_DictStrInt",
        "_DictStrInt2",
    ]
