"""The columns of a compiled query as local variables of a generated function, converted."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import connections
from django.db.models import DateTimeField, DecimalField, JSONField
from django.db.models.expressions import BaseExpression, Col

from turbo_orm.db.late import FROM_TEXT, NUMERIC, TIMESTAMPTZ
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["RowColumns", "returned_columns"]

#: What a JSON value is parsed with when its field names no decoder.
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

#: Fields whose columns may be left texts, and the oids of their types.
_LATE = ((DecimalField, NUMERIC), (DateTimeField, TIMESTAMPTZ))

_array_from_db_value = vars(ArrayField)["_from_db_value"]

#: How `BaseExpression.convert_value` converts, by the end of the output field's internal type.
_CASTS: dict[str, tuple[str, type]] = {
    "FloatField": ("float", float),
    "IntegerField": ("int", int),
    "DecimalField": ("Decimal", Decimal),
}


class _Conversion(NamedTuple):
    """How a column is converted."""

    position: int
    #: Statements for one row.
    lines: Sequence[str]
    #: An expression for the converted values of the column in all ``rows``; None if there is none.
    together: str | None = None


class RowColumns:
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
        self._conversions: list[_Conversion] = []
        #: The oids of the types of columns that may be left texts, by position.
        self.late: dict[int, int] = {}
        found = compiler.get_converters(expressions)
        #: Whether any column is converted: Django's rows are lists then.
        self.converts = bool(found)
        for position, (converters, expression) in found.items():
            for converter in converters:
                self._convert(position, converter, expression, alone=len(converters) == 1)

    def leave_texts(self, expressions: Sequence[Any]) -> None:
        """Expect texts in columns of *expressions*, which are all, if no converter looks at them."""
        converted = {conversion.position for conversion in self._conversions}
        for position, expression in enumerate(expressions):
            if type(expression) is Col and position not in converted:
                field = expression.output_field
                oid = next((oid for kind, oid in _LATE if isinstance(field, kind)), None)
                if oid in FROM_TEXT:
                    self.late[position] = oid

    def value(self, position: int) -> str:
        """Return the expression for the value of the column at *position*, in generated code."""
        column = f"c{position}"
        if position not in self.late:
            return column
        oid = self.late[position]
        self.namespace[f"type_{oid}"] = FROM_TEXT[oid]
        return f"type_{oid}({column}) if type({column}) is str else {column}"

    @property
    def conversions(self) -> list[str]:
        """Statements for one row, indented by nothing."""
        return [line for conversion in self._conversions for line in conversion.lines]

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

    def for_each_row(self, body: Sequence[str], *, many: bool) -> list[str]:
        """Return statements which execute *body* for each of ``rows``, with its columns converted.

        With *many*, columns are converted for all rows together where that is possible.
        """
        together = [each for each in self._conversions if many and each.together is not None]
        by_row = [line for each in self._conversions if each not in together for line in each.lines]
        if together:
            columns = ", ".join([f"({self.targets})", *(f"c{each.position}" for each in together)])
            values = ", ".join(["rows", *(str(each.together) for each in together)])
            header = f"for {columns} in zip({values}, strict=True):"
        else:
            header = f"for {self.targets} in rows:"
        return [header, *(f"    {line}" for line in (*by_row, *body))]

    def function(self, expression: str) -> tuple[Callable[..., list[Any]], str]:
        """Return the function that makes a list of *expression* for each row, and its source."""
        if self._conversions:
            statements = [
                *self.setup,
                "loaded = []",
                "add = loaded.append",
                *self.for_each_row([f"add({expression})"], many=True),
                "return loaded",
            ]
            lines = ["def load(rows, db, fetch_mode, peers):", *(f"    {line}" for line in statements)]
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

    def _convert(self, position: int, converter: Any, expression: Any, *, alone: bool) -> None:
        column = f"c{position}"
        function = getattr(converter, "__func__", None)
        owner = getattr(converter, "__self__", None)
        if _ignores_connection(function, owner) and function is JSONField.from_db_value:
            self._conversions.append(self._parse_json(position, converter, expression, alone=alone))
        elif (found := _cast(converter, expression)) is not None:
            name, kind = found
            self.namespace[name] = kind
            # A value that has the type stays as it is: the constructor would return it.
            cast = (
                f"if {column} is not None and {column}.__class__ is not {name}: {column} = {name}({column})"
            )
            self._conversions.append(_Conversion(position, [cast]))
        else:
            call = f"{self.name('convert', converter)}({column}, {self.name('expression', expression)}"
            if _ignores_connection(function, owner):
                call += ", None)"
            else:
                self.calls_user_code = True
                self.namespace["connections"] = connections
                call += ", connection)"
            self._conversions.append(_Conversion(position, [f"{column} = {call}"]))

    def _parse_json(self, position: int, converter: Any, expression: Any, *, alone: bool) -> _Conversion:
        """The quick way for what PostgreSQL sends, which has no blanks around it."""
        column = f"c{position}"
        self.namespace["scan"] = _scan
        call = f"{self.name('convert', converter)}({column}, {self.name('expression', expression)}, None)"
        lines = [
            f"if {column} is not None:",
            "    try:",
            f"        parsed, end = scan({column}, 0)",
            f"        {column} = parsed if end == len({column}) else {call}",
            "    except Exception:",
            f"        {column} = {call}",
        ]
        if not alone or type(expression) is not Col:
            return _Conversion(position, lines)
        self.namespace["parse_together"] = _parse_together
        one = self.name("parse_one", lambda text: converter(text, expression, None))
        return _Conversion(position, lines, f"parse_together([row[{position}] for row in rows], {one})")


def returned_columns(compiler: Any) -> RowColumns:
    """Return the columns that the INSERT or UPDATE of *compiler* returns."""
    table = compiler.query.get_meta().db_table
    return RowColumns(compiler, [field.get_col(table) for field in compiler.returning_fields])


#: Stands between the values of a column when they are parsed together. It is not to be guessed:
#: a value could pretend to be two then, and another two to be one, if they are not known to be JSON.
_BETWEEN = secrets.token_hex(8)
_JOIN = f',"{_BETWEEN}",'


#: So many at once: there is a copy of their texts meanwhile.
_TOGETHER = 100


def _parse_together(texts: list[Any], one: Callable[[Any], Any]) -> list[Any]:
    """Return the parsed JSON *texts*, some of which may be None, as *one* parses one of them."""
    if len(texts) > _TOGETHER:
        parts = [texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER)]
        return [value for part in parts for value in _parse_together(part, one)]
    try:
        try:
            text = f"[{_JOIN.join(texts)}]"
        except TypeError:
            text = f"[{_JOIN.join(['null' if each is None else each for each in texts])}]"
        parsed, end = _scan(text, 0)
        gaps = len(texts) - 1
        if end == len(text) and len(parsed) == len(texts) + gaps and parsed[1::2].count(_BETWEEN) == gaps:
            values: list[Any] = parsed[::2]
            return values
    except Exception:  # one of them is no JSON, is nested too deeply, or has too long a number
        return [*map(one, texts)]
    return [*map(one, texts)]


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
