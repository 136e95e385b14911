"""Random chains of queryset methods, whose values can be exchanged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import models
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    Max,
    Model,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    RowRange,
    Subquery,
    When,
    Window,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, JSONObject, Lag, Lower, Rank
from hypothesis import strategies as st

from tests.runtime.plans.fuzzing.models import MODELS, Author, Book, Kit, Shelf, Signed
from tests.runtime.plans.fuzzing.values import MAKERS, kind_of_made, make

__all__ = ["Chain", "Step", "chains", "other_values"]

_DATE = (
    "",
    "__year",
    "__iso_year",
    "__month",
    "__day",
    "__week",
    "__week_day",
    "__iso_week_day",
    "__quarter",
)
_TIME = ("__hour", "__minute", "__second")
_COMMON = ("", "__exact", "__iexact", "__gt", "__gte", "__lt", "__lte", "__in", "__range", "__isnull")
_TEXT = (
    *("__contains", "__icontains", "__startswith", "__istartswith", "__endswith", "__iendswith"),
    *("__regex", "__iregex"),
)
_TRANSFORMED = tuple(
    f"{transform}{lookup}"
    for transform in (*_DATE[1:], *_TIME, "__date", "__time")
    for lookup in ("", "__gt", "__gte", "__lt", "__lte", "__in", "__range", "__isnull")
)
_ODD = (
    *("__a", "__a__b", "__a__gt", "__a__in", "__a__isnull", "__a__icontains", "__has_key", "__has_keys"),
    *("__has_any_keys", "__contained_by", "__0", "__0__gt", "__0_1", "__len", "__len__in", "__overlap"),
    *("__ne", "__folded", "__folded__ne", "__startswith__gt", "__fully_lt", "__adjacent_to", "__nonsense"),
    *("__exact__exact", "__date__year", "__date__month__in"),
)
_LOOKUPS = (*_COMMON, *_TEXT, *_TRANSFORMED, *_ODD)

_PATHS: dict[type[Model], tuple[str, ...]] = {
    Kit: (
        "pk",
        *(field.name for field in Kit._meta.concrete_fields),
        *("owner_id", "book_id", "owner__name", "owner__mentor__age", "owner__books__title", "owner__kit"),
        *("book__author", "book__author_id", "book__author__active", "book__shelf", "book__shelf_id"),
        *("book__shelf__id", "book__tags", "book__tags__flag", "book__shut", "book__created"),
        *("tagged", "tagged__title", "tagged__author", "tagged__author__name", "tagged__shelf__code"),
        *("tagged__shut", "tagged__tags__data"),
    ),
    Book: (
        "pk",
        *(field.name for field in Book._meta.concrete_fields),
        *("author_id", "editor_id", "shelf_id", "author__name", "author__active", "author__mentor"),
        *("author__mentor__name", "author__born", "author__books__title", "author__signed__stars"),
        *("author__kit__flag", "author__kit__at", "editor__name", "editor__active", "shelf__id"),
        *("shelf__code", "tags", "tags__id", "tags__flag", "tags__shout", "tags__array", "tags__owner"),
        *("tags__doubled", "kits", "kits__data", "kits__flag", "kits__owner__age"),
    ),
    Author: (
        "pk",
        *(field.name for field in Author._meta.concrete_fields),
        *("mentor_id", "mentor__name", "mentor__active", "pupils", "pupils__age", "books", "books__title"),
        *("books__shut", "books__pages", "books__shelf", "books__tags", "books__tags__flag", "edited"),
        *("edited__created", "signed", "signed__stars", "kit", "kit__flag", "kit__at", "kit__color"),
    ),
    Shelf: (
        "pk",
        "id",
        "code",
        "books",
        "books__title",
        "books__author",
        "books__author__age",
        "books__shut",
    ),
    Signed: (
        *("pk", "id", "name", "active", "age", "born", "stars", "author_ptr", "author_ptr_id", "mentor"),
        *("books", "books__shut", "books__title", "kit", "kit__flag", "pupils", "pupils__signed"),
    ),
}
_RELATIONS: dict[type[Model], tuple[str, ...]] = {
    Kit: ("owner", "book", "book__author", "book__shelf", "owner__mentor", "owner__signed", "owner__kit"),
    Book: ("author", "editor", "shelf", "author__mentor", "author__kit", "editor__signed"),
    Author: ("mentor", "mentor__mentor", "kit", "signed", "kit__book"),
    Shelf: ("books",),
    Signed: ("mentor", "author_ptr", "kit"),
}
_FORWARD: dict[type[Model], tuple[str, ...]] = {
    model: tuple(
        field.name
        for field in model._meta.concrete_fields
        if field.remote_field is not None and field.related_model in MODELS
    )
    for model in _PATHS
}
_PREFETCHES: dict[type[Model], tuple[str, ...]] = {
    Kit: ("tagged", "tagged__author", "owner", "nonsense"),
    Book: ("tags", "kits", "author__books", "shelf"),
    Author: ("books", "books__tags", "pupils", "kit"),
    Shelf: ("books", "books__author"),
    Signed: ("books", "mentor"),
}


@dataclass(frozen=True)
class Value:
    """One of `MAKERS`, by its number."""

    number: int

    def __repr__(self) -> str:
        return f"{make(self.number)!r}"


@dataclass(frozen=True)
class Step:
    """A method with its arguments, which may be or hold a `Value`."""

    method: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    def apply(self, queryset: Any, made: dict[int, Any]) -> Any:
        rows = getattr(queryset, "rows", type(queryset))
        args = [_filled(arg, made, rows) for arg in self.args]
        if self.method == "slice":
            return queryset[slice(*args)]
        kwargs = {name: _filled(arg, made, rows) for name, arg in self.kwargs}
        if self.method == "prefetch_to":
            return queryset.prefetch_related(Prefetch(args[0]))
        return getattr(queryset, self.method)(*args, **kwargs)

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.kwargs]
        return f".{self.method}({', '.join([*map(repr, self.args), *named])})"


@dataclass(frozen=True)
class Chain:
    """Steps on a model's queryset."""

    model: type[Model]
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        return f"{self.model.__name__}{''.join(map(repr, self.steps))}"


