"""PostgreSQL's searches: one plan for all that is searched for, rows and errors as Django's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.postgres.lookups import SearchLookup, TrigramSimilar
from django.contrib.postgres.search import (
    SearchHeadline,
    SearchQuery,
    SearchRank,
    SearchVector,
    TrigramDistance,
    TrigramSimilarity,
    TrigramWordSimilarity,
)
from django.db import connection, connections
from django.db.models import CharField, Count, F, Func, Q, TextField, Value
from django.test.utils import register_lookup

from tests.project.library.models import Author, Book, Note
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import kept_by, planned_as_django

pytestmark = pytest.mark.usefixtures("searches", "at_once", "verifying")


@pytest.fixture(scope="module")
def searches(filled: Snapshot) -> Iterator[None]:
    """What `django.contrib.postgres` registers as an application, and the extension it asks for."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    connections.close_all()
    with ExitStack() as stack:
        for field in (CharField, TextField):
            for lookup in (SearchLookup, TrigramSimilar):
                stack.enter_context(register_lookup(field, lookup))
        yield


titles = SearchVector("title", "author__name")
weighted = SearchVector("title", weight="A", config="english") + SearchVector("author__name", weight="B")

#: Querysets of what is searched for.
SEARCHES: dict[str, Callable[[str], Any]] = {
    "a lookup": lambda text: Book.objects.filter(title__search=text),
    "a lookup of a query": lambda text: Book.objects.filter(title__search=SearchQuery(text)),
    "a configuration": lambda text: Book.objects.filter(title__search=SearchQuery(text, config="english")),
    "another configuration": lambda text: Book.objects.filter(
        title__search=SearchQuery(text, config=Value("simple"))
    ),
    "a vector": lambda text: Book.objects.annotate(v=titles).filter(v=text),
    "a vector and a query": lambda text: Book.objects.annotate(v=titles).filter(v=SearchQuery(text)),
    "an alias": lambda text: Book.objects.alias(v=titles).filter(v=SearchQuery(text)).values_list("title"),
    "a phrase": lambda text: Note.objects.filter(text__search=SearchQuery(text, search_type="phrase")),
    "as on the web": lambda text: Note.objects.filter(
        text__search=SearchQuery(text, search_type="websearch")
    ),
    "raw": lambda text: Note.objects.filter(text__search=SearchQuery(text, search_type="raw")),
    "not": lambda text: Book.objects.filter(title__search=~SearchQuery(text)),
    "and, or": lambda text: Book.objects.filter(
        title__search=(SearchQuery(text) | SearchQuery("dance")) & ~SearchQuery(f"{text} x")
    ),
    "excluded": lambda text: Book.objects.exclude(title__search=text),
    "weights": lambda text: Book.objects.annotate(v=weighted).filter(v=SearchQuery(text, config="english")),
    "weights and a text": lambda text: Book.objects.annotate(v=weighted).filter(v=text),
    "a rank": lambda text: Book.objects.annotate(rank=SearchRank(titles, SearchQuery(text))).order_by(
        "-rank", "pk"
    ),
    "a rank of a text": lambda text: Book.objects.annotate(rank=SearchRank("title", text)).order_by(
        "-rank", "pk"
    ),
    "a rank that is filtered": lambda text: Book.objects.annotate(
        rank=SearchRank(titles, SearchQuery(text), normalization=2, cover_density=True)
    ).filter(rank__gte=0.01),
    "a query that is used twice": lambda text: Book.objects.annotate(
        v=titles, rank=SearchRank(F("v"), SearchQuery(text))
    ).filter(v=SearchQuery(text)),
    "ordered by rank": lambda text: Book.objects.order_by(SearchRank(titles, SearchQuery(text)).desc(), "pk"),
    "a headline": lambda text: Note.objects.annotate(
        line=SearchHeadline("text", SearchQuery(text), config="english")
    ),
    "similar": lambda text: Author.objects.filter(name__trigram_similar=text),
    "similarity": lambda text: Author.objects.annotate(s=TrigramSimilarity("name", text)).filter(s__gt=0.1),
    "similarity of words": lambda text: Book.objects.annotate(s=TrigramWordSimilarity(text, "title")),
    "distance": lambda text: Book.objects.order_by(TrigramDistance("title", text), "pk"),
    "distance of a Value": lambda text: Book.objects.order_by(TrigramDistance("title", Value(text)), "pk"),
    "counted": lambda text: Author.objects.annotate(n=Count("books", filter=Q(books__title__search=text))),
    "in another": lambda text: Author.objects.filter(
        books__in=Book.objects.annotate(s=TrigramSimilarity("title", text)).filter(s__gt=0.2)
    ),
}

TEXTS = ("Chess", "dance", "Ada & Bob", "it's 100% %s $1 \\", "", "ä😀", "'", "Chess")


@pytest.mark.parametrize("name", SEARCHES)
async def test_rows_and_errors_are_djangos(name: str):
    planned = await planned_as_django(
        *[lambda text=text: SEARCHES[name](text).order_by("pk").alist() for text in TEXTS]
    )
    assert planned == len(TEXTS)


@pytest.mark.parametrize("name", SEARCHES)
async def test_one_plan_for_all_texts(name: str, shapes: Any):
    rows = SEARCHES[name]("Chess")
    assert await rows.acount() >= 0
    before = shapes.trie.count
    for text in TEXTS[:3]:
        await SEARCHES[name](text).acount()
    assert shapes.trie.count == before


#: Those that belong to Django.
LEFT: dict[str, Callable[[str], Any]] = {
    "weights of a rank": lambda text: Book.objects.annotate(
        rank=SearchRank(titles, SearchQuery(text), weights=[0.1, 0.2, 0.4, 1.0])
    ),
    "a headline with options": lambda text: Note.objects.annotate(
        line=SearchHeadline("text", SearchQuery(text), start_sel="<b>")
    ),
    "a class of the project": lambda text: Author.objects.annotate(s=Similar("name", text)),
}


class Similar(Func):
    function = "SIMILARITY"

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        return super().as_sql(*args, **kwargs)


@pytest.mark.parametrize("name", LEFT)
async def test_left_to_django(name: str):
    calls = [lambda text=text: LEFT[name](text).order_by("pk").alist() for text in ("Chess", "x")]
    assert await planned_as_django(*calls) == 0


async def test_plans_keep_no_texts():
    text = "WhatSomebodyLookedFor".lower()
    for search in SEARCHES.values():
        await search(text).alist()
    assert kept_by(text) == []
