"""What becomes of a chain: the statement or rows, or the error and where it was raised."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any
from unittest import mock

from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError, DataError, NotSupportedError, ProgrammingError, transaction
from django.db.models import Count, Max, Model, Prefetch, Q, QuerySet
from django.utils.functional import LazyObject

from tests.runtime.plans.fuzzing.chains import Chain
from turbo_orm import AsyncQuerySet, atomic
from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans.capture import capture_terminal
from turbo_orm.plans.connections import capturing, compiling_connection
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.verify import same_params

_ADDRESS = re.compile(" at 0x[0-9a-f]+")

__all__ = ["TERMINALS", "Tally", "differences", "differences_in_rows"]

TERMINALS = ("list", "get", "first", "last", "count", "exists", "aggregate")

#: The keyword arguments of terminals that have some.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "aggregate": {"number": Count("pk", filter=Q(pk__gt=1)), "greatest": Max("pk")}
}

#: What was met, by name; for people.
Tally: Counter[str] = Counter()

_ATTRIBUTES = (
    *("_iterable_class", "_fields", "_sticky_filter", "_prefetch_related_lookups", "_for_write", "_hints"),
    *("_known_related_objects", "_defer_next_filter", "_deferred_filter", "_result_cache", "_db"),
    *("_fetch_mode", "_cloning_enabled", "_prefetch_done", "model", "ordered"),
)


def _error(exc: Exception) -> tuple[Any, ...]:
    # What the server says of the statement, addresses in representations, and the class's name differ.
    message = str(exc).replace("AsyncQuerySet", "QuerySet")
    if isinstance(exc, DatabaseError):
        message = message.partition("\n")[0].partition(" using placeholder")[0].partition(" at or near")[0]
    return type(exc), message.partition(" object at 0x")[0]


def _steps(queryset: Any, chain: Chain, *, changed: bool) -> tuple[list[Any], tuple[Any, ...] | None]:
    """Return the querysets after each step, and the error if there was one."""
    made: dict[int, Any] = {}
    passed = [queryset]
    for number, step in enumerate(chain.steps):
        try:
            passed.append(step.apply(passed[-1], made))
        except Exception as exc:
            return passed, ("error in step", number, *_error(exc))
    if changed:
        for value in made.values():
            _change(value)
    return passed, None


def _change(value: Any) -> None:
    """Change what was passed, as its owner might do after a call."""
    if isinstance(value, list):
        value.append(77)
    elif isinstance(value, set):
        value.add(77)
    elif type(value) is dict:
        value["z"] = 77
    elif isinstance(value, Model):
        value.pk = None


def _statement(queryset: Any, terminal: str) -> tuple[Any, ...]:
    connection: Any = compiling_connection("default", capturing)
    with connections_replaced({"default": connection}):
        try:
            sql, params = capture_terminal(queryset, terminal, "default", _ARGUMENTS.get(terminal)).as_sql()
        except EmptyResultSet:
            return ("no rows",)
        except Unsupported as exc:
            return ("no query", str(exc))
        except Exception as exc:
            return ("error", *_error(exc))
    return ("statement", sql, tuple(params))


def _equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one[0] == other[0] == "statement":
        return bool(one[1] == other[1]) and same_params(_named(one[2]), _named(other[2]))
    return one == other


def _named(params: Any) -> Any:
    """Return *params* with names for what is only equal to itself."""
    if isinstance(params, list | tuple):
        return type(params)(map(_named, params)) if type(params) in (list, tuple) else params
    if isinstance(params, QuerySet):
        return f"rows of {params.model}"
    if isinstance(params, Prefetch):
        return vars(params).keys(), params.prefetch_to
    if isinstance(params, Model | Iterator) or type(params) is object:
        return f"{type(params)} {getattr(params, 'pk', None)}"
    if hasattr(params, "obj"):  # psycopg's wrappers
        return type(params), _named(params.obj)
    if isinstance(params, str):
        return type(params), _ADDRESS.sub("", params)
    return f"lazy {params}" if isinstance(params, LazyObject) else params


def differences(chain: Chain, terminal: str, *, changed: bool = False, at: int = -1) -> list[str]:
    """Return what is different in plan mode, of the queryset after step *at*, in SQL and errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*_differences(chain, terminal, changed, at)]


