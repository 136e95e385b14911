"""The Literals of a model: the names which its methods take, and the types of what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import ANY, generic, name, ours
from turbo_orm.codegen.naming import ModelNames, name_types
from turbo_orm.codegen.paths import relation_paths, value_paths
from turbo_orm.codegen.views import Entry

__all__ = ["MOST_MEMBERS", "Literals", "split_literal"]

_NEVER = name("typing_extensions", "Never")
#: pyrefly takes a Literal of more than 256 members for a str.
MOST_MEMBERS = 250


def split_literal(alias: str, members: list[str], literal: Callable[[list[str]], str]) -> list[Entry]:
    """Return what defines *alias* as the Literal of *members*, in several parts if they are many."""
    if len(members) <= MOST_MEMBERS:
        return [Entry(alias, literal(members))]
    parts = [members[start : start + MOST_MEMBERS] for start in range(0, len(members), MOST_MEMBERS)]
    numbered = [Entry(f"_{alias.lstrip('_')}{n}", literal(part)) for n, part in enumerate(parts, 1)]
    return [*numbered, Entry(alias, " | ".join(part.name for part in numbered))]


class Literals:
    """The Literals of one model."""

    def __init__(
        self,
        model: ir.Model,
        models: Mapping[str, ir.Model],
        depth: int,
        names: ModelNames,
        row: str,
        spell: Callable[[str], str],
    ) -> None:
        """*row* is the type expression of what columns belong to."""
        self._model = model
        self._models = models
        self._depth = depth
        self._names = names
        self._row = row
        self._spell = spell
        by_type: dict[str, list[str]] = {}
        for path in value_paths(model, models, depth):
            by_type.setdefault(path.value, []).append(path.name)
        aliases = name_types("_" + names["Path"], [spell(value) for value in by_type])
        #: The type expressions of values, each with the alias of the paths to such values.
        self._types = list(zip(by_type, aliases, strict=True))
        self._paths = dict(zip(aliases, by_type.values(), strict=True))

    def literal(self, members: list[str]) -> str:
        if not members:
            return self._spell(_NEVER)
        quoted = ", ".join(map(_quote, members))
        return f"{self._spell(name('typing', 'Literal'))}[{quoted}]"

    def flat(self) -> list[Entry]:
        """Return the paths, by alias, and the types of their values, for `values_list()` of one name."""
        return [Entry(alias, self._spell(value)) for value, alias in self._types if value != ANY]

    def entries(self) -> list[Entry]:
        """Return the definitions: the paths by type of value, each path once, and what is made of them."""
        fields = [spelling for field in self._model.fields for spelling in (field.name, field.attname)]
        entries = [entry for alias, paths in self._paths.items() for entry in self._define(alias, paths)]
        entries += self._define(self._names["Field"], list(dict.fromkeys(fields)))
        entries.append(Entry(self._names["Path"], self._union(list(self._paths))))
        descending = [f"-{path}" for paths in self._paths.values() for path in paths]
        entries += self._define(self._names["_Descending"], ["?", *descending])
        entries.append(Entry(self._names["Order"], f"{self._names['Path']} | {self._names['_Descending']}"))
        for suffix, only_one in (("Related", True), ("Prefetch", False)):
            found = relation_paths(self._model, self._models, self._depth, only_one=only_one)
            entries += self._define(self._names[suffix], found)
        return [*entries, *self._arguments()]

    def _arguments(self) -> list[Entry]:
        """What methods take. Aliases too: elsewhere pyrefly loses many members of a Literal in a ``|``."""
        sort = generic(ours("Sort"), self._row)
        arguments = {
            "_Paths": (("Path",), (ours("Expr"), ours("Misspelt"))),
            "_Orders": (("Path", "_Descending"), (ours("SortExpr"), sort)),
            "_Prefetches": (("Prefetch",), (ours("PrefetchLike"), "None")),
            "_Fetches": (("Prefetch", "Field"), (ours("Misspelt"),)),
        }
        return [
            Entry(
                self._names[suffix],
                self._union([*(self._names[string] for string in strings), *map(self._spell, others)]),
            )
            for suffix, (strings, others) in arguments.items()
        ]

    def _union(self, members: list[str]) -> str:
        """Join *members*, source text. pyright makes a union of each pair that a ``|`` joins."""
        if len(members) < 4:
            return " | ".join(members)
        return f"{self._spell(name('typing', 'Union'))}[{', '.join(members)}]"

    def _define(self, alias: str, members: list[str]) -> list[Entry]:
        return split_literal(alias, members, self.literal)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
