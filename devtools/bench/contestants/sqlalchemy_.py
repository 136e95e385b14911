"""SQLAlchemy's asyncio ORM, on either driver."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from devtools.bench.contestants.base import Conditions, Contestant
from devtools.bench.schema import DICT_COLUMNS, WIDTHS, numbered_table, wide_columns, wide_table

__all__ = ["SQLAlchemyAsyncpg", "SQLAlchemyPsycopg"]


class Base(orm.DeclarativeBase):
    """Of all models."""


class Author(Base):
    """As the table."""

    __tablename__ = "author"
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    name: orm.Mapped[str]
    email: orm.Mapped[str]
    country: orm.Mapped[str]
    born: orm.Mapped[int]


class Tag(Base):
    """As the table."""

    __tablename__ = "tag"
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    name: orm.Mapped[str]


_book_tags = sa.Table(
    "book_tags",
    Base.metadata,
    sa.Column("book_id", sa.ForeignKey("book.id")),
    sa.Column("tag_id", sa.ForeignKey("tag.id")),
)


class _BookColumns:
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("author.id"))
    title: orm.Mapped[str]
    description: orm.Mapped[str] = orm.mapped_column(sa.Text)
    in_print: orm.Mapped[bool]
    price: orm.Mapped[Decimal] = orm.mapped_column(sa.Numeric(8, 2))
    created_at: orm.Mapped[dt.datetime] = orm.mapped_column(sa.DateTime(timezone=True))
    pages: orm.Mapped[int | None]
    meta: orm.Mapped[dict[str, Any]] = orm.mapped_column(JSONB)


class Book(_BookColumns, Base):
    """As the table."""

    __tablename__ = "book"
    author: orm.Mapped[Author] = orm.relationship()
    tags: orm.Mapped[list[Tag]] = orm.relationship(secondary=_book_tags)


class WrittenBook(_BookColumns, Base):
    """As the table."""

    __tablename__ = "wbook"


def _small(name: str, table: str, columns: Mapping[str, Any]) -> Any:
    key = sa.Column(sa.BigInteger, primary_key=True)
    return type(name, (Base,), {"__tablename__": table, "id": key, **columns})


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "startswith": lambda column, value: column.startswith(value),
    "contains": lambda column, value: column.contains(value),
}


def _in_print(price: Decimal) -> Any:
    return sa.select(Book).where(Book.in_print, Book.price > price).order_by(Book.id).limit(100)


class _SQLAlchemy(Contestant):
    driver: str
    remarks = {
        "get": "a session for each operation; the engine is in AUTOCOMMIT with `skip_autocommit_rollback`, "
        "blocks have an engine of their own",
        "build": "the statement, its cache key and the compiled text from the engine's cache",
    }

    async def open(self, url: str, connections: int, small: int) -> None:
        address = urlsplit(url)._replace(scheme=f"postgresql+{self.driver}").geturl()
        sizes = {"pool_size": connections, "max_overflow": 0}
        self._engine = create_async_engine(
            address, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **sizes
        )
        self._block_engine = create_async_engine(address, **sizes)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)
        self._block_session = async_sessionmaker(self._block_engine, expire_on_commit=False)
        self._wide = {}
        for width in WIDTHS:
            columns = {
                name: sa.Column(sa.Text if number % 2 else sa.Integer)
                for number, name in enumerate(wide_columns(width), 1)
            }
            self._wide[width] = _small(f"Wide{width}", wide_table(width), columns)
        self._numbered = []
        for number in range(small):
            columns = {
                "c1": sa.Column(sa.Text),
                "c2": sa.Column(sa.Integer),
                "c3": sa.Column(sa.Text),
                "c4": sa.Column(sa.Integer),
            }
            self._numbered.append(_small(f"Numbered{number}", numbered_table(number), columns))
        orm.configure_mappers()

    async def close(self) -> None:
        await self._engine.dispose()
        await self._block_engine.dispose()

    async def get(self, pk: int) -> Any:
        async with self._session() as session:
            return await session.get(Book, pk)

    async def count(self, author: int) -> int:
        query = sa.select(sa.func.count()).select_from(Book).where(Book.author_id == author, Book.in_print)
        async with self._session() as session:
            return int((await session.scalars(query)).one())

    async def exists(self, author: int, price: Decimal) -> bool:
        query = sa.select(sa.exists().where(Book.author_id == author, Book.price > price))
        async with self._session() as session:
            return bool(await session.scalar(query))

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        async with self._session() as session:
            change = sa.update(WrittenBook).where(WrittenBook.id == pk).values(price=price, pages=pages)
            await session.execute(change)
            await session.commit()

    async def create(self, values: Mapping[str, Any]) -> int:
        async with self._session() as session:
            book = WrittenBook(**values)
            session.add(book)
            await session.commit()
            return int(book.id)

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with self._block_session() as session, session.begin():
            found = await session.get(Author, author)
            book = await session.get(WrittenBook, pk)
            await session.execute(sa.update(WrittenBook).where(WrittenBook.id == pk).values(price=price))
        return found, book

    async def _all(self, query: Any) -> Sequence[Any]:
        async with self._session() as session:
            return list((await session.scalars(query)).all())

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        columns = [getattr(Book, name) for name in DICT_COLUMNS]
        query = sa.select(*columns).where(Book.in_print, Book.price > price).order_by(Book.id).limit(100)
        async with self._session() as session:
            return list((await session.execute(query)).mappings().all())

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return await self._all(_in_print(price))

    async def related(self, price: Decimal) -> Sequence[Any]:
        return await self._all(_in_print(price).options(orm.joinedload(Book.author, innerjoin=True)))

    async def prefetched(self, pk: int) -> Sequence[Any]:
        query = sa.select(Book).where(Book.id >= pk).order_by(Book.id).limit(20)
        return await self._all(query.options(orm.selectinload(Book.tags)))

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        dear = sa.case((Book.price > price, 1), else_=0)
        authors = sa.select(Author.id).where(Author.born >= born)
        query = sa.select(Book, dear, Book.price - price).where(Book.id >= pk, Book.author_id.in_(authors))
        async with self._session() as session:
            return list((await session.execute(query.order_by(Book.id).limit(20))).all())

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        books = [WrittenBook(**row) for row in rows]
        async with self._session() as session:
            session.add_all(books)
            await session.commit()
        return [book.id for book in books]

    def build(self, price: Decimal) -> Any:
        # What Connection._execute_clauseelement() does before it needs the database.
        engine = self._engine.sync_engine
        compiled, extracted, *_ = _in_print(price)._compile_w_cache(
            dialect=engine.dialect, compiled_cache=engine._compiled_cache, column_keys=[]
        )
        compiled.construct_params(extracted_parameters=extracted)
        return compiled

    async def rows(self, limit: int) -> Sequence[Any]:
        return await self._all(sa.select(Book).order_by(Book.id).limit(limit))

    async def wide(self, width: int) -> Sequence[Any]:
        model = self._wide[width]
        return await self._all(sa.select(model).order_by(model.id))

    async def numbered(self, number: int, pk: int) -> Any:
        async with self._session() as session:
            return await session.get(self._numbered[number], pk)

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        clauses = [_OPERATORS[lookup](getattr(Book, column), value) for column, lookup, value in conditions]
        return await self._all(sa.select(Book).where(*clauses).order_by(Book.id).limit(10))

    def row(self, thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
        if isinstance(thing, sa.Row) and isinstance(thing[0], Book):  # and what was selected besides
            book, *others = thing
            return (*super().row(book, columns[: -len(others)]), *others)
        return super().row(thing, columns)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        async with self._block_session() as session, session.begin():
            await session.get(Book, 1)
            (await session.scalars(_in_print(Decimal(10)))).all()
            await session.scalar(sa.select(sa.func.count()).select_from(Book).where(Book.author_id == 1))
            session.expunge_all()
            yield

    def author_of(self, book: Any) -> Any:
        return book.__dict__["author"]  # loaded, or this is an error

    def tags_of(self, book: Any) -> list[str]:
        return [tag.name for tag in book.__dict__["tags"]]


class SQLAlchemyPsycopg(_SQLAlchemy):
    """``postgresql+psycopg``."""

    packages = ("SQLAlchemy", "psycopg")
    driver = "psycopg"


class SQLAlchemyAsyncpg(_SQLAlchemy):
    """``postgresql+asyncpg``."""

    packages = ("SQLAlchemy", "asyncpg")
    driver = "asyncpg"
