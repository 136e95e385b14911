"""Columns as attributes: ``b = Book.objects.columns``, then ``b.author.name.icontains("le")``.

A `Column` is Django's `F` with the path of the attributes that led to it, so it stands wherever an
expression may; its comparisons make `Q` objects. The SQL is what the path as a string would give.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Model, Q
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col
from django.db.models.lookups import Transform

__all__ = ["Column", "Columns", "paths_of"]


class Columns:
    """The columns of a model as attributes, and its relations as the columns of others.

    Names are those of lookups: ``columns.reviews.stars`` is what ``"reviews__stars"`` is in
    ``filter()``. Raises `AttributeError` for a name the model does not have.
    """

    __slots__ = ("__model", "__path", "__root")

    # Names no field can have: those of Django's fields have no double underscore.
    def __init__(self, model: type[Model], root: type[Model] | None = None, path: str = "") -> None:
        self.__model = model
        self.__root = root or model
        self.__path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        options: Any = self.__model._meta
        path = f"{self.__path}{LOOKUP_SEP}{name}" if self.__path else name
        try:
            field = options.pk if name == "pk" else options.get_field(name)
        except FieldDoesNotExist:
            raise AttributeError(
                f"{self.__model.__name__} has no column or relation {name!r}. It has: "
                f"{', '.join(self.__dir__())}."
            ) from None
        if not field.is_relation or (name in ("pk", getattr(field, "attname", "")) and name != field.name):
            return Column(path, self.__root, field)
        if field.related_model is None:
            raise AttributeError(
                f"{self.__model.__name__}.{name} is a generic foreign key, which has no column of its own: "
                f"use {field.ct_field}_id and {field.fk_field}."
            )
        return Columns(field.related_model, self.__root, path)

    def __dir__(self) -> list[str]:
        fields = self.__model._meta.get_fields()
        names = {name for field in fields for name in (field.name, getattr(field, "attname", ""))}
        return sorted({"pk", *names} - {""})

    def __repr__(self) -> str:
        return f"<columns of {'.'.join([self.__root.__name__, *self.__path.split(LOOKUP_SEP)]).rstrip('.')}>"


class Column(F):
    """A column, or what a transform makes of one: ``columns.published_on.year``.

    Comparisons are methods which make `Q` objects, named like the lookups: `eq()` for ``exact``,
    `in_()` for ``in``. Not ``==``, which Django itself uses to compare expressions. Transforms are
    attributes; keys of JSON and hstore values and positions in arrays go in brackets.
    """

    def __init__(self, name: str, model: type[Model], source: Any) -> None:
        """*source* is the field, or the transform of one, which knows the lookups."""
        super().__init__(name)
        self.model = model
        self.source = source

    def __class_getitem__(cls, _: Any) -> type[Column]:
        return cls

    def __repr__(self) -> str:
        return f"Column({self.model.__name__}.{self.name.replace(LOOKUP_SEP, '.')})"

    def __getattr__(self, name: str) -> Any:
        source = self.__dict__.get("source")  # not there while unpickling
        transform = None if source is None or name.startswith("__") else _lookups(source).get(name)
        if transform is None or not issubclass(transform, Transform):
            raise AttributeError(
                f"{self!r} has no transform {name!r}." if source is not None else f"no attribute {name!r}"
            )
        return self._transformed(name, transform)

    __iter__ = None  # having items would make it iterable, without an end

    def __getitem__(self, key: Any) -> Any:
        transform = self.source.get_transform(str(key)) if isinstance(key, str | int) else None
        if transform is None:
            slicing = getattr(super(), "__getitem__", None)  # Django 5.1 and later: part of a text or array
            if slicing is None or isinstance(key, str):
                raise TypeError(f"{self!r} has no item {key!r}.")
            return slicing(key)
        if LOOKUP_SEP in str(key) or _is_name_of_transform(self.source, str(key)):
            raise ValueError(
                f"The key {key!r} cannot be part of a path. Use KeyTransform({key!r}, {self.name!r}) in "
                "annotate() or alias(), and the annotation's name."
            )
        return self._transformed(str(key), transform)

    def _transformed(self, name: str, transform: Any) -> Column:
        expression = self.source if isinstance(self.source, Transform) else Col("_", _target(self.source))
        return Column(f"{self.name}{LOOKUP_SEP}{name}", self.model, transform(expression))

    def lookup(self, name: str, value: Any) -> Q:
        """Return the condition ``path__name=value``, for any lookup the column has.

        Raises `TypeError` for one it has not.
        """
        if self.source.get_lookup(name) is None:
            if getattr(self.source, "is_relation", False):
                return self._of_key().lookup(name, value)
            known = sorted(key for key, found in _lookups(self.source).items() if not _is_transform(found))
            raise TypeError(f"{self!r} has no lookup {name!r}. It has: {', '.join(known)}.")
        return Q(**{f"{self.name}{LOOKUP_SEP}{name}": value})

    def _of_key(self) -> Column:
        """The column which a foreign key's holds the values of; it has lookups a foreign key has not."""
        outer = self.name.rpartition(LOOKUP_SEP)[0]
        target = self.source.target_field
        path = LOOKUP_SEP.join(part for part in (outer, self.source.name, target.name) if part)
        return Column(path, self.model, target)

    def eq(self, value: Any) -> Q:
        return self.lookup("exact", value)

    def ne(self, value: Any) -> Q:
        """Return ``~Q(path=value)``: rows without a value (NULL) are among those found."""
        return ~self.eq(value)

    def gt(self, value: Any) -> Q:
        return self.lookup("gt", value)

    def gte(self, value: Any) -> Q:
        return self.lookup("gte", value)

    def lt(self, value: Any) -> Q:
        return self.lookup("lt", value)

    def lte(self, value: Any) -> Q:
        return self.lookup("lte", value)

    def range(self, first: Any, last: Any) -> Q:
        """Return the condition that the value is between *first* and *last*, both included."""
        return self.lookup("range", (first, last))

    def in_(self, values: Any) -> Q:
        """Return the condition that the value is one of *values*, an iterable or a queryset."""
        if isinstance(values, str | bytes):
            raise TypeError(f"{self!r}.in_() takes a list of values, not the text {values!r}: [{values!r}].")
        return self.lookup("in", values)

    def isnull(self, value: bool = True) -> Q:
        return self.lookup("isnull", value)

    def iexact(self, value: Any) -> Q:
        return self.lookup("iexact", value)

    def contains(self, value: Any) -> Q:
        return self.lookup("contains", value)

    def icontains(self, value: Any) -> Q:
        return self.lookup("icontains", value)

    def startswith(self, value: Any) -> Q:
        return self.lookup("startswith", value)

    def istartswith(self, value: Any) -> Q:
        return self.lookup("istartswith", value)

    def endswith(self, value: Any) -> Q:
        return self.lookup("endswith", value)

    def iendswith(self, value: Any) -> Q:
        return self.lookup("iendswith", value)

    def regex(self, value: Any) -> Q:
        return self.lookup("regex", value)

    def iregex(self, value: Any) -> Q:
        return self.lookup("iregex", value)

    def _no_operator(self, other: object) -> NoReturn:
        raise TypeError(
            f"{self!r} is compared by methods: .eq(), .lt(), .lte(), .gt(), .gte(). "
            "Operators would not work for ==, which Django itself uses to compare expressions."
        )

    __lt__ = __le__ = __gt__ = __ge__ = _no_operator