@dataclass(frozen=True)
class Clause:
    """What becomes a `Q`: a connector between clauses and pairs of a lookup and a `Value`."""

    connector: str
    negated: bool
    children: tuple[Any, ...]


@dataclass(frozen=True)
class Expression:
    """What becomes an expression: how, with which field and, in some, which condition or rows."""

    how: str
    path: str
    clause: Clause | Chain | Value | None = None

    def filled(self, made: dict[int, Any], rows: Any) -> Any:
        q = Q() if self.clause is None else _filled(self.clause, made, rows)
        return (_ARITHMETIC | _EXPRESSIONS | _SUBQUERIES)[self.how](self.path, q)


class Spelt(Func):
    """A function as projects declare theirs."""

    function = "CONCAT"
    output_field = CharField()

    def __init__(self, path: str, end: Any = "!") -> None:
        super().__init__(path, end if isinstance(end, Case) else models.Value(end))


_EXPRESSIONS: dict[str, Callable[[str, Q], Any]] = {
    "F": lambda path, q: F(path),
    "Lower": lambda path, q: Lower(path),
    "Coalesce": lambda path, q: Coalesce(path, None),
    "of the project": lambda path, q: Spelt(path),
    "of the project, of a case": lambda path, q: Spelt(path, end=Case(When(q, then=1), default=0)),
    "Count": lambda path, q: Count(path, filter=q),
    "Count distinct": lambda path, q: Count(path, filter=q, distinct=True),
    "Count + 1": lambda path, q: Count(path, filter=q) + 1,
    "Max": lambda path, q: Max(path, filter=q),
    "Max of a case": lambda path, q: Max(Case(When(q, then=path))),
    "Case": lambda path, q: Case(When(q, then=1), default=0),
    "Case, of lookups": lambda path, q: Case(When(**dict([_pair(q)]), then=1), When(q, then=2)),
    "Case of fields": lambda path, q: Case(When(q, then=path), default=F(path)),
    "wrapped": lambda path, q: ExpressionWrapper(q, BooleanField()),
    "ranked": lambda path, q: Window(Rank(), partition_by=path, order_by=["-pk"]),
    "summed in a window": lambda path, q: Window(
        Max(path, filter=q), order_by=F("pk").desc(), frame=RowRange(start=-1, end=0)
    ),
    "listed": lambda path, q: ArrayAgg(path, filter=q, default=None),
    "in JSON": lambda path, q: JSONObject(a=path, b=Case(When(q, then=1), default=0)),
    "key": lambda path, q: KeyTransform("b", KeyTextTransform("a", path)),
}


