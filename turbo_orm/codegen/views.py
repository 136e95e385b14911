"""What the templates are given: source text, ready to print."""

from __future__ import annotations

from dataclasses import dataclass

from turbo_orm.codegen.naming import ModelNames

__all__ = [
    "AppView",
    "Dicts",
    "Entry",
    "Loading",
    "ManagerView",
    "MemberView",
    "MethodView",
    "ModelView",
    "OrderView",
]


@dataclass(frozen=True)
class Entry:
    """An attribute, a key of a TypedDict, or an overload: a name, its type, and what is said of it."""

    name: str
    type: str
    default: str = ""
    doc: str = ""


@dataclass(frozen=True)
class MethodView:
    definition: str
    name: str
    parameters: str
    returns: str
    is_overload: bool


@dataclass(frozen=True)
class MemberView:
    """A method or a property of a row."""

    method: MethodView
    decorator: str
    #: The parameters, with that which is the row or its class.
    parameters: str


@dataclass(frozen=True)
class ManagerView:
    """A manager and the queryset it returns."""

    attribute: str
    queries: str
    queryset: str
    manager: str
    #: The path of the hand-written queryset class, if `get_queryset()` of the manager makes them.
    made: str
    queryset_bases: str
    manager_bases: str
    #: The class whose instance is the method ``annotate``, and what it returns.
    annotate: str
    annotated: str
    #: The base of the class ``annotated``, if the queryset class is hand-written.
    annotated_base: str
    methods: tuple[MethodView, ...]
    queryset_methods: tuple[MethodView, ...]
    annotated_methods: tuple[MethodView, ...]
    #: The names of all methods of the hand-written classes.
    own: frozenset[str]
    #: Whether the classes were printed for an earlier manager with the same queryset class.
    shares_queryset: bool


@dataclass(frozen=True)
class Loading:
    """What `select_related()` and `prefetch_related()` load, for rows which know what they have."""

    #: A Literal of the relations to one row.
    one: str
    #: The type variables for one name, for each of several.
    variables: tuple[str, ...]
    #: Literals of a relation, and of the paths which begin with it.
    related: tuple[Entry, ...]
    prefetch: tuple[Entry, ...]
    #: A Literal of the paths which begin with a relation to many rows; empty if there is none.
    many: str


@dataclass(frozen=True)
class OrderView:
    name: str
    returns: str
    key: str


@dataclass(frozen=True)
class Dicts:
    """The entries of a model's TypedDicts."""

    #: What the constructor takes: fields that may be left out, and those that `create()` needs.
    optional: tuple[Entry, ...]
    required: tuple[Entry, ...]
    #: What `get_or_create()` takes besides these: lookups, which say nothing of a new row.
    find: tuple[Entry, ...]
    update: tuple[Entry, ...]
    values: tuple[Entry, ...]

    @property
    def init_names(self) -> frozenset[str]:
        """What the constructor takes, by name."""
        return frozenset(entry.name for entry in (*self.optional, *self.required))


@dataclass(frozen=True)
class ModelView:
    names: ModelNames
    row: str
    #: The row as querysets give it: with nothing loaded yet, if relations are strict.
    fresh: str
    base: str
    bases: str
    doc: str
    key: str
    key_accept: str
    attributes: tuple[Entry, ...]
    #: Managers which are not what the hand-written class has there, and those which are.
    other_managers: tuple[Entry, ...]
    own_managers: tuple[Entry, ...]
    members: tuple[MemberView, ...]
    displays: tuple[str, ...]
    steps: tuple[str, ...]
    is_ordered: bool
    orders: tuple[OrderView, ...]
    dicts: Dicts
    #: Source text of the Literal types.
    literals: tuple[Entry, ...]
    #: One line of keywords for each field or relation.
    lookups: tuple[str, ...]
    #: What `values_list()` of one name and `afetch()` give: Literals of names, and types.
    flat: tuple[Entry, ...]
    fetched: tuple[Entry, ...]
    columns: tuple[Entry, ...]
    loading: Loading | None
    managers: tuple[ManagerView, ...]
    related_manager_base: str
    lookup_self: str
    lookup_args: str
    #: Text after ``self`` in methods whose keywords are field names.
    after_self: str
    get_or_create_keywords: str
    #: Methods which the hand-written class has with parameters of its own.
    overridden: tuple[str, ...]


@dataclass(frozen=True)
class AppView:
    label: str
    #: Types which occur often, by the names that stand for them.
    aliases: tuple[Entry, ...]
    models: tuple[ModelView, ...]
    #: Managers which importing the module makes async: the model's name and the attribute.
    attached: tuple[Entry, ...]