def paths_of(model: type[Model], columns: Iterable[object], method: str) -> list[str]:
    """Return the paths of *columns*, for a query of *model*.

    Raises `TypeError` for what is not a column, or one of another model; *method* is what was called.
    """
    return [_path_of(model, column, method) for column in columns]


def _path_of(model: type[Model], column: object, method: str) -> str:
    example = f"{model.__name__}.objects.columns"
    if isinstance(column, Columns):
        raise TypeError(f"{method} takes columns, and {column!r} are many: name one of them.")
    if not isinstance(column, Column):
        raise TypeError(
            f"{method} takes columns, such as {example}.pk, not {column!r}. "
            "values_list() takes names and expressions."
        )
    if not issubclass(model, column.model):
        raise TypeError(
            f"{method} of {model.__name__} got {column!r}, a column of another model. "
            f"Reach it through a relation of {example}."
        )
    return str(column.name)


def _target(field: Any) -> Any:
    """The field whose values a foreign key's column holds."""
    return _target(field.target_field) if field.is_relation else field


def _lookups(source: Any) -> dict[str, Any]:
    """All lookups and transforms of a field, or of a transform's result, by name."""
    if isinstance(source, Transform):
        return {**source.output_field.get_lookups(), **source.get_lookups()}
    found: dict[str, Any] = source.get_lookups()
    return found


def _is_transform(lookup: Any) -> bool:
    return issubclass(lookup, Transform)


def _is_name_of_transform(source: Any, key: str) -> bool:
    found = _lookups(source).get(key)
    return found is not None and _is_transform(found)
