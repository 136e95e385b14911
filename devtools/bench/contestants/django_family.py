"""The operations that all Django contestants write alike: only what runs them differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from devtools.bench.contestants.base import Conditions, Contestant
from devtools.bench.schema import DICT_COLUMNS
from devtools.bench.verbs import VERBS, Numbers

__all__ = ["DjangoContestant"]


class DjangoContestant(Contestant):
    """Subclasses set ``models`` and ``small``, and name the manager whose a-methods are measured."""

    models: Any
    small: dict[int, Any]
    #: The attribute of a model that has the a-methods.
    manager = "objects"

    def of(self, model: Any) -> Any:
        """The manager of a model."""
        return getattr(model, self.manager)

    async def listed(self, queryset: Any) -> list[Any]:
        """All rows of a queryset."""
        return [row async for row in queryset]

    async def get(self, pk: int) -> Any:
        return await self.of(self.models.Book).aget(pk=pk)

    async def count(self, author: int) -> int:
        return int(await self.of(self.models.Book).filter(author_id=author, in_print=True).acount())

    async def exists(self, author: int, price: Decimal) -> bool:
        return bool(await self.of(self.models.Book).filter(author_id=author, price__gt=price).aexists())

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        await self.of(self.models.WrittenBook).filter(pk=pk).aupdate(price=price, pages=pages)

    async def create(self, values: Mapping[str, Any]) -> int:
        return int((await self.of(self.models.WrittenBook).acreate(**values)).pk)

    def in_print(self, price: Decimal) -> Any:
        """The query of `objects`."""
        return self.of(self.models.Book).filter(in_print=True, price__gt=price).order_by("id")

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        return await self.listed(self.in_print(price).values(*DICT_COLUMNS)[:100])

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return await self.listed(self.in_print(price)[:100])

    async def related(self, price: Decimal) -> Sequence[Any]:
        return await self.listed(self.in_print(price).select_related("author")[:100])

    async def prefetched(self, pk: int) -> Sequence[Any]:
        books = self.of(self.models.Book).filter(pk__gte=pk).order_by("pk")
        return await self.listed(books.prefetch_related("tags")[:20])

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        # Once Django is configured.
        from django.db.models import Case, F, Value, When

        authors = self.of(self.models.Author).filter(born__gte=born).values("pk")
        books = self.of(self.models.Book).filter(pk__gte=pk, author__in=authors)
        dear = Case(When(price__gt=price, then=Value(1)), default=Value(0))
        return await self.listed(books.annotate(dear=dear, difference=F("price") - price).order_by("pk")[:20])

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        model = self.models.WrittenBook
        books = await self.of(model).abulk_create([model(**row) for row in rows])
        return [book.pk for book in books]

    def build(self, price: Decimal) -> Any:
        return self.in_print(price)[:100].query.get_compiler("default").as_sql()

    async def rows(self, limit: int) -> Sequence[Any]:
        return await self.listed(self.of(self.models.Book).order_by("id")[:limit])

    async def wide(self, width: int) -> Sequence[Any]:
        return await self.listed(self.of(self.models.wide[width]).order_by("id"))

    async def numbered(self, number: int, pk: int) -> Any:
        return await self.of(self.small[number]).aget(pk=pk)

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        lookups = {f"{column}__{lookup}": value for column, lookup, value in conditions}
        return await self.listed(self.of(self.models.Book).filter(**lookups).order_by("id")[:10])

    async def verb(self, index: int, number: int) -> Any:
        """One of `VERBS`."""
        return await VERBS[index].call(self, Numbers(number))

    def tags_of(self, book: Any) -> list[str]:
        return [tag.name for tag in book._prefetched_objects_cache["tags"]]

    def sql(self, built: Any) -> str:
        return str(built[0])
