"""Every kind of related manager with every verb it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import django
from django.contrib.auth.models import Group
from django.db.models import Count

from tests.project.library.models import Author, Book, Note, Person, Plain, Tag
from tests.runtime.parity.outcome import Call, Case, on

__all__ = ["CASES", "RELATIONS", "Relation"]


@dataclass(frozen=True)
class Relation:
    """A related manager, and what its verbs can be called with."""

    name: str
    #: Which of Django's manager classes it has; `test_complete` counts them.
    kind: str
    #: Makes the manager anew, on an instance that has related objects.
    manager: Callable[[], Any]
    #: Existing objects not related yet.
    others: Callable[[], list[Any]]
    #: Arguments to create a related object with.
    new: dict[str, Any]
    #: Keyword arguments `aadd()` also takes.
    options: dict[str, Any] = field(default_factory=dict)
    #: Has `aremove()` and `aclear()`: objects may exist without the relation.
    removable: bool = True


def _kim() -> Person:
    found: Person = Person.everyone.get(name="Kim")
    return found


PEOPLE = partial(Person.everyone.filter, name__in=["Eve", "Lee"])

RELATIONS = [
    Relation(
        "not nullable",
        "ReverseForeignKey",
        lambda: Author.objects.get(pk=1).books,
        lambda: list(Book.objects.exclude(author=1)),
        {"title": "new"},
        {"bulk": False},
        removable=False,
    ),
    Relation(
        "nullable",
        "ReverseForeignKey",
        lambda: Author.objects.get(pk=2).edited,
        lambda: list(Book.objects.exclude(editor=2)),
        {"title": "new", "author_id": 1},
        {"bulk": False},
    ),
    Relation(
        "of an unmanaged model",
        "ReverseForeignKey",
        lambda: Author.objects.get(pk=1).plains,
        lambda: list(Plain.objects.filter(author=None)),
        {"name": "new"},
        {"bulk": False},
    ),
    Relation(
        "to itself",
        "ReverseForeignKey",
        lambda: Person.everyone.get(name="Eve").children,
        lambda: [Person.everyone.get(name="Eve")],
        {"pk": "00000000-0000-0000-0000-000000000009", "name": "new"},
        {"bulk": False},
    ),
    Relation(
        "forward",
        "ManyToMany",
        lambda: Book.objects.get(pk=1).tags,
        lambda: list(Tag.objects.filter(label="blue")),
        {"label": "new"},
    ),
    Relation(
        "reverse",
        "ManyToMany",
        lambda: Tag.objects.get(label="green").books,
        lambda: list(Book.objects.filter(tags=None)),
        {"title": "new", "author_id": 1},
    ),
    Relation(
        "through",
        "ManyToMany",
        lambda: Book.objects.get(pk=1).contributors,
        lambda: list(Author.objects.filter(name="Ada")),
        {"name": "new"},
        {"through_defaults": {"role": "printer"}},
    ),
    Relation(
        "through, reverse",
        "ManyToMany",
        lambda: Author.objects.get(pk=1).contributed,
        lambda: list(Book.objects.filter(pk=4)),
        {"title": "new", "author_id": 2},
        {"through_defaults": {"role": "printer"}},
    ),
    Relation(
        "to another app",
        "ManyToMany",
        lambda: Author.objects.get(name="Bob").groups,
        lambda: list(Group.objects.filter(name="guests")),
        {"name": "new"},
    ),
    Relation(
        "from another app",
        "ManyToMany",
        lambda: Group.objects.get(name="staff").authors,
        lambda: list(Author.objects.filter(name="Cyd")),
        {"name": "new"},
    ),
    Relation(
        "of an unmanaged model",
        "ManyToMany",
        lambda: Plain.objects.get(name="p").fans,
        lambda: list(Author.objects.filter(name="Ada")),
        {"name": "new"},
    ),
    Relation(
        "to an unmanaged model",
        "ManyToMany",
        lambda: Author.objects.get(name="Bob").likes,
        lambda: list(Plain.objects.filter(name="q")),
        {"name": "new"},
    ),
    Relation(
        "symmetrical",
        "ManyToMany",
        lambda: _kim().friends,
        lambda: list(PEOPLE()),
        {"pk": "00000000-0000-0000-0000-000000000009", "name": "new"},
    ),
    Relation(
        "to itself",
        "ManyToMany",
        lambda: _kim().follows,
        lambda: list(PEOPLE()),
        {"pk": "00000000-0000-0000-0000-000000000009", "name": "new"},
    ),
    Relation(
        "of a book",
        "Generic",
        lambda: Book.objects.get(pk=1).notes,
        lambda: list(Note.objects.exclude(object_id=1)),
        {"text": "new"},
        {"bulk": False},
    ),
]


_EXEMPLARY_NAMES = {
    ("ReverseForeignKey", "nullable"),
    ("ManyToMany", "forward"),
    ("ManyToMany", "through"),
    ("Generic", "of a book"),
}
#: One of each kind, for the fast part of the suite.
EXEMPLARY = [relation for relation in RELATIONS if (relation.kind, relation.name) in _EXEMPLARY_NAMES]


def _first(relation: Relation, *, options: dict[str, Any] | None = None) -> Call:
    manager = relation.manager()
    return on(manager, manager.order_by("pk")[0], **(options or {}))


def _pk(relation: Relation) -> Call:
    return on(relation.manager(), *[other.pk for other in relation.others()])


def _both(relation: Relation, **kwargs: Any) -> Call:
    manager = relation.manager()
    return on(manager, [manager.order_by("pk")[0], *relation.others()], **kwargs)


def _prefetched(relation: Relation) -> Call:
    manager = relation.manager()
    name = getattr(manager, "prefetch_cache_name", None) or manager.field.remote_field.get_accessor_name()
    fresh = type(manager.instance)._base_manager.prefetch_related(name).get(pk=manager.instance.pk)
    return on(getattr(fresh, name), *relation.others())


def writes(relation: Relation) -> Iterator[Case]:
    r, new, options = relation, relation.new, relation.options
    defaults = {key: value for key, value in new.items() if key not in ("name", "title", "label", "text")}
    lookup = {key: value for key, value in new.items() if key not in defaults}

    def case(verb: str, build: Callable[[], Call], note: str = "") -> Case:
        return Case(r.kind, verb, build, ", ".join(filter(None, (r.name, note))), r)

    yield case("aadd", lambda: on(r.manager(), *r.others()))
    yield case("aadd", lambda: on(r.manager(), *r.others(), **options), "options")
    yield case("aadd", lambda: _first(r), "there already")
    yield case("aadd", lambda: on(r.manager()), "nothing")
    yield case("aadd", lambda: on(r.manager(), "nonsense"), "wrong type")
    yield case("aadd", lambda: on(r.manager(), r.manager().model(**new)), "unsaved")
    yield case("aadd", lambda: _pk(r), "keys")
    yield case("acreate", lambda: on(r.manager(), **new))
    yield case("acreate", lambda: on(r.manager(), nofield=1), "no such field")
    yield case("aget_or_create", lambda: on(r.manager(), defaults=defaults, **lookup), "created")
    yield case("aget_or_create", lambda: on(r.manager(), pk=r.manager().order_by("pk")[0].pk), "found")
    yield case("aupdate_or_create", lambda: on(r.manager(), defaults=defaults, **lookup), "created")
    yield case(
        "aupdate_or_create",
        lambda: on(r.manager(), pk=r.manager().order_by("pk")[0].pk, defaults=lookup),
        "updated",
    )
    if django.VERSION >= (5, 0):
        yield case(
            "aupdate_or_create",
            lambda: on(r.manager(), create_defaults=defaults, defaults={"pk": 1}, **lookup),
            "create_defaults",
        )
    yield case("aset", lambda: on(r.manager(), r.others()))
    yield case("aset", lambda: _both(r), "keeping one")
    yield case("aset", lambda: on(r.manager(), []), "nothing")
    yield case("aset", lambda: _both(r, clear=True), "clearing first")
    if r.kind == "ManyToMany":
        yield case("aset", lambda: on(r.manager(), [other.pk for other in r.others()]), "keys")
        yield case("aset", lambda: on(r.manager(), r.others(), **options), "options")
        yield case("aadd", lambda: _prefetched(r), "prefetched")
    if r.removable:
        yield case("aremove", lambda: _first(r))
        yield case("aremove", lambda: on(r.manager(), *r.others()), "not related")
        yield case("aremove", lambda: on(r.manager()), "nothing")
        yield case("aclear", lambda: on(r.manager()))
        if "bulk" in options:
            yield case("aremove", lambda: _first(r, options=options), "one by one")
            yield case("aclear", lambda: on(r.manager(), **options), "one by one")


def reads(relation: Relation) -> Iterator[Case]:
    r = relation

    def case(verb: str, build: Callable[[], Call]) -> Case:
        return Case(r.kind, verb, build, r.name, r)

    yield case("alist", lambda: on(r.manager()))
    yield case("__aiter__", lambda: on(r.manager().all()))
    yield case("aiterator", lambda: on(r.manager(), chunk_size=1))
    yield case("aget", lambda: on(r.manager(), pk=r.manager().first().pk))
    yield case("afirst", lambda: on(r.manager()))
    yield case("alast", lambda: on(r.manager()))
    yield case("aearliest", lambda: on(r.manager(), "pk"))
    yield case("alatest", lambda: on(r.manager(), "pk"))
    yield case("acount", lambda: on(r.manager()))
    yield case("aexists", lambda: on(r.manager()))
    yield case("acontains", lambda: on(r.manager(), r.manager().first()))
    yield case("aaggregate", lambda: on(r.manager(), Count("pk")))
    yield case("ain_bulk", lambda: on(r.manager()))
    yield case("aexplain", lambda: on(r.manager(), costs=False))
    yield case("aupdate", lambda: on(r.manager(), **{next(k for k in r.new if k in NAMES): "changed"}))
    yield case("abulk_create", lambda: on(r.manager(), [r.manager().model(**r.new)]))
    yield case("abulk_update", lambda: on(r.manager(), list(r.manager().all()), [next(iter(r.new))]))
    yield case("adelete", lambda: on(r.manager()))


#: The field of each model that can be set to any text.
NAMES = ("name", "title", "label", "text")

CASES = [case for relation in RELATIONS for make in (writes, reads) for case in make(relation)]
