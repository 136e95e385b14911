"""Fills an application's tables and compares what its rows hold with the generated types.

Run as a program in the application's environment: ``python -m devtools.types.rows``. It prints JSON:
how many models had a row, how many attributes were compared, and which were of another type.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import django
from django.db import transaction

__all__ = ["Rows", "compare", "main"]

#: How deep foreign keys are followed to make rows for rows.
_DEPTH = 6


class Rows:
    """Makes rows of any model, with every field filled that can be."""

    def __init__(self) -> None:
        self._number = 0
        self._made: dict[Any, Any] = {}

    def of(self, model: Any, depth: int = 0) -> Any:
        """Return a stored row of *model*, the same at each call; ``None`` where that is too deep."""
        if model not in self._made:
            if depth > _DEPTH:
                return None
            self._made[model] = self._make(model, depth)
        return self._made[model]

    def _make(self, model: Any, depth: int) -> Any:
        values: dict[str, Any] = {}
        parents = [link for link in model._meta.parents.values() if link is not None]
        for link in parents:  # tables of multi-table inheritance
            parent = self._make(link.related_model, depth)
            values |= {
                field.attname: getattr(parent, field.attname) for field in parent._meta.concrete_fields
            }
            values[link.attname] = parent.pk
        for field in model._meta.local_concrete_fields:
            if field in parents or "AutoField" in field.get_internal_type():
                continue
            if field.is_relation:
                target = None if field.null and depth > 1 else self.of(field.related_model, depth + 1)
                values[field.attname] = (
                    None if target is None else getattr(target, field.target_field.attname)
                )
            elif not field.has_default() or field.unique:
                values[field.attname] = self._value(field)
        row = model(**values)
        with transaction.atomic():
            row.save_base(raw=True, force_insert=True)  # this table only, and nothing for signals to act on
        return row

    def _value(self, field: Any) -> Any:
        self._number += 1
        number = self._number
        if field.choices:
            return next(iter(field.flatchoices))[0]
        if type(field).__name__ == "StreamField":
            return "[]"
        kind = field.get_internal_type()
        values = {
            "BooleanField": True,
            "DateField": dt.date(2020, 1, 1) + dt.timedelta(number),
            "DateTimeField": dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(number),
            "DecimalField": Decimal(1),
            "DurationField": dt.timedelta(number),
            "FloatField": 1.5,
            "GenericIPAddressField": "127.0.0.1",
            "JSONField": {"a": number},
            "TimeField": dt.time(1),
            "UUIDField": uuid.uuid4(),
            "EmailField": f"x{number}@example.org",
            "URLField": f"https://example.org/{number}",
        }
        if kind in values:
            return values[kind]
        if "Integer" in kind:
            return number
        return f"x{number}"[-(field.max_length or 9) :]


def compare() -> dict[str, Any]:
    """Make and load a row of each model, and compare every attribute with its declared type."""
    from django.apps import apps

    from devtools.types.values import evaluate, holds
    from turbo_orm.codegen.introspect import Introspection
    from turbo_orm.codegen.option_sources import load_options

    introspection = Introspection(load_options(facades=_facades()))
    schema = introspection.read(introspection.labels([]))
    rows, compared, wrong, without = Rows(), 0, [], []
    models = {
        model._meta.label: model for facade in introspection.facades.values() for model in facade.models
    }
    for described in (model for app in schema.apps for model in app.models):
        model = models[described.label]
        try:
            key = rows.of(model).pk
        except Exception as error:  # constraints that only the application knows how to meet
            key = model._base_manager.values_list("pk", flat=True).first()
            if key is None:
                without.append(f"{described.label}: {error}".split("\n")[0])
                continue
        row = model._base_manager.get(pk=key)
        values = model._base_manager.filter(pk=key).values().get()
        for field in described.fields:
            for value, declared in (
                (getattr(row, field.attname), field.read),
                (values[field.attname], field.row),
            ):
                compared += 1
                if not holds(value, evaluate(declared)):
                    wrong.append(f"{described.label}.{field.attname} is {value!r}, declared {declared}")
        for relation in described.relations:
            if relation.kind.is_forward_one and getattr(row, relation.name) is not None:
                compared += 1
                target = apps.get_model(relation.target)
                if not isinstance(getattr(row, relation.name), target):
                    wrong.append(f"{described.label}.{relation.name} is {getattr(row, relation.name)!r}")
    return {"models": len(models) - len(without), "compared": compared, "wrong": wrong, "without": without}


def _facades() -> dict[str, str]:
    """The facades in the package ``facades``, by app."""
    import pkgutil

    package = importlib.import_module("facades")
    return {found.name: f"facades.{found.name}" for found in pkgutil.iter_modules(package.__path__)}


def main() -> None:
    """Create the tables, fill them, compare, and run the right lines of the page of queries."""
    django.setup()
    for facade in _facades().values():
        importlib.import_module(facade)
    from django.apps import apps
    from django.core.management import call_command

    own = [config.label for config in apps.get_app_configs() if Path(config.path).parent == Path.cwd()]
    if own:
        call_command("makemigrations", *own, verbosity=0)
    call_command("migrate", verbosity=0)
    found = compare()
    queries = importlib.import_module("queries")
    asyncio.run(queries.right())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