#: With any value.
_ARITHMETIC: dict[str, Callable[[str, Any], Any]] = {
    "+": lambda path, value: F(path) + value,
    "-": lambda path, value: models.Value(value) - F(path),
    "Coalesce with": lambda path, value: Coalesce(path, models.Value(value)),
    "Coalesce given": lambda path, value: Coalesce(path, value, path),
    "*": lambda path, value: F(path) * value,
    "value": lambda path, value: models.Value(value),
    "lag": lambda path, value: Window(Lag(path, 2, default=models.Value(value)), order_by="pk"),
}

#: Of which rows a condition refers to those they are in.
_SUBQUERIES: dict[str, Callable[[str, Any], Any]] = {
    "Exists": lambda path, rows: Exists(rows.filter(pk=OuterRef("pk"))),
    "not Exists": lambda path, rows: ~Exists(rows),
    "Subquery": lambda path, rows: Subquery(rows.filter(pk=OuterRef("pk")).values(path)[:1]),
    "Coalesce of a Subquery": lambda path, rows: Coalesce(
        Subquery(rows.values("pk")[:1], output_field=IntegerField()), 0
    ),
}


def _pair(q: Q) -> Any:
    first = q.children[0]
    return first if isinstance(first, tuple) else _pair(first)


def _filled(arg: Any, made: dict[int, Any], rows: Any) -> Any:
    if isinstance(arg, Value):
        # The same number twice is the same object twice, as in a program.
        if arg.number not in made:
            made[arg.number] = make(arg.number)
        return made[arg.number]
    if isinstance(arg, Clause):
        q = Q(_connector=arg.connector, _negated=arg.negated)
        for child in arg.children:
            q.children.append(
                (child[0], _filled(child[1], made, rows))
                if isinstance(child, tuple)
                else _filled(child, made, rows)
            )
        return q
    if isinstance(arg, Expression):
        return arg.filled(made, rows)
    if isinstance(arg, Chain):
        queryset = rows(arg.model)
        for step in arg.steps:
            queryset = step.apply(queryset, made)
        return queryset
    return arg


#: The names of all expressions.
_HOW = [*_ARITHMETIC, *_EXPRESSIONS, *_SUBQUERIES]

_accepted: dict[tuple[type[Model], str], list[int]] = {}


def accepted(model: type[Model], lookup: str) -> list[int]:
    """Return the numbers of the values Django takes for *lookup*."""
    key = (model, lookup)
    if key not in _accepted:
        _accepted[key] = [number for number in range(len(MAKERS)) if _takes(model, lookup, number)]
    return _accepted[key]


def _takes(model: type[Model], lookup: str, number: int) -> bool:
    try:
        QuerySet(model).filter(**{lookup: make(number)}).query.get_compiler("default").as_sql()
    except Exception:
        return False
    return True


_CONSTANTS = [number for number in range(len(MAKERS)) if not isinstance(kind_of_made(number), type)]


def _value(draw: Callable[[Any], Any], model: type[Model], lookup: str) -> Value:
    how = draw(st.integers(0, 31))
    numbers = accepted(model, lookup) if how else range(len(MAKERS))
    if how > 24:
        numbers = [number for number in _CONSTANTS if number in numbers]
    return Value(draw(st.sampled_from(numbers or range(len(MAKERS)))))


def _lookup(draw: Callable[[Any], Any], model: type[Model]) -> str:
    path = draw(st.sampled_from(_PATHS[model]))
    lookups = draw(st.sampled_from(((_COMMON), _COMMON, _TEXT, _TRANSFORMED, _ODD)))
    for _ in range(3):  # most lookups are for some fields only
        lookup = f"{path}{draw(st.sampled_from(lookups))}"
        if accepted(model, lookup):
            break
    return lookup


