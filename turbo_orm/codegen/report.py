"""What the command tells about a run: sentences for people, or JSON for programs."""

from __future__ import annotations

import json

from turbo_orm.codegen import ir
from turbo_orm.codegen.generate import Plan

__all__ = ["as_json", "summary"]


def summary(plan: Plan, *, written: bool, seconds: float) -> list[str]:
    """Return the lines of the summary: what was found, what changed, what stayed unknown."""
    models = _models(plan)
    fields = sum(len(model.fields) for model in models)
    changed = len(plan.changed)
    subject = f"{_count(len(models), 'model')} with {_count(fields, 'field')}"
    where = _count(len(plan.schema.apps), "app")
    verb = "written" if written else "to write"
    files = f"{_count(changed, 'file')} {verb}, {len(plan.files) - changed} unchanged"
    return [f"{subject} in {where}: {files}, {seconds:.1f} s.", *_notes(plan)]


def _notes(plan: Plan) -> list[str]:
    """One line for each class of fields whose type nothing tells."""
    by_class: dict[str, list[str]] = {}
    for unknown in _unknown(plan):
        by_class.setdefault(unknown.field_class, []).append(unknown.field)
    return [
        f"note: {field_class} is Any ({_enumerate(fields)}): "
        f'give its type in TURBO_ORM["FIELD_TYPES"], or annotate its from_db_value().'
        for field_class, fields in sorted(by_class.items())
    ]


def as_json(plan: Plan, *, seconds: float) -> str:
    """Return the same facts as JSON."""
    models = _models(plan)
    changed = {file.path for file in plan.changed}
    facts = {
        "apps": [app.label for app in plan.schema.apps],
        "models": len(models),
        "fields": sum(len(model.fields) for model in models),
        "unknown": [{"field": found.field, "class": found.field_class} for found in _unknown(plan)],
        "files": [{"path": file.shown, "changed": file.path in changed} for file in plan.files],
        "seconds": round(seconds, 3),
    }
    return json.dumps(facts, indent=2)


def _models(plan: Plan) -> list[ir.Model]:
    return [model for app in plan.schema.apps for model in app.models]


def _unknown(plan: Plan) -> list[ir.Unknown]:
    return [unknown for app in plan.schema.apps for unknown in app.unknown]


def _enumerate(fields: list[str]) -> str:
    more = f" and {len(fields) - 1} more" if len(fields) > 1 else ""
    return fields[0] + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
