"""Refuses models which generated code can't describe, before anything is rendered."""

from __future__ import annotations

from collections.abc import Iterator

from turbo_orm.codegen import ir
from turbo_orm.codegen.naming import MANAGER_SUFFIXES, PUBLIC_SUFFIXES, ModelNames, is_name
from turbo_orm.errors import CodegenError

__all__ = ["validate"]


def validate(schema: ir.Schema) -> None:
    """Raise `CodegenError` with every problem of the schema, one on a line."""
    problems = [problem for app in schema.apps for problem in _problems(app)]
    if problems:
        raise CodegenError("\n".join(problems))


def _problems(app: ir.App) -> Iterator[str]:
    owners: dict[str, str] = {}
    for model in app.models:
        yield from _model_problems(model)
        for generated in _names(model):
            other = owners.setdefault(generated, model.label)
            if other != model.label:
                yield (
                    f"{model.label} and {other} would both make the name {generated} in {app.facade}. "
                    "Rename one of the models, or the manager it comes from."
                )


def _names(model: ir.Model) -> Iterator[str]:
    names = ModelNames(model.name, model.prefix)
    yield model.name
    yield from (names[suffix] for suffix in PUBLIC_SUFFIXES)
    for manager in model.managers[1:]:
        yield from (names.of_manager(manager.words, suffix) for suffix in MANAGER_SUFFIXES)


def _model_problems(model: ir.Model) -> Iterator[str]:
    if not model.is_importable:
        yield (
            f"{model.label} has an AsyncManager, but {model.module}.{model.qualname} does not lead to it, so "
            "generated code cannot import it. Define the model at the top level of its module."
        )
    if "." in model.qualname:
        outer = model.qualname.rpartition(".")[0]
        yield f"{model.label} is defined inside {outer}. Move it to the top level of its module."
    for field in model.fields:
        for spelled in dict.fromkeys((field.name, field.attname)):
            if not is_name(spelled):
                yield (
                    f"{model.label} has a field {spelled!r}, which is not a Python name. "
                    "Rename it and keep the column with db_column."
                )
