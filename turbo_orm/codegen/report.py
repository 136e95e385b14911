"""What the command tells about a run."""

from __future__ import annotations

from turbo_orm.codegen.generate import Plan

__all__ = ["summary"]

#: How many notes are spelled out before the rest is only counted.
_SHOWN_NOTES = 10


def summary(plan: Plan, *, written: bool, seconds: float) -> list[str]:
    """Return the lines of the summary: what was found, what changed, what stayed unknown."""
    models = [model for app in plan.schema.apps for model in app.models]
    fields = sum(len(model.fields) for model in models)
    notes = [note for app in plan.schema.apps for note in app.notes]
    changed = len(plan.changed)
    verb = "written" if written else "to write"
    subject = f"{_count(len(models), 'model')} with {_count(fields, 'field')}"
    where = _count(len(plan.schema.apps), "app")
    files = f"{_count(changed, 'file')} {verb}, {len(plan.files) - changed} unchanged"
    lines = [f"{subject} in {where}: {files}, {seconds:.1f} s."]
    lines += [f'note: {note}; give its type in TURBO_ORM["FIELD_TYPES"].' for note in notes[:_SHOWN_NOTES]]
    if len(notes) > _SHOWN_NOTES:
        lines.append(f"note: and {len(notes) - _SHOWN_NOTES} more fields are Any.")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
