"""Run one case in sync and in async code, and record all one can see of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Manager, Model, signals
from django.db.transaction import atomic as sync_atomic

from tests.runtime.parity.plain import plain
from turbo_orm import atomic, run_sync

__all__ = ["Call", "Case", "Outcome", "on", "run_async", "run_twin", "without_names"]


@dataclass(frozen=True)
class Call:
    """A verb's object and arguments."""

    owner: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def on(owner: Any, /, *args: Any, **kwargs: Any) -> Call:
    return Call(owner, args, kwargs)


@dataclass(frozen=True)
class Case:
    """One call of one async verb, to be compared with its sync twin."""

    #: What Django class the verb belongs to; `test_complete` counts them.
    kind: str
    verb: str
    #: Makes the object and arguments anew for each run; may query.
    build: Callable[[], Call]
    note: str = ""
    #: The `Relation` it is a case of, if it is one.
    relation: object = None

    def __str__(self) -> str:
        return "-".join(filter(None, (self.kind, self.verb, self.note)))


@dataclass
class Outcome:
    """What a run of a case did."""

    result: Any = None
    error: tuple[type[BaseException], str] | None = None
    sql: list[str] = field(default_factory=list)
    signals: list[Any] = field(default_factory=list)
    #: The verb's object and arguments afterwards: caches filled, fields set.
    owner: Any = None
    rows: Any = None


def run_twin(case: Case, *, in_block: bool, watched: bool = True) -> Outcome:
    """Run the sync method the verb of *case* mirrors."""
    outcome = Outcome()
    call = _prepare(case)
    with recording(outcome, call, watched=watched):
        if in_block:
            with sync_atomic():
                outcome.result = plain(_call_twin(case.verb, call))
        else:
            outcome.result = plain(_call_twin(case.verb, call))
    return outcome


async def run_async(case: Case, *, in_block: bool, watched: bool = True) -> Outcome:
    """Run the verb of *case* itself."""
    outcome = Outcome()
    call = await run_sync(_prepare, case)
    with recording(outcome, call, watched=watched):
        async with atomic() if in_block else nullcontext():
            outcome.result = plain(await _call_verb(case.verb, call))
    return outcome


def _prepare(case: Case) -> Call:
    # Filled by whichever of the two runs comes first.
    ContentType.objects.clear_cache()
    return case.build()


def _call_twin(verb: str, call: Call) -> Any:
    if verb in ("alist", "__aiter__"):
        return list(call.owner.all() if isinstance(call.owner, Manager) else call.owner)
    if verb == "aiterator":
        kwargs = call.kwargs if call.args else {"chunk_size": 2000, **call.kwargs}
        return list(call.owner.iterator(*call.args, **kwargs))
    if verb == "araw":
        return list(call.owner.raw(*call.args, **call.kwargs))
    owner = call.owner
    if verb == "adelete" and not hasattr(owner, "delete"):
        owner = owner.all()  # managers have no delete()
    return getattr(owner, verb[1:])(*call.args, **call.kwargs)


async def _call_verb(verb: str, call: Call) -> Any:
    if verb == "__aiter__":
        return [row async for row in call.owner]
    if verb == "aiterator":
        return [row async for row in call.owner.aiterator(*call.args, **call.kwargs)]
    pending: Awaitable[Any] = getattr(call.owner, verb)(*call.args, **call.kwargs)
    return await pending


#: Django numbers its server-side cursors and savepoints, one after another in each thread.
_NUMBERED = re.compile(r'"_django_curs_\w+"|"s\d+_x\d+"')


def without_names(statements: Iterable[str]) -> list[str]:
    """Return *statements* with other names for cursors and savepoints, from the first one on."""
    seen: dict[str, str] = {}

    def renumber(match: re.Match[str]) -> str:
        return seen.setdefault(match[0], f'"name_{len(seen)}"')

    return [_NUMBERED.sub(renumber, statement) for statement in statements]


_SIGNALS = {
    name: getattr(signals, name)
    for name in ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")
}


@contextmanager
def recording(outcome: Outcome, call: Call, *, watched: bool) -> Iterator[None]:
    """Fill *outcome* with what happens inside; unless *watched*, as far as it changes nothing.

    Where statements are logged and receivers wait for instances, the fastest ways are not taken.
    """
    names = [name for name in _SIGNALS if watched or not name.endswith("_init")]
    receivers = {name: _receiver(name, outcome.signals) for name in names}
    for name, receiver in receivers.items():
        _SIGNALS[name].connect(receiver)
    # Bridged connections share the log of the one this thread's code sees.
    connection.force_debug_cursor = watched
    connection.queries_log.clear()
    try:
        yield
    except Exception as exc:
        outcome.error = (type(exc), without_names([str(exc).partition("\nLINE ")[0]])[0])
    finally:
        outcome.sql = without_names(entry["sql"] for entry in connection.queries_log)
        connection.force_debug_cursor = False
        for name, receiver in receivers.items():
            _SIGNALS[name].disconnect(receiver)
    outcome.owner = plain([call.owner, call.args, call.kwargs])


def _receiver(name: str, log: list[Any]) -> Callable[..., None]:
    def receive(sender: type[Model], **kwargs: Any) -> None:
        instance = kwargs.pop("instance", None)
        about = (instance._meta.label, instance.pk) if isinstance(instance, Model) else instance
        details = {
            key: _label(value) for key, value in kwargs.items() if key not in ("signal", "args", "kwargs")
        }
        log.append((name, sender._meta.label, about, details))

    return receive


def _label(value: Any) -> Any:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Model):
        return (value._meta.label, value.pk)
    return value if isinstance(value, bool | int | str | set | frozenset | None) else type(value).__name__
