"""The plans of shapes: found where they are, made when they are needed, refused for a while or for good."""

from __future__ import annotations

from typing import Any

from turbo_orm.bridge.handler import in_transaction
from turbo_orm.plans.arguments import Arguments
from turbo_orm.plans.compiling import NotYet, compile_plan, time_zone
from turbo_orm.plans.plan import Plan, Terminal
from turbo_orm.plans.shapes import LOCK, Node, trie
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["keep_plan", "plan_for"]

#: Terminals, aliases and time zones per shape: ``update()`` and ``aggregate()`` have shapes of their own.
_MAX_PLANS = 60


def plan_for(
    node: Node,
    terminal: Terminal,
    alias: str,
    values: tuple[Any, ...],
    arguments: Arguments | None = None,
) -> Plan | None:
    """Return the plan of *terminal* on *node* for the database *alias*, making it at need.

    None where there can't be one. *values*, those of *node*, serve as samples, and so do those of
    *arguments*, the terminal's.
    """
    key: tuple[Any, ...] = terminal, alias
    found = node.plans.get(key)
    if found is None:
        if node.parent is None and not trie.at_once:
            # There is a template always; it is the terminal that was not seen.
            if arguments is not None:
                arguments.keep()
            keep_plan(node, key, _SEEN)
            return None
        found = _make(node, key, values, arguments)
    elif found is _SEEN or (type(found) is _Refused and found.try_again()):
        found = _make(node, key, values, arguments)
    if type(found) is not Plan:
        return None
    if not found.is_current():
        node.plans.clear()
        found = _make(node, key, values, arguments)
    elif found.time_zone is not None and found.time_zone != (now := time_zone()):
        key = terminal, alias, now
        found = node.plans.get(key)
        if found is None or (type(found) is Plan and not found.is_current()):
            found = _make(node, key, values, arguments)
    if type(found) is not Plan or (found.locks and not in_transaction(alias)):  # Django says what it is for
        return None
    return found


_SEEN = object()


class _Refused:
    """Kept in the place of a plan that can't be, for now or for good."""

    __slots__ = ("_left", "_wait", "epoch", "why")

    def __init__(self, why: str, wait: int | None) -> None:
        self.why = why
        self.epoch = trie.epoch
        #: After so many uses it is tried again, with other values: None for never.
        self._wait = self._left = wait

    def __repr__(self) -> str:
        return f"<no plan: {self.why}>"

    @property
    def next_wait(self) -> int | None:
        return None if self._wait is None else self._wait * 4

    def try_again(self) -> bool:
        if self.epoch != trie.epoch:
            return True
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


def _make(
    node: Node, key: tuple[Any, ...], values: tuple[Any, ...], arguments: Arguments | None
) -> Plan | _Refused | None:
    made: Plan | _Refused
    before = node.plans.get(key)
    more = () if arguments is None else tuple(arguments.values)
    # One odd value, such as a number no row can have, must not spoil the shape for all others.
    wait = (before.next_wait if type(before) is _Refused else 2) if values or more else None
    if arguments is not None:
        arguments.keep()
    try:
        with LOCK:
            made = compile_plan(node, key[0], key[1], values + more)
    except NotYet:
        return None
    except Unsupported as exc:
        made = _Refused(str(exc), wait)
    except Exception as exc:  # Django fails too: let it, in its own words, each time
        made = _Refused(f"Django raises {exc!r}", wait)
    keep_plan(node, key, made)
    return made


def keep_plan(node: Node, key: tuple[Any, ...], plan: Any) -> None:
    """Have *plan*, or what stands in its place, found at *key* among the plans of *node*."""
    if len(node.plans) >= _MAX_PLANS and key not in node.plans:
        node.plans.clear()
    node.plans[key] = plan
