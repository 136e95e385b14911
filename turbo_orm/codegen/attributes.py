"""The attributes of a row: fields, relations, and the members of the hand-written class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.docstrings import comment
from turbo_orm.codegen.expressions import ANY, builtin, generic, name, optional, ours, union
from turbo_orm.codegen.ir import RelationKind
from turbo_orm.codegen.literals import Literals
from turbo_orm.codegen.loading import is_loadable
from turbo_orm.codegen.methods import view_methods
from turbo_orm.codegen.naming import is_name
from turbo_orm.codegen.views import Entry, MemberView

__all__ = ["Attributes"]


class Attributes:
    """The attributes of the rows of one model."""

    def __init__(
        self,
        model: ir.Model,
        models: Mapping[str, ir.Model],
        literals: Literals,
        spell: Callable[[str], str],
        *,
        is_strict: bool,
    ) -> None:
        """*is_strict* says that rows know which relations they have."""
        self._model = model
        self._models = models
        self._literals = literals
        self._spell = spell
        self._is_strict = is_strict

    def entries(self) -> list[Entry]:
        """Return fields, relations, and the properties which read and accept different types."""
        key_names = {"pk", *(field.name for field in self._model.fields)}
        entries = (
            []
            if "pk" in {field.name for field in self._model.fields}
            else [Entry("pk", self._spell(self._model.key_read))]
        )
        for field in self._model.fields:
            if field.name in self._model.foreign_keys:
                entries.append(self._relation(self._model.foreign_keys[field.name]))
                entries.append(Entry(field.attname, self._spell(field.read)))
            elif field.descriptor:
                both = generic(ours("Rel"), field.read, field.accept)
                entries.append(Entry(field.name, self._spell(both), " = ...", comment(field.help)))
            else:
                entries.append(Entry(field.name, self._spell(field.read), "", comment(field.help)))
        entries += [
            self._relation(relation)
            for relation in self._model.relations
            if is_name(relation.name) and relation.name not in {*self._model.foreign_keys, *key_names}
        ]
        entries += [
            Entry(
                member.method.name,
                self._spell(generic(ours("Rel"), member.method.returns, member.accept)),
                " = ...",
            )
            for member in self._model.members
            if member.accept
        ]
        return entries

    def members(self) -> tuple[MemberView, ...]:
        """Return the methods, and the other properties."""
        members = [member for member in self._model.members if not member.accept]
        methods = view_methods((member.method for member in members), "", "", self._spell)
        return tuple(
            MemberView(method, self._spell(member.decorator), _with_first(member, method.parameters))
            for member, method in zip(members, methods, strict=True)
        )

    def fetched(self) -> list[Entry]:
        """Return what `afetch()` gives: Literals of relations, and the types."""
        by_type: dict[str, list[str]] = {}
        for relation in self._model.relations:
            if not relation.name or not relation.target:
                continue
            result = self._result(relation.target)
            if not relation.kind.is_one:
                result = generic(builtin("list"), result)
            elif relation.null:
                result = optional(result)
            by_type.setdefault(result, []).append(relation.name)
        return [
            Entry(self._literals.literal(names), self._spell(result)) for result, names in by_type.items()
        ]

    def _relation(self, relation: ir.Relation) -> Entry:
        if relation.kind is RelationKind.GENERIC_FOREIGN_KEY:
            return Entry(relation.name, self._spell(ANY))
        doc = comment(relation.help)
        if relation.kind.is_one:
            row, base = self._result(relation.target), name("@base", relation.target)
            nullable = optional if relation.null and relation.kind.is_forward_one else union
            types = [nullable(row), nullable(base)]
            descriptor = generic(ours("Rel"), *types)
            if self._is_strict and is_loadable(relation, self._model):
                descriptor = generic(ours("LoadedRel"), self._literals.literal([relation.name]), *types)
            return Entry(
                relation.name,
                self._spell(descriptor),
                " = ...",
                doc,
            )
        return Entry(relation.name, self._spell(self._related_manager(relation)), " = ...", doc)

    def _result(self, label: str) -> str:
        return name("@row" if self._models[label].facade else "@base", label)

    def _related_manager(self, relation: ir.Relation) -> str:
        target = self._models[relation.target]
        through = self._result(relation.through) if relation.through else ours("AutoThrough")
        if target.facade and any(manager.is_default for manager in target.managers):
            if not relation.kind.takes_keys:
                return name("@related", relation.target)
            return generic(name("@many", relation.target), through)
        base, row = name("@base", relation.target), self._result(relation.target)
        if relation.kind.takes_keys:
            return generic(ours("PlainManyManager"), base, relation.key_accept, row, through)
        return generic(ours("PlainRelatedManager"), base, row)


def _with_first(member: ir.Member, parameters: str) -> str:
    """Put the first parameter before the others, which begin with a comma."""
    if member.decorator == builtin("staticmethod"):
        return parameters.removeprefix(", ")
    return ("cls" if member.decorator == builtin("classmethod") else "self") + parameters