def _pairs(draw: Callable[[Any], Any], model: type[Model], most: int = 2, depth: int = 0) -> dict[str, Any]:
    lookups = [_lookup(draw, model) for _ in range(draw(st.integers(1, most)))]
    pairs: dict[str, Any] = {lookup: _value(draw, model, lookup) for lookup in lookups}
    how = draw(st.integers(0, 23))
    if how == 0:
        kind = draw(st.sampled_from(("F", "F", "+", "Lower", "of the project", "Case", "Exists", "Subquery")))
        pairs[lookups[-1]] = _expression(draw, model, kind, 2)
    elif how == 1 and depth == 0:
        name = draw(st.sampled_from(("pk", *_FORWARD[model])))
        inner = model if name == "pk" else model._meta.get_field(name).related_model
        pairs[draw(st.sampled_from((f"{name}__in", f"{name}__in", name)))] = _rows(draw, inner)
    return pairs


def _expression(
    draw: Callable[[Any], Any], model: type[Model], how: str, depth: int, names: Sequence[str] = ()
) -> Expression:
    path = draw(st.sampled_from(names or _PATHS[model]))
    if how in ("F", "Lower", "Coalesce", "of the project"):
        return Expression(how, path)
    if how in _ARITHMETIC:
        return Expression(how, path, _value(draw, model, path))
    if how in _SUBQUERIES:
        steps = [
            _step(draw, model, ("filter", "exclude", "order_by")) for _ in range(draw(st.integers(1, 2)))
        ]
        return Expression(how, path, Chain(model, tuple(steps)))
    return Expression(how, path, _clause(draw, model, depth))


def _rows(draw: Callable[[Any], Any], model: Any) -> Chain:
    """Rows a lookup may compare with."""
    steps = [
        _step(draw, model, ("filter", "filter", "exclude", "all")) for _ in range(draw(st.integers(0, 2)))
    ]
    how = draw(st.integers(0, 7))
    if how < 2:
        steps += [Step("order_by", ("-pk",)), Step("slice", (0, 1 + how))]
    elif how == 2:
        steps.append(Step("slice", (1, 3)))
    elif how == 3:
        steps.append(Step(*draw(st.sampled_from((("values", ("pk",)), ("values_list", ("pk", "pk")))))))
    return Chain(model, tuple(steps))


def _clause(draw: Callable[[Any], Any], model: type[Model], depth: int = 0) -> Clause:
    connector = draw(st.sampled_from(("AND", "OR", "OR", "XOR")[: 3 + (draw(st.integers(0, 7)) == 0)]))
    children: list[Any] = [*_pairs(draw, model, depth=depth).items()]
    if depth < 2 and draw(st.booleans()):
        children.append(_clause(draw, model, depth + 1))
    return Clause(connector, draw(st.booleans()) and draw(st.booleans()), tuple(children))


#: How a name becomes an ordering.
_ORDERS: tuple[Callable[[str], Any], ...] = (
    *(str, str, str, "-{}".format, "-{}".format, F),
    *(lambda name: F(name).desc(nulls_last=True), lambda name: Lower(name).asc(), lambda name: -F(name)),
    Spelt,
)


def _order(draw: Callable[[Any], Any], model: type[Model]) -> tuple[Any, ...]:
    names = draw(st.lists(st.sampled_from((*_PATHS[model], "?")), max_size=2))
    order = [name if name == "?" else draw(st.sampled_from(_ORDERS))(name) for name in names]
    if draw(st.integers(0, 2)) == 0:
        order.insert(0, _expression(draw, model, draw(st.sampled_from(_ORDERING)), 1))
    return tuple(order)


#: Expressions with values that are ordered by.
_ORDERING = ("Case", "Case", "Case, of lookups", "Case of fields", "+", "Coalesce given", "Exists")


