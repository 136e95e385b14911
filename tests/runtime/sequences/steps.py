"""What a script is made of: steps, and what stands for objects in their arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Ahead", "Block", "Key", "Rows", "Script", "Slot", "Step", "Sum"]

#: The models by the names of their variables.
KINDS = {
    name.lower(): name
    for name in (
        *("Place", "Author", "Poet", "Scribe", "Tag", "Book", "Reading", "Profile", "Passport", "Note"),
        *("Draft", "Member", "Diary"),
    )
}


@dataclass(frozen=True)
class Slot:
    """A variable."""

    kind: str
    number: int

    def __repr__(self) -> str:
        return f"{self.kind}{self.number}"


@dataclass(frozen=True)
class Key:
    """The key of what is in a variable."""

    slot: Slot

    def __repr__(self) -> str:
        return f"{self.slot}.pk"


@dataclass(frozen=True)
class Sum:
    """An expression: a field and a number."""

    field: str
    number: int

    def __repr__(self) -> str:
        return f"F({self.field!r}) + {self.number}"


@dataclass(frozen=True)
class Rows:
    """A queryset: of a model's manager, and the methods called with it."""

    kind: str
    methods: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = ()
    manager: str = "objects"

    def __repr__(self) -> str:
        return f"{KINDS[self.kind]}.{self.manager}{_calls(self.methods)}"


@dataclass(frozen=True)
class Ahead:
    """A `Prefetch`."""

    path: str
    rows: Rows | None = None
    to_attr: str | None = None


def _calls(methods: Any) -> str:
    return "".join(f".{name}({_arguments(args, kwargs)})" for name, args, kwargs in methods)


def _arguments(args: Any, kwargs: Any) -> str:
    return ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])


@dataclass(frozen=True)
class Step:
    """An operation with its arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.name}({_arguments(self.args, self.kwargs)})"


@dataclass(frozen=True)
class Block:
    """Steps in an `atomic()` block, which is left with an error if it is to be *undone*."""

    steps: tuple[Any, ...]
    undone: bool

    def __repr__(self) -> str:
        return f"block({', '.join(map(repr, self.steps))}, undone={self.undone})"


@dataclass(frozen=True)
class Script:
    """Steps, and the circumstances in which they are taken."""

    steps: tuple[Step | Block, ...]
    in_block: bool = False
    #: Of `playing.SIGNALS`.
    heard: str = "none"

    def __repr__(self) -> str:
        steps = "".join(f"\n    {step!r}," for step in self.steps)
        return f"{'in a block' if self.in_block else 'in autocommit'}, signals heard: {self.heard}{steps}"
