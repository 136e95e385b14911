"""The intermediate representation: what the generator knows of the models, free of Django objects.

Types are *type expressions*: Python type syntax in which a name is written ``{module:qualname}``, so
that the renderer decides how it is imported. An empty module is ``builtins``. The modules
``@row``, ``@base``, ``@related``, ``@many``, ``@columns`` and ``@queryset`` stand for the generated class of
a model (its label follows), the hand-written one, and the generated related managers, columns and querysets
of its main manager.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum, IntEnum
from functools import cached_property

__all__ = [
    "ANNOTATED_QUERYSET",
    "SAME_QUERYSET",
    "App",
    "Column",
    "Field",
    "Lookup",
    "Manager",
    "Member",
    "Method",
    "Model",
    "Order",
    "Reach",
    "Relation",
    "RelationKind",
    "Schema",
    "Unknown",
    "dump",
]


#: The return type of methods which give a queryset of the same rows, or a part of it.
SAME_QUERYSET = "{@queryset:same}"
#: The return type of methods which give a queryset of rows with annotations, or a part of it.
ANNOTATED_QUERYSET = "{@queryset:annotated}"


class RelationKind(str, Enum):
    """How an attribute leads from one model to another."""

    FOREIGN_KEY = "foreign_key"
    ONE_TO_ONE = "one_to_one"
    MANY_TO_MANY = "many_to_many"
    REVERSE_FOREIGN_KEY = "reverse_foreign_key"
    REVERSE_ONE_TO_ONE = "reverse_one_to_one"
    REVERSE_MANY_TO_MANY = "reverse_many_to_many"
    GENERIC_RELATION = "generic_relation"
    GENERIC_FOREIGN_KEY = "generic_foreign_key"

    @property
    def is_forward_one(self) -> bool:
        return self in (RelationKind.FOREIGN_KEY, RelationKind.ONE_TO_ONE)

    @property
    def is_one(self) -> bool:
        return self.is_forward_one or self is RelationKind.REVERSE_ONE_TO_ONE

    @property
    def takes_keys(self) -> bool:
        """Whether the related manager is a many-to-many one, whose ``add()`` takes keys too."""
        return self in (RelationKind.MANY_TO_MANY, RelationKind.REVERSE_MANY_TO_MANY)


class Reach(IntEnum):
    """How far from a model a field is, in lookups. The farther, the more fields there are."""

    OWN = 0
    #: Behind one forward relation: ``author__name``.
    NEXT = 1
    #: Behind a backward relation, or several: ``books__title``, ``author__country__code``.
    FAR = 2


@dataclass(frozen=True)
class Lookup:
    """One keyword of ``filter()``, without its path: ``""`` is exact, else ``icontains``, ``year__gte``."""

    name: str
    value: str
    #: The farthest from the model's own fields that it is offered.
    reach: Reach


@dataclass(frozen=True)
class Column:
    """How a column looks as an attribute, for typed `select()`."""

    #: The generic class.
    kind: str
    #: The type of the values without NULL, and of what they are compared with; empty where the class
    #: says both.
    row: str = ""
    value: str = ""


@dataclass(frozen=True)
class Field:
    """A column of a model, or a foreign key seen as its column."""

    name: str
    attname: str
    #: The attribute's type: of the key (``attname``) where the field is a foreign key.
    read: str
    #: The type in ``values()`` and ``values_list()``.
    row: str
    #: What ``__init__`` and the ``create`` methods take.
    accept: str
    #: What ``update()`` takes: ``accept`` or an expression.
    update: str
    #: Whether assigning takes more than reading gives (a file field), so that it is a descriptor.
    descriptor: bool
    null: bool
    required: bool
    #: Whether the database computes it, so that nobody can set it.
    generated: bool
    #: Whether the model has Django's ``get_..._display()`` for its choices, and none of its own.
    has_display: bool
    has_steps: bool
    help: str
    lookups: tuple[Lookup, ...]
    column: Column


@dataclass(frozen=True)
class Relation:
    """A way to another model, forward or backward."""

    kind: RelationKind
    #: The attribute on the instance; empty for a relation without one (``related_name="+"``).
    name: str
    #: The name in lookups; empty where Django offers none.
    query_name: str
    #: The label of the other model; empty for a generic foreign key.
    target: str
    null: bool
    #: What the key of the other model is as a lookup value.
    key: str
    #: What ``acreate`` and ``__init__`` take as key.
    key_accept: str
    help: str
    #: The label of the model of the table between, of many-to-many relations; empty where Django makes it.
    through: str = ""


@dataclass(frozen=True)
class Order:
    """The rows of a model which are in order with respect to another: ``book.get_chapter_order()``."""

    #: The model in those names.
    name: str
    #: What ``get_..._order()`` returns, and the keys that ``set_..._order()`` takes.
    returns: str
    key: str


@dataclass(frozen=True)
class Method:
    """A public method of a hand-written manager or queryset class."""

    name: str
    #: Whether managers do not have it.
    queryset_only: bool
    is_async: bool
    #: Whether it is one of several signatures of that name.
    is_overload: bool
    #: Whether it takes the place of one of Django's, with parameters of its own.
    is_override: bool
    #: The parameters after ``self``, as source text with type expressions.
    parameters: str
    returns: str


@dataclass(frozen=True)
class Member:
    """A method or a property of a hand-written model class which gives rows or querysets."""

    method: Method
    #: The decorator which makes the function what it is.
    decorator: str
    #: What can be assigned; empty where nothing can.
    accept: str


@dataclass(frozen=True)
class Manager:
    """An `AsyncManager` of a model."""

    name: str
    #: What the names generated for it have after the model's prefix, where it is not the main one.
    words: str
    is_default: bool
    #: Whether the model has an ordinary manager of that name, which importing the facade makes async.
    is_attached: bool
    #: The hand-written manager class, where source code can name it.
    base: str | None
    #: Whether there is one that source code cannot name.
    is_unnamed: bool
    #: The hand-written queryset class, where source code can name it.
    queryset: str | None
    #: Whether the manager's own `get_queryset()` makes them, not `from_queryset()`.
    is_queryset_made: bool
    #: Whether that is an `AsyncQuerySet`; importing the facade makes querysets of other classes into it.
    is_queryset_async: bool
    methods: tuple[Method, ...]
    queryset_methods: tuple[Method, ...]


@dataclass(frozen=True)
class Model:
    """A model, generated for or only referred to."""

    label: str
    name: str
    module: str
    qualname: str
    doc: str
    #: The dotted path of the facade with its generated class. Without one, others refer to the
    #: hand-written class.
    facade: str
    #: What the generated names begin with: its class's name, escaped where that would clash.
    prefix: str
    #: Whether the class is in source code, and not made by Django (an automatic through model).
    is_importable: bool
    key_read: str
    #: The type of the key in ``values()`` where there may be no row.
    key_missing: str
    key_accept: str
    key_lookups: tuple[Lookup, ...]
    key_column: Column
    #: Generated parents (multi-table inheritance, proxies), nearest first.
    parents: tuple[str, ...]
    fields: tuple[Field, ...]
    relations: tuple[Relation, ...]
    managers: tuple[Manager, ...]
    members: tuple[Member, ...]
    #: Whether its rows are in order with respect to those of another model, and the models of which
    #: rows are in order with respect to its own.
    is_ordered: bool
    orders: tuple[Order, ...]
    #: Methods such as `save` which its code overrides with parameters of its own.
    overridden: tuple[str, ...]

    @cached_property
    def foreign_keys(self) -> dict[str, Relation]:
        """The relations which are columns, by name."""
        return {relation.name: relation for relation in self.relations if relation.kind.is_forward_one}

    @cached_property
    def digest(self) -> str:
        """A hash of all of it, made once for the many apps whose paths lead here."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class Unknown:
    """A field whose type is Any, because nothing tells it."""

    field: str
    field_class: str


@dataclass(frozen=True)
class App:
    """An application with a facade."""

    label: str
    #: The dotted path of the facade.
    facade: str
    models: tuple[Model, ...]
    #: Models of other facades and hand-written ones which the facade's paths lead to.
    context: tuple[Model, ...]
    unknown: tuple[Unknown, ...]

    @cached_property
    def digest(self) -> str:
        """A hash of everything the facade depends on, but for the options."""
        parts = [self.label, self.facade, *(model.digest for model in (*self.models, *self.context))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Schema:
    """Everything one run generates for."""

    apps: tuple[App, ...]


def dump(node: App | Schema) -> str:
    """Return *node* as JSON text, for people to read."""
    return json.dumps(asdict(node), indent=1, sort_keys=True, ensure_ascii=False)