_SLICES = (
    (0, 5),
    (None, 2),
    (1, None),
    (1, 3),
    (0, 0),
    (2, 1),
    (0, 4, 2),
    (True, 2),
    (2**40, None),
    (-1, None),
)
#: How rows are locked.
_LOCKS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"nowait": True},
    {"skip_locked": True},
    {"no_key": True},
    {"of": ("self",)},
    {"of": ("self", "author"), "skip_locked": True},
    {"of": ["self"], "no_key": True},
    {"nowait": 1},
    {"nowait": True, "skip_locked": True},
)
_METHODS = (
    *("filter",) * 9,
    *("exclude",) * 4,
    *("clauses",) * 4,
    *("order_by",) * 2,
    *("values", "values_list", "values_list", "slice", "distinct", "reverse", "only", "defer"),
    *("select_related", "all", "using", "prefetch_related", "prefetch_to", "_next_is_sticky"),
    *("select_for_update", "annotate", "annotate", "alias"),
    *("combine",) * 2,
    *("unite", "unite", "none"),
)
_OPERATORS = ("__and__", "__or__", "__xor__")
_UNITING = ("union", "union", "intersection", "difference")
#: Methods of what a queryset is combined with.
_OTHER_METHODS = (
    *("filter",) * 6,
    *("exclude",) * 3,
    *("clauses",) * 3,
    "all",
    "order_by",
    "distinct",
    "only",
)
#: Methods after which Django takes few others.
_LAST_METHODS = (*("slice",) * 6, "none", "values_list", "values", "reverse", "order_by")


def _step(draw: Callable[[Any], Any], model: type[Model], methods: Sequence[str] = _METHODS) -> Step:
    method = draw(st.sampled_from(methods))
    if method in ("filter", "exclude"):
        return Step(method, (), tuple(_pairs(draw, model).items()))
    if method == "clauses":
        clauses = tuple(_clause(draw, model) for _ in range(draw(st.integers(1, 2))))
        pairs = tuple(_pairs(draw, model, 1).items()) if draw(st.booleans()) else ()
        return Step(draw(st.sampled_from(("filter", "exclude"))), clauses, pairs)
    if method == "combine":
        steps = tuple(_step(draw, model, _OTHER_METHODS) for _ in range(draw(st.integers(0, 2))))
        return Step(draw(st.sampled_from(_OPERATORS)), (Chain(model, steps),))
    if method == "unite":
        name = draw(st.sampled_from(_UNITING))
        options = draw(st.sampled_from(((), (("all", True),)))) if name == "union" else ()
        return Step(name, tuple([_united(draw, model) for _ in range(draw(st.integers(1, 2)))]), options)
    return Step(method, *_arguments(draw, model, method))


def _united(draw: Callable[[Any], Any], model: type[Model]) -> Chain:
    """Rows for a union with those of *model*."""
    steps = [_step(draw, model, _OTHER_METHODS) for _ in range(draw(st.integers(0, 2)))]
    how = draw(st.integers(0, 9))
    if how < 3:
        steps.append((Step("slice", (0, 2)), Step("values_list", ("pk",)), Step("none"))[how])
    return Chain(model, tuple(steps))


def _arguments(draw: Callable[[Any], Any], model: type[Model], method: str) -> tuple[Any, ...]:
    """Return the positional arguments of *method*, and its named ones if it has any."""
    names = st.sampled_from(_PATHS[model])
    if method in ("annotate", "alias"):
        kinds = [draw(st.sampled_from(_HOW)) for _ in range(draw(st.integers(1, 2)))]
        return (), tuple((f"x{at}", _expression(draw, model, how, 1)) for at, how in enumerate(kinds))
    if method == "select_for_update":
        return (), tuple(draw(st.sampled_from(_LOCKS)).items())
    if method in ("values", "values_list") and draw(st.integers(0, 2)) == 0:
        fields = draw(st.lists(names, max_size=1))
        chosen_expression = _expression(draw, model, draw(st.sampled_from(_HOW)), 1)
        if method == "values":
            return tuple(fields), (("x0", chosen_expression),)
        return (*fields, chosen_expression), draw(st.sampled_from(((), (), (("named", True),))))
    if method == "values_list" and draw(st.booleans()):
        return (draw(names),), (draw(st.sampled_from((("flat", True), ("flat", 1), ("named", True)))),)
    chosen: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("values", "values_list", "only", "defer"), st.lists(names, max_size=3)),
        **dict.fromkeys(("prefetch_related", "prefetch_to"), st.tuples(st.sampled_from(_PREFETCHES[model]))),
        "distinct": st.one_of(st.just(()), st.just(()), st.tuples(names)),
        "select_related": st.lists(st.sampled_from((*_RELATIONS[model], "nonsense")), max_size=2),
        "slice": st.sampled_from(_SLICES),
        "using": st.just(("default",)),
    }
    if method == "order_by":
        return (_order(draw, model),)
    return (tuple(draw(chosen.get(method, st.just(())))),)


