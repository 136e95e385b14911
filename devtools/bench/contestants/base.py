"""What a contestant must be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

__all__ = ["Conditions", "Contestant", "Missing", "versions_of"]

Conditions = Sequence[tuple[str, str, Any]]


class Missing(Exception):
    """The contestant can't take part. The message says why."""


class Contestant(ABC):
    """One way to use the database from async Python, written as its own documentation would.

    An answer is whatever its users would get: objects, dictionaries, tuples. `row` and the
    like read it for the check, outside of what is measured.
    """

    #: The package whose version is stated, and those beneath it that matter.
    packages: ClassVar[tuple[str, ...]]
    #: Operations it does not have, and why.
    unsupported: ClassVar[Mapping[str, str]] = {}
    #: Remarks to operations that are not quite the same as the others'.
    remarks: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    async def open(self, url: str, connections: int, small: int) -> None:
        """Declare the models, *small* of the small tables too; make a pool to *url*."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def get(self, pk: int) -> Any:
        """The book with this pk."""

    @abstractmethod
    async def count(self, author: int) -> int:
        """How many books of the author are in print."""

    @abstractmethod
    async def exists(self, author: int, price: Decimal) -> bool:
        """Whether the author has a book that costs more."""

    @abstractmethod
    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        """Set price and pages of a written book, in one UPDATE."""

    @abstractmethod
    async def create(self, values: Mapping[str, Any]) -> int:
        """Make a written book; return its pk."""

    @abstractmethod
    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        """In one transaction: get the author and the written book, and update its price; return both."""

    @abstractmethod
    async def dicts(self, price: Decimal) -> Sequence[Any]:
        """The first 100 books in print that cost more, by pk, as dictionaries of five columns."""

    @abstractmethod
    async def objects(self, price: Decimal) -> Sequence[Any]:
        """The first 100 books in print that cost more, by pk, whole."""

    @abstractmethod
    async def related(self, price: Decimal) -> Sequence[Any]:
        """The same books with their authors, from one query with a join."""

    @abstractmethod
    async def prefetched(self, pk: int) -> Sequence[Any]:
        """The 20 books from this pk on, and their tags from a second query."""

    @abstractmethod
    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        """The first 20 books from this pk on by authors not born earlier.

        With ``dear``, 1 if one costs more than the price, else 0, and ``difference``, its price less that.
        """

    @abstractmethod
    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """Make many written books; return their pks in the order of *rows*."""

    @abstractmethod
    def build(self, price: Decimal) -> Any:
        """The SQL of `objects`, made anew from the query as its user writes it."""

    async def request(self, pk: int) -> Any:
        """`get`, where each call is a request of its own to an ASGI server."""
        return await self.get(pk)

    @abstractmethod
    async def rows(self, limit: int) -> Sequence[Any]:
        """The first books, whole."""

    @abstractmethod
    async def wide(self, width: int) -> Sequence[Any]:
        """All rows of the table of that many columns."""

    @abstractmethod
    async def numbered(self, number: int, pk: int) -> Any:
        """A row of that one of the 500 small tables."""

    @abstractmethod
    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        """The first 10 books that meet all conditions, by pk."""

    @abstractmethod
    def held(self) -> AbstractAsyncContextManager[Any]:
        """A connection in use, as in a transaction: the operations inside run on it."""

    def operation(self, name: str, tasks: int) -> Callable[..., Any]:
        """What is called, over and over, for an operation by so many tasks at once."""
        return getattr(self, name)  # type: ignore[no-any-return]

    async def end_task(self) -> None:  # noqa: B027 - few need it
        """Called at the end of each task that called operations."""

    def row(self, thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
        """The columns of an object, a dictionary or a row that holds just these."""
        if isinstance(thing, Mapping):
            return tuple(thing[name] for name in columns)
        return tuple(getattr(thing, name) for name in columns)

    def author_of(self, book: Any) -> Any:
        """The author in an answer of `related`."""
        return book.author

    def tags_of(self, book: Any) -> list[str]:
        """The names of the tags in an answer of `prefetched`."""
        return [tag.name for tag in book.tags]

    def sql(self, built: Any) -> str:
        """The text in an answer of `build`."""
        return str(built)

    @classmethod
    def describe(cls) -> str:
        """The versions of its packages, in one line."""
        return versions_of(cls.packages)


def versions_of(packages: Sequence[str]) -> str:
    """Names and versions. Raises `Missing` for a package that is not installed."""
    try:
        return ", ".join(f"{name} {version(name)}" for name in packages)
    except PackageNotFoundError as error:
        raise Missing(f"{error.name} is not installed") from None
