"""The columns of a compiled query as local variables of a generated function, converted."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connections
from django.db.models import JSONField
from django.db.models.expressions import BaseExpression

from turbo_orm.plans.functions import make_function
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["Columns"]

#: What a JSON value is parsed with when its field names no decoder.
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_array_from_db_value = vars(ArrayField)["_from_db_value"]

#: How `BaseExpression.convert_value` converts, by the end of the output field's internal type.
_CASTS: dict[str, tuple[str, type]] = {
    "FloatField": ("float", float),
    "IntegerField": ("int", int),
    "DecimalField": ("Decimal", Decimal),
}


class Columns:
    """Unpacks rows into ``c0``, ``c1``... and applies what `SQLCompiler.apply_converters` would.

    The columns are *expressions*, by default all that the query of *compiler* selects.
    """

    def __init__(self, compiler: Any, expressions: list[Any] | None = None) -> None:
        self._hidden = expressions is None and compiler.has_extra_select
        if expressions is None:
            expressions = [selected[0] for selected in compiler.select[: compiler.col_count]]
        has_composite_fields = getattr(compiler, "has_composite_fields", None)
        if has_composite_fields is not None and has_composite_fields(expressions):
            raise Unsupported("a composite key is selected")
        #: How many columns the caller sees.
        self.count = len(expressions)
        #: Globals of the function.
        self.namespace: dict[str, Any] = {}
        #: Whether a converter may look at the connection: the project's, and a few of Django's.
        self.calls_user_code = False
        #: Statements, indented by nothing.
        self.conversions: list[str] = []
        for position, (converters, expression) in compiler.get_converters(expressions).items():
            for converter in converters:
                self._convert(position, converter, expression)

    @property
    def setup(self) -> list[str]:
        """Statements before the loop."""
        return ["connection = connections[db]"] if self.calls_user_code else []

    @property
    def targets(self) -> str:
        """What a row is unpacked into. Columns that are only sorted by come last and are dropped."""
        shown = "".join(f"c{position}, " for position in range(self.count))
        return f"{shown}*_" if self._hidden else shown.rstrip()

    def name(self, prefix: str, value: Any) -> str:
        """Return the global name, new and starting with *prefix*, of *value*."""
        name = f"{prefix}{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def function(self, expression: str) -> tuple[Callable[..., list[Any]], str]:
        """Return the function that makes a list of *expression* for each row, and its source."""
        if self.conversions:
            lines = [
                "def load(rows, db, fetch_mode, peers):",
                *(f"    {line}" for line in self.setup),
                "    loaded = []",
                "    add = loaded.append",
                f"    for {self.targets} in rows:",
                *(f"        {line}" for line in self.conversions),
                f"        add({expression})",
                "    return loaded",
            ]
        else:
            whole = "(" + "".join(f"c{position}, " for position in range(self.count)) + ")"
            comprehension = (
                "list(rows)"
                if expression == whole and not self._hidden
                else f"[{expression} for {self.targets} in rows]"
            )
            lines = ["def load(rows, db, fetch_mode, peers):", f"    return {comprehension}"]
        source = "\n".join([*lines, ""])
        return make_function("load", source, self.namespace), source

    def _convert(self, position: int, converter: Any, expression: Any) -> None:
        column = f"c{position}"
        function = getattr(converter, "__func__", None)
        owner = getattr(converter, "__self__", None)
        if _ignores_connection(function, owner) and function is JSONField.from_db_value:
            self._parse_json(column, converter, expression)
        elif (cast := _cast(converter, expression)) is not None:
            name, kind = cast
            self.namespace[name] = kind
            # A value that has the type stays as it is: the constructor would return it.
            self.conversions.append(
                f"if {column} is not None and {column}.__class__ is not {name}: {column} = {name}({column})"
            )
        else:
            call = f"{self.name('convert', converter)}({column}, {self.name('expression', expression)}"
            if _ignores_connection(function, owner):
                self.conversions.append(f"{column} = {call}, None)")
            else:
                self.calls_user_code = True
                self.namespace["connections"] = connections
                self.conversions.append(f"{column} = {call}, connection)")

    def _parse_json(self, column: str, converter: Any, expression: Any) -> None:
        """The quick way for what PostgreSQL sends, which has no blanks around it."""
        self.namespace["scan"] = _scan
        call = f"{self.name('convert', converter)}({column}, {self.name('expression', expression)}, None)"
        self.conversions += [
            f"if {column} is not None:",
            "    try:",
            f"        parsed, end = scan({column}, 0)",
            f"        {column} = parsed if end == len({column}) else {call}",
            "    except Exception:",
            f"        {column} = {call}",
        ]


def _cast(converter: Any, expression: Any) -> tuple[str, type] | None:
    """The type *converter* calls, if it is `BaseExpression.convert_value`."""
    declared = next(
        (vars(cls)["convert_value"] for cls in type(expression).__mro__ if "convert_value" in vars(cls)), None
    )
    if declared is not vars(BaseExpression)["convert_value"] or converter is not expression.convert_value:
        return None
    internal_type = expression.output_field.get_internal_type()
    return next((cast for ending, cast in _CASTS.items() if internal_type.endswith(ending)), None)


def _ignores_connection(function: Any, owner: Any) -> bool:
    """Whether a converter is one of Django's that look at the value only."""
    if function is _array_from_db_value:
        base = owner.base_field.from_db_value
        return _ignores_connection(getattr(base, "__func__", None), getattr(base, "__self__", None))
    return function is JSONField.from_db_value and owner.decoder is None
