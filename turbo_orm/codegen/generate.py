"""The whole pipeline: introspect, validate, render, plan the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turbo_orm.codegen import ir
from turbo_orm.codegen.facades import Facade
from turbo_orm.codegen.files import GeneratedFile, check_replaceable, check_syntax
from turbo_orm.codegen.introspect import Introspection
from turbo_orm.codegen.options import Options
from turbo_orm.codegen.render import Renderer
from turbo_orm.codegen.validate import validate
from turbo_orm.errors import CodegenError

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """All that a run would write, computed in memory."""

    schema: ir.Schema
    files: tuple[GeneratedFile, ...]

    @property
    def changed(self) -> tuple[GeneratedFile, ...]:
        return tuple(file for file in self.files if not file.is_current)


def make_plan(
    labels: Sequence[str], options: Options, progress: Callable[[str], None] = lambda label: None
) -> Plan:
    """Plan the facades of the apps called *labels*, of all apps if there are none.

    Raises `CodegenError` for what cannot be generated. Nothing is written.
    """
    introspection = Introspection(options)
    wanted = introspection.labels(labels)
    if not wanted:
        raise CodegenError(
            "No model of the project has an AsyncManager, so there is nothing to generate. "
            "Add `objects = AsyncManager()` to a model (from turbo_orm import AsyncManager)."
        )
    schema = introspection.read(wanted, progress)
    validate(schema)
    renderer = Renderer(options)
    files = tuple(
        file for app in schema.apps for file in _files(app, introspection.facades[app.label], renderer)
    )
    check_replaceable(files)
    plan = Plan(schema, files)
    check_syntax(plan.changed)
    return plan


def _files(app: ir.App, facade: Facade, renderer: Renderer) -> list[GeneratedFile]:
    planned = []
    for suffix, text in renderer.render(app).items():
        path = facade.path.with_suffix(suffix)
        planned.append(GeneratedFile(path, os.path.relpath(path), text))
    return planned