def _differences(chain: Chain, terminal: str, changed: bool, at: int) -> Any:
    django, django_error = _steps(QuerySet(chain.model), chain, changed=changed)
    ours, our_error = _steps(AsyncQuerySet(chain.model), chain, changed=changed)
    if our_error != django_error:
        yield f"Django: {django_error}\n  ours:   {our_error}"
        return
    Tally["refused steps" if django_error else "chains"] += 1
    expected_of, found_of = django[at % len(django)], ours[at % len(ours)]
    if not isinstance(expected_of, QuerySet):  # a slice with a step
        return
    for name in _ATTRIBUTES:
        one, other = (getattr(each, name, None) for each in (expected_of, found_of))
        if str(_named(one)) != str(_named(other)):  # instances made twice are not the same
            yield f"attribute {name}: {one!r} is Django's, ours is {other!r}"
    planned = found_of._planned
    try:
        arguments = _ARGUMENTS.get(terminal)
        # What has a FOR UPDATE is compared as it is in a transaction.
        with mock.patch("turbo_orm.plans.finding.in_transaction", return_value=True):
            bound = (
                found_of._bound(terminal) if arguments is None else found_of._bound_aggregate((), arguments)
            )
    except Exception as exc:
        yield f"_bound() raises {exc!r}"
        return
    expected = _statement(expected_of, terminal)
    Tally[expected[0]] += 1
    if bound is None:
        Tally["no plan" if planned is not None else "no plan mode"] += 1
    else:
        Tally["planned"] += 1
        is_known = bound.statement.known is not None
        found: tuple[Any, ...] = ("no rows",) if is_known else ("statement", *bound.as_sql())
        if not _equal(expected, found):
            yield f"Django: {expected}\n  plan:   {found}"
        if len(bound.params) != bound.statement.text.count(b"$"):
            yield f"{bound.statement.text!r} has not {len(bound.params)} placeholders"
    replayed = _statement(found_of, terminal)
    if not _equal(expected, replayed):
        yield f"Django: {expected}\n  replay: {replayed}"


def differences_in_rows(
    chain: Chain,
    terminal: str,
    run: Callable[[Awaitable[Any]], Any],
    *,
    as_arguments: bool = False,
    in_block: bool = False,
) -> list[str]:
    """Return what is different in plan mode, executed; *as_arguments*: the last filter is get()'s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = _answer(
            chain,
            terminal,
            as_arguments,
            QuerySet,
            lambda qs, *a, **k: _sync(in_block, qs, terminal, *a, **k),
        )
        found = _answer(
            chain,
            terminal,
            as_arguments,
            AsyncQuerySet,
            lambda qs, *a, **k: run(_async(in_block, qs, terminal, *a, **k)),
        )
    Tally["executed"] += 1
    if _are_refusals(expected, found):
        return []
    return [] if expected == found else [f"Django: {expected}\n  ours:   {found}"]


#: What the server may find first in a text; values it looks at afterwards.
_IN_THE_TEXT = (DataError, NotSupportedError, ProgrammingError)


def _are_refusals(expected: Any, found: Any) -> bool:
    """Whether the server refuses a statement for two reasons, of which a value is one."""
    kinds = [each[0] for each in (expected, found) if isinstance(each, tuple)]
    return len(set(kinds)) == 2 and DataError in kinds and all(kind in _IN_THE_TEXT for kind in kinds)


def _answer(
    chain: Chain, terminal: str, as_arguments: bool, queryset_class: Any, execute: Callable[..., Any]
) -> Any:
    made: dict[int, Any] = {}
    steps, args, kwargs = chain.steps, (), _ARGUMENTS.get(terminal, {})
    queryset = queryset_class(chain.model)
    try:
        if as_arguments and steps[-1].method == "filter":
            steps = steps[:-1]
        for step in steps:
            queryset = step.apply(queryset, made)
        if steps is not chain.steps:
            args, kwargs = _arguments(chain.steps[-1], made)
        if not isinstance(queryset, QuerySet):
            return "rows already, after a slice with a step"
        return _seen(execute(queryset, *args, **kwargs))
    except Exception as exc:
        return _error(exc)


class _Catcher:
    rows = AsyncQuerySet

    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def _arguments(step: Any, made: dict[int, Any]) -> Any:
    return step.apply(_Catcher(), made)


def _sync(in_block: bool, queryset: Any, terminal: str, *args: Any, **kwargs: Any) -> Any:
    with transaction.atomic() if in_block else nullcontext():
        return list(queryset) if terminal == "list" else getattr(queryset, terminal)(*args, **kwargs)


async def _async(in_block: bool, queryset: Any, terminal: str, *args: Any, **kwargs: Any) -> Any:
    async with atomic() if in_block else nullcontext():
        return await getattr(queryset, f"a{terminal}")(*args, **kwargs)


def _seen(value: Any) -> Any:
    if isinstance(value, Model):
        attributes = {name: _seen(item) for name, item in vars(value).items() if name != "_state"}
        caches = {name: _seen(item) for name, item in value._state.fields_cache.items()}
        return type(value), attributes, caches, value._state.db
    if isinstance(value, QuerySet):
        return _seen(value._result_cache)
    if isinstance(value, dict):
        return {name: _seen(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, getattr(value, "_fields", None), [_seen(item) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    return type(value), repr(value)
