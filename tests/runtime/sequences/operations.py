"""What can be done with objects that are held in variables, each by its name in `OPERATIONS`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.db.models import Count, F, Max, Prefetch

from tests.runtime.sequences.seen import error_seen
from tests.runtime.sequences.steps import KINDS, Ahead, Key, Rows, Slot, Sum
from tests.runtime.sequences.worlds import World

__all__ = ["OPERATIONS", "Session"]


class Session:
    """The variables of one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.variables: dict[Slot, Any] = {}

    async def get(self, slot: Slot) -> Any:
        """Return what is in *slot*; if nothing is, the row of that number."""
        if slot not in self.variables:
            model = self.model(slot.kind)
            first, step = _NUMBERED.get(slot.kind, (1, 1))
            number = first + slot.number * step
            by = {"code": f"c{number}"} if slot.kind == "place" else {"pk": number}
            found = await self.world.call(model._default_manager, "get", **by)
            self.variables[slot] = found
        return self.variables[slot]

    def model(self, kind: str) -> Any:
        return getattr(self.world.models, KINDS[kind])

    async def filled(self, value: Any) -> Any:
        """Return *value* with objects in the place of variables."""
        if isinstance(value, Slot):
            return await self.get(value)
        if isinstance(value, Key):
            return (await self.get(value.slot)).pk
        if isinstance(value, Sum):
            return F(value.field) + value.number
        if isinstance(value, Rows):
            return (await self.rows(value)).all()
        if isinstance(value, Ahead):
            rows = await self.filled(value.rows)
            return Prefetch(value.path, rows, value.to_attr)
        if isinstance(value, dict):
            return {name: await self.filled(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([await self.filled(item) for item in value])
        return value

    async def rows(self, rows: Rows) -> Any:
        return await self.chained(getattr(self.model(rows.kind), rows.manager), rows.methods)

    async def chained(self, owner: Any, methods: Any) -> Any:
        for name, args, kwargs in methods:
            owner = getattr(owner, name)(*await self.filled(args), **await self.filled(kwargs))
        return owner

    def keep(self, slot: Slot, value: Any) -> Any:
        """Put *value*, or its first rows, into variables from *slot* on."""
        if isinstance(value, list):
            for number, item in enumerate(value[:2]):
                if type(item).__name__ == KINDS[slot.kind]:
                    self.variables[Slot(slot.kind, number)] = item
        elif isinstance(value, tuple):
            self.keep(slot, value[0])
        elif value is not None and type(value).__name__ == KINDS[slot.kind]:
            self.variables[slot] = value
        return value


#: The key of the first row, and how far the next one is, where these are not 1.
_NUMBERED = {"poet": (4, 1), "draft": (1, 2), "member": (1, 2)}

Operation = Callable[..., Awaitable[Any]]
#: By name.
OPERATIONS: dict[str, Operation] = {}


def _operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__.rstrip("_")] = function
    return function


# What rows are read with.


@_operation
async def load(session: Session, slot: Slot, rows: Rows, verb: str, *args: Any) -> Any:
    return session.keep(slot, await _asked(session, await session.rows(rows), verb, args))


async def _asked(session: Session, owner: Any, verb: str, args: Any, kwargs: Any = None) -> Any:
    args, kwargs = await session.filled(args), await session.filled(kwargs or {})
    if verb in ("list", "each", "iterator"):
        return await session.world.rows(owner.all(), verb)
    if verb == "aggregate":
        return await session.world.call(owner, verb, n=Count("pk"), m=Max("pk"))
    return await session.world.call(owner, verb, *args, **kwargs)


@_operation
async def ask(
    session: Session, slot: Slot, relation: str, methods: Any, verb: str, args: Any, kwargs: Any, into: Any
) -> Any:
    """Ask a related manager, or change its rows."""
    owner = getattr(await session.get(slot), relation)
    found = await _asked(session, await session.chained(owner, methods), verb, args, kwargs)
    return found if into is None else session.keep(into, found)


@_operation
async def change(
    session: Session, slot: Slot, relation: str, verb: str, args: Any, kwargs: Any, into: Any = None
) -> Any:
    """Call a method of a related manager that writes."""
    args, kwargs = await session.filled(args), await session.filled(kwargs)
    manager = getattr(await session.get(slot), relation)
    found = await session.world.call(manager, verb, *args, **kwargs)
    return found if into is None else session.keep(into, found)


@_operation
async def hold(session: Session, into: Slot, slot: Slot, relation: str, methods: Any) -> Any:
    """Keep a related manager, or a queryset of it, in a variable."""
    manager = getattr(await session.get(slot), relation)
    session.variables[into] = await session.chained(manager, methods)


@_operation
async def ask_held(session: Session, held: Slot, methods: Any, verb: str, args: Any) -> Any:
    """Ask what `hold()` has kept."""
    if held not in session.variables:
        return None
    owner = await session.chained(session.variables[held], methods)
    return await _asked(session, owner, verb, args)


@_operation
async def together(session: Session, asked: Any, how: str) -> Any:
    """Ask several querysets and related managers at the same time."""
    asking = []
    for owner, methods, verb, args, kwargs in asked:
        if isinstance(owner, Rows):
            found = await session.rows(owner)
        else:
            found = await session.chained(getattr(await session.get(owner[0]), owner[1]), methods)
        # What is in variables is looked up here: the order in which that happens is to be seen.
        filled = await session.filled(args), await session.filled(kwargs)
        asking.append(partial(_asked, session, found, verb, *filled))
    answers = await session.world.together(asking, how)
    return [error_seen(each) if isinstance(each, Exception) else each for each in answers]


@_operation
async def twice(session: Session, rows: Rows) -> Any:
    return await session.world.twice((await session.rows(rows)).all())


@_operation
async def fetch(session: Session, slot: Slot, rows: Rows, paths: Any) -> Any:
    """Load rows, and what they lack."""
    found = session.keep(slot, await session.world.rows((await session.rows(rows)).all(), "list"))
    return await session.world.fetch(found, paths) if found else None


@_operation
async def read(session: Session, slot: Slot, name: str) -> Any:
    return await session.world.do(getattr, await session.get(slot), name)


@_operation
async def take(session: Session, into: Slot, slot: Slot, name: str) -> Any:
    """Put what an attribute is into a variable."""
    return session.keep(into, await session.world.do(getattr, await session.get(slot), name))


@_operation
async def refresh(session: Session, slot: Slot, kwargs: Any) -> Any:
    instance = await session.get(slot)
    return await session.world.call(instance, "refresh_from_db", **await session.filled(kwargs))


@_operation
async def prefetch(session: Session, slots: Any, lookups: Any) -> Any:
    objects = [await session.get(slot) for slot in slots]
    return await session.world.prefetch(objects, *await session.filled(lookups))


# What changes objects, and not the database.


@_operation
async def new(session: Session, slot: Slot, values: Any) -> Any:
    session.variables[slot] = session.model(slot.kind)(**await session.filled(values))
    return session.variables[slot]


@_operation
async def assign(session: Session, slot: Slot, name: str, value: Any) -> Any:
    instance = await session.get(slot)
    setattr(instance, name, await session.filled(value))


@_operation
async def unsave(session: Session, slot: Slot) -> Any:
    """Make it a new object, as Django's documentation has it."""
    instance = await session.get(slot)
    instance.pk = None
    if hasattr(instance, "id"):
        instance.id = None
    instance._state.adding = True


@_operation
async def copy_(session: Session, into: Slot, slot: Slot, how: str) -> Any:
    session.variables[into] = _COPIES[how](await session.get(slot))


_COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@_operation
async def alias(session: Session, into: Slot, slot: Slot) -> Any:
    session.variables[into] = await session.get(slot)


@_operation
async def drop(session: Session, slot: Slot) -> Any:
    session.variables.pop(slot, None)


# What writes.


@_operation
async def save(session: Session, slot: Slot, kwargs: Any) -> Any:
    return await session.world.call(await session.get(slot), "save", **kwargs)


@_operation
async def delete(session: Session, slot: Slot) -> Any:
    return await session.world.call(await session.get(slot), "delete")


@_operation
async def write(session: Session, slot: Slot, rows: Rows, verb: str, args: Any, kwargs: Any) -> Any:
    """Call a method of a queryset that writes."""
    args, kwargs = await session.filled(args), await session.filled(kwargs)
    # Of a queryset: Django's own acreate() of a manager does not call a create() of that manager's own.
    owner = (await session.rows(rows)).all()
    return session.keep(slot, await session.world.call(owner, verb, *args, **kwargs))


@_operation
async def bulk_create(session: Session, slot: Slot, objects: Any, kwargs: Any) -> Any:
    model = session.model(slot.kind)
    made = [model(**await session.filled(values)) for values in objects]
    return session.keep(slot, await session.world.call(model.objects, "bulk_create", made, **kwargs))


@_operation
async def bulk_update(session: Session, slots: Any, fields: Any) -> Any:
    objects = [await session.get(slot) for slot in slots]
    return await session.world.call(session.model(slots[0].kind).objects, "bulk_update", objects, fields)