#: What may be done with what was annotated.
_OF_ANNOTATIONS = (
    *(Step("all"), Step("filter", (), (("x0__gt", 0),)), Step("order_by", ("x0", "pk"))),
    *(Step("order_by", ("pk", "-x0")), Step("values", ("x0",)), Step("values_list", ("pk", "x0"))),
    *(Step("distinct"), Step("filter", (), (("x0", F("pk")),)), Step("order_by", (F("x0").desc(), "x1"))),
)


def _ordered_by_the_same(steps: Sequence[Step]) -> list[Step]:
    """Orders by what is annotated in *steps*, by its expression."""
    expressions = [each for step in steps for _, each in step.kwargs if isinstance(each, Expression)]
    return [Step("order_by", (each, "pk")) for each in expressions]


@st.composite
def chains(draw: Any) -> Chain:
    """Chains of which Django takes most."""
    model = draw(st.sampled_from((Kit, Kit, Book, Book, *MODELS)))
    steps = [_step(draw, model) for _ in range(draw(st.integers(1, 4)))]
    if any(step.method in ("annotate", "alias") or dict(step.kwargs).keys() == {"x0"} for step in steps):
        steps.append(draw(st.sampled_from((*_OF_ANNOTATIONS, *_ordered_by_the_same(steps)))))
    if draw(st.booleans()):
        steps.append(_step(draw, model, _LAST_METHODS))
    if draw(st.integers(0, 7)) == 0:
        steps.insert(0, Step("_next_is_sticky"))
    if any(step.method == "slice" for step in steps):
        # Django makes a new queryset then, of the model's base manager.
        steps = [step for step in steps if step.method not in ("__or__", "__xor__")]
    return Chain(model, tuple(steps))


def other_values(chain: Chain, chance: random.Random) -> Chain:
    """Return *chain* with other values: of the same kind, constants, or any."""
    return _Exchange(chain.model, chance).in_chain(chain)


#: Methods whose arguments may have values in them.
_WITH_VALUES = {"filter", "exclude", "annotate", "alias", "values", "values_list", *_OPERATORS, *_UNITING}


class _Exchange:
    def __init__(self, model: type[Model], chance: random.Random) -> None:
        self._model = model
        self._chance = chance

    def in_chain(self, chain: Chain) -> Chain:
        return replace(chain, steps=tuple(map(self._in_step, chain.steps)))

    def _in_step(self, step: Step) -> Step:
        if step.method == "slice":
            return replace(step, args=self._chance.choice(_SLICES[:4]))
        if step.method not in _WITH_VALUES:
            return step
        return Step(
            step.method,
            tuple(
                [
                    self._in_clause(arg) if isinstance(arg, Clause) else self._other("", arg)
                    for arg in step.args
                ]
            ),
            tuple((name, self._other(name, value)) for name, value in step.kwargs),
        )

    def _in_clause(self, clause: Clause) -> Clause:
        return replace(clause, children=tuple(map(self._in_child, clause.children)))

    def _in_child(self, child: Any) -> Any:
        return self._in_clause(child) if isinstance(child, Clause) else (child[0], self._other(*child))

    def _other(self, lookup: str, value: Any) -> Any:
        if isinstance(value, Chain):
            return _Exchange(value.model, self._chance).in_chain(value)
        if isinstance(value, Expression):
            if value.clause is None:
                return value
            if isinstance(value.clause, Clause):
                return replace(value, clause=self._in_clause(value.clause))
            return replace(value, clause=self._other(value.path, value.clause))
        return self._other_value(lookup, value) if isinstance(value, Value) else value

    def _other_value(self, lookup: str, value: Value) -> Value:
        numbers = accepted(self._model, lookup) or range(len(MAKERS))
        how = self._chance.random()
        if how < 0.5:
            kind = kind_of_made(value.number)
            alike = [number for number in numbers if kind_of_made(number) is kind]
            return Value(self._chance.choice(alike or [value.number]))
        if how < 0.7:
            constants = [number for number in _CONSTANTS if number in numbers or how < 0.53]
            return Value(self._chance.choice(constants or numbers))
        return Value(self._chance.choice(numbers if how < 0.97 else range(len(MAKERS))))
