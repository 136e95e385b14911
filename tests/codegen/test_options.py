"""The generator's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.test import override_settings

from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.fields import FieldReader
from turbo_orm.codegen.introspect import Introspection
from turbo_orm.codegen.option_sources import load_options
from turbo_orm.codegen.options import Breadth, Options
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


def test_digest_depends_on_what_the_output_does(tmp_path: Path) -> None:
    assert Options().digest() == Options(facades={"auth": "x.auth"}).digest()
    assert Options().digest() != Options(strict_relations=True).digest()
    for folder, text in (("one", "a"), ("same", "a"), ("other", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "row.pyi.j2").write_text(text)
    digests = {name: Options(templates=str(tmp_path / name)).digest() for name in ("one", "same", "other")}
    assert digests["one"] == digests["same"] != digests["other"] != Options().digest()
    assert Options().digest() != Options(depth=2).digest()
    assert Options().digest() != Options(field_types={"a.B": "c.D"}).digest()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"DEPHT": 2}, "no option 'DEPHT'. Known are: DEPTH,"),
        ({"DEPTH": -1}, "depth must be 0 or a positive integer, not -1"),
        ({"STRICT_RELATIONS": 1}, "strict_relations must be true or false, not 1"),
        ({"DEPTH": True}, "depth must be 0 or a positive integer, not True"),
        ({"LOOKUPS": "some"}, 'lookups must be "common" or "all", not \'some\''),
        ({"MODELS": {"a.B": {"deep": 1}}}, "no option 'deep'. Known are: depth, lookups"),
        ({"MODELS": {"a.B": {"depth": "1"}}}, "MODELS['a.B']: depth must be"),
        ({"MODELS": ["a.B"]}, "MODELS must be a mapping such as"),
        ({"FACADES": {"auth": 1}}, "FACADES must be a mapping such as"),
        ({"TEMPLATES": 3}, 'TURBO_ORM["CODEGEN"]: TEMPLATES must be the path of a folder, not 3'),
        (None, 'TURBO_ORM["CODEGEN"] must be a mapping such as {"DEPTH": 2}, not None'),
        (["DEPTH"], 'TURBO_ORM["CODEGEN"] must be a mapping such as'),
    ],
)
def test_wrong_setting(setting: dict[str, Any], expected: str) -> None:
    with override_settings(TURBO_ORM={"CODEGEN": setting}), pytest.raises(CodegenError) as caught:
        load_options()
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "TURBO_ORM must be a mapping such as"),
        ({"FIELD_TYPES": ["x"]}, "TURBO_ORM: FIELD_TYPES must be a mapping such as"),
    ],
)
def test_wrong_settings_around_them(setting: Any, expected: str) -> None:
    with override_settings(TURBO_ORM=setting), pytest.raises(CodegenError) as caught:
        load_options()
    assert str(caught.value).startswith(expected)


@pytest.fixture
def pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's pyproject.toml, without the table so far."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.other]\n")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    return path


TABLE = """
[tool.turbo_orm]
depth = 2
lookups = "all"
templates = "own"
facades = { auth = "x.auth" }
[tool.turbo_orm.models]
"a.B" = { depth = 0 }
[tool.turbo_orm.field-types]
"a.F" = "a.T"
"""


@override_settings(TURBO_ORM={})
def test_pyproject(pyproject: Path) -> None:
    assert load_options() == Options()
    pyproject.write_text(TABLE)
    assert load_options() == Options(
        depth=2,
        lookups=Breadth.ALL,
        models={"a.B": {"depth": 0}},
        facades={"auth": "x.auth"},
        templates=str(pyproject.parent / "own"),
        field_types={"a.F": "a.T"},
    )


@override_settings(TURBO_ORM={"CODEGEN": {"DEPTH": 3, "MODELS": {"a.C": {"depth": 1}}}})
def test_the_command_line_comes_before_the_settings_and_those_before_pyproject(pyproject: Path) -> None:
    pyproject.write_text(TABLE)
    options = load_options()
    assert (options.depth, options.lookups) == (3, Breadth.ALL)
    assert (options.depth_of("a.B"), options.depth_of("a.C")) == (0, 1)
    assert load_options(depth=4, lookups="common").depth == 4
    assert load_options(depth=4, lookups="common").lookups is Breadth.COMMON


@override_settings(TURBO_ORM={})
def test_the_nearest_pyproject_with_the_table_counts(pyproject: Path) -> None:
    pyproject.write_text(TABLE)
    inner = pyproject.parent / "inner" / "pyproject.toml"
    inner.write_text("[project]\nname = 'inner'\n")
    assert load_options().depth == 2
    inner.write_text("[tool.turbo_orm]\ndepth = 0\n")
    assert load_options() == Options(depth=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[tool.turbo_orm]\ndepht = 2\n",
            "pyproject.toml: [tool.turbo_orm] has no option 'depht'",
        ),
        ("[tool.turbo_orm]\ndepth = -1\n", "[tool.turbo_orm]: depth must be 0 or a positive integer, not -1"),
        ("[tool.turbo_orm]\nmodels = 3\n", "[tool.turbo_orm]: models must be a mapping such as"),
        ('[tool.turbo_orm.models]\n"a.B" = {deep = 1}\n', "models['a.B'] has no option 'deep'"),
        ("[tool.turbo_orm\n", "pyproject.toml cannot be read: "),
        ("[tool]\nturbo_orm = 3\n", "pyproject.toml: tool.turbo_orm must be a mapping such as"),
        ("[tool.turbo_orm]\ntemplates = 3\n", "templates must be the path of a folder, not 3"),
    ],
)
@override_settings(TURBO_ORM={})
def test_wrong_pyproject(pyproject: Path, text: str, expected: str) -> None:
    pyproject.write_text(text)
    with pytest.raises(CodegenError) as caught:
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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("django.db.models.fields.ChrField", "which cannot be imported"),
        ("django.db.models.Model", "which is not a field's class"),
    ],
)
def test_field_types_are_of_fields(path: str, expected: str) -> None:
    with pytest.raises(CodegenError, match=expected):
        FieldReader(Options(field_types={path: "int"}), AnnotationReader(lambda model: "", {}))


def test_field_types_take_any_path_to_the_field() -> None:
    options = Options(field_types={"django.db.models.CharField": "int"})
    reader = FieldReader(options, AnnotationReader(lambda model: "", {}))
    assert reader.value_type(models.CharField()).read == "{:int}"


def test_options_of_models_are_of_models_that_are_there() -> None:
    with pytest.raises(CodegenError, match=r"no model 'library\.Bok'.* Did you mean 'library\.Book'\?"):
        Introspection(Options(models={"library.Bok": {"depth": 2}}))
