"""The generator's settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.test import override_settings

from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.fields import FieldReader
from turbo_orm.codegen.options import Breadth, Options, load_options
from turbo_orm.codegen.render import Renderer
from turbo_orm.errors import CodegenError


@override_settings(TURBO_ORM={})
def test_defaults() -> None:
    assert load_options() == Options(depth=1, lookups=Breadth.COMMON)


@override_settings(TURBO_ORM={"CODEGEN": {"DEPTH": 2, "MODELS": {"a.B": {"depth": 0, "lookups": "all"}}}})
def test_settings_and_overrides() -> None:
    options = load_options(lookups="all", depth=None)
    assert (options.depth_of("a.A"), options.depth_of("a.B")) == (2, 0)
    assert options.breadth_of("a.A") is Breadth.ALL
    assert load_options(depth=3).depth == 3


@override_settings(TURBO_ORM={"CODEGEN": {"FACADES": {"auth": "x.auth"}}})
def test_facades_are_added_to_those_of_the_settings() -> None:
    assert load_options(facades={"sites": "x.sites"}).facades == {"auth": "x.auth", "sites": "x.sites"}


def test_digest_depends_on_what_the_output_does() -> None:
    assert Options().digest() == Options(templates="/here", facades={"auth": "x.auth"}).digest()
    assert Options().digest() != Options(depth=2).digest()
    assert Options().digest() != Options(field_types={"a.B": "c.D"}).digest()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"DEPHT": 2}, "no option 'DEPHT'. Known are: DEPTH,"),
        ({"DEPTH": -1}, "depth must be 0 or a positive integer, not -1"),
        ({"DEPTH": True}, "depth must be 0 or a positive integer, not True"),
        ({"LOOKUPS": "some"}, 'lookups must be "common" or "all", not \'some\''),
        ({"MODELS": {"a.B": {"deep": 1}}}, "no option 'deep'. Known are: depth, lookups"),
        ({"MODELS": {"a.B": {"depth": "1"}}}, "[\"MODELS\"]['a.B']: depth must be"),
    ],
)
def test_wrong_setting(setting: dict[str, Any], expected: str) -> None:
    with override_settings(TURBO_ORM={"CODEGEN": setting}), pytest.raises(CodegenError) as caught:
        load_options()
    assert expected in str(caught.value)


def test_templates_must_be_a_folder() -> None:
    with pytest.raises(CodegenError, match="'nowhere', which is not a folder"):
        Renderer(Options(templates="nowhere"))


def test_field_types_must_be_importable() -> None:
    options = Options(field_types={"django.db.models.fields.CharField": "no.such.Type"})
    reader = FieldReader(options, AnnotationReader(lambda model: "", {}))
    with pytest.raises(CodegenError, match=r"'no\.such\.Type', which cannot be imported"):
        reader.value_type(models.CharField())
