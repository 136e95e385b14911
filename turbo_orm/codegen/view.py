"""Turns the IR of an app into what the templates print. Everything is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.aliases import Aliases
from turbo_orm.codegen.dicts import view_dicts
from turbo_orm.codegen.expressions import ANY, NONE, builtin, generic, name, names, optional, union
from turbo_orm.codegen.imports import Imports
from turbo_orm.codegen.ir import RelationKind
from turbo_orm.codegen.literals import Literals
from turbo_orm.codegen.loading import LOADED_VARIABLES, is_loadable, view_loading
from turbo_orm.codegen.naming import PUBLIC_SUFFIXES, ModelNames, is_name
from turbo_orm.codegen.options import Options
from turbo_orm.codegen.overlaid import place_managers
from turbo_orm.codegen.paths import Keyword, lookup_keywords
from turbo_orm.codegen.views import AppView, Entry, ManagerView, MemberView, MethodView, ModelView, OrderView

__all__ = ["SELECTED", "TYPE_VARIABLES", "facade_names", "view_app"]

_PRIVATE = (
    "_Optional",
    "_Find",
    "_Managers",
    "_Annotated",
    "_Descending",
    "_Paths",
    "_Orders",
    "_Prefetches",
)
_STUB = "turbo_orm.typing"
_NEVER = name("typing_extensions", "Never")
#: Of how many columns `select()` knows the types.
SELECTED = 8
#: The names of the type variables which a stub defines.
TYPE_VARIABLES = (
    *("_R", "_M", "_N", "_L", "_L2", "_Ts", "_Through"),
    *(f"_T{number}" for number in range(1, SELECTED + 1)),
)


def facade_names(app: ir.App) -> set[str]:
    """Return every name that the facade's module and the classes in it define."""
    names: set[str] = set(TYPE_VARIABLES)
    for model in app.models:
        model_names = ModelNames(model.name, model.prefix)
        names |= {model.name, *(model_names[suffix] for suffix in (*_PRIVATE, *LOADED_VARIABLES))}
        names |= {model_names[suffix] for suffix in PUBLIC_SUFFIXES}
        names |= {entry for column in model.fields for entry in (column.name, column.attname)}
        names |= {entry for relation in model.relations for entry in (relation.name, relation.query_name)}
        names |= {member.method.name for member in model.members}
        for manager in model.managers:
            names |= {
                manager.name,
                *(method.name for method in (*manager.methods, *manager.queryset_methods)),
            }
    return names


def view_app(app: ir.App, options: Options, imports: Imports) -> AppView:
    models = {model.label: model for model in (*app.models, *app.context)}
    keywords = {
        model.label: lookup_keywords(model, models, options.depth_of(model.label)) for model in app.models
    }
    aliases = Aliases(
        (keyword.value for groups in keywords.values() for group in groups for keyword in group), imports
    )
    views = tuple(
        _ModelViewer(model, models, options, imports).view(keywords[model.label], aliases)
        for model in app.models
    )
    attached = tuple(
        Entry(model.name, manager.name)
        for model in app.models
        for manager in model.managers
        if manager.is_attached
    )
    return AppView(app.facade, app.label, tuple(aliases.entries()), views, attached)


class _ModelViewer:
    """Makes the view of one model."""

    def __init__(
        self, model: ir.Model, models: Mapping[str, ir.Model], options: Options, imports: Imports
    ) -> None:
        self._model = model
        self._models = models
        self._options = options
        self._depth = options.depth_of(model.label)
        self._spell = imports.spell
        self._names = ModelNames(model.name, model.prefix)
        self._literals = Literals(model, models, self._depth, self._names, self._fresh(), self._spell)
        self._foreign_keys = {
            relation.name: relation for relation in model.relations if relation.kind.is_forward_one
        }

    def view(self, keywords: list[list[Keyword]], aliases: Aliases) -> ModelView:
        """Return the view, with these ``keywords`` of lookups, those of one field together."""
        model = self._model
        keyword_names = {keyword.name for group in keywords for keyword in group}
        base = self._spell(name("@base", model.label))
        dicts = view_dicts(model, keywords, self._spell, aliases)
        init_names = dicts.init_names
        managers = self._managers()
        attributes, other_managers, own_managers = place_managers(
            model, self._attributes(), managers, self._spell
        )
        return ModelView(
            names=self._names,
            row=model.name,
            fresh=self._spell(self._fresh()),
            base=base,
            bases=", ".join(
                [
                    *([self._names["_Managers"]] if other_managers else []),
                    base,
                    *map(self._spell, self._parents()),
                ]
            ),
            doc=_docstring(model.doc),
            key=self._spell(model.key_read),
            key_accept=self._spell(model.key_accept),
            attributes=attributes,
            other_managers=other_managers,
            own_managers=own_managers,
            members=self._members(),
            displays=tuple(field.name for field in model.fields if field.has_display),
            steps=tuple(field.name for field in model.fields if field.has_steps),
            is_ordered=model.is_ordered,
            orders=tuple(
                OrderView(order.name, self._spell(order.returns), self._spell(order.key))
                for order in model.orders
            ),
            dicts=dicts,
            literals=tuple(self._literals.entries()),
            lookups=tuple(
                ", ".join(f"{keyword.name}: {aliases.spell(keyword.value)} = ..." for keyword in group)
                for group in keywords
            ),
            flat=tuple(self._literals.flat()),
            fetched=tuple(self._fetched()),
            columns=tuple(self._columns()),
            loading=view_loading(model, self._models, self._depth, self._names, self._literals.literal)
            if self._is_strict(model)
            else None,
            managers=managers,
            related_manager_base=managers[0].manager,
            lookup_self="_self" if "self" in keyword_names else "self",
            lookup_args="_args" if "args" in keyword_names else "args",
            after_self=", /" if "self" in init_names else "",
            get_or_create_keywords=(
                self._spell(ANY)
                if {"defaults", "create_defaults"} & init_names
                else f"{self._spell(name('typing_extensions', 'Unpack'))}[{self._names['_Find']}]"
            ),
            overridden=model.overridden,
        )

    def _is_strict(self, model: ir.Model) -> bool:
        return self._options.strict_of(model.label) and any(
            is_loadable(relation, model) for relation in model.relations
        )

    def _fresh(self) -> str:
        row = name("@row", self._model.label)
        return generic(row, _NEVER) if self._is_strict(self._model) else row

    def _parents(self) -> list[str]:
        """The generated bases. One of them has the type variable, for what is loaded."""
        strict = {parent for parent in self._model.parents if self._is_strict(self._models[parent])}
        parents = [
            generic(name("@row", parent), "_L") if parent in strict else name("@row", parent)
            for parent in self._model.parents
        ]
        if self._is_strict(self._model) and not strict:
            parents.append(generic(name(_STUB, "Loaded"), "_L"))
        return parents

    def _attributes(self) -> list[Entry]:
        key_names = {"pk", *(field.name for field in self._model.fields)}
        entries = (
            []
            if "pk" in {field.name for field in self._model.fields}
            else [Entry("pk", self._spell(self._model.key_read))]
        )
        for field in self._model.fields:
            if field.name in self._foreign_keys:
                entries.append(self._relation(self._foreign_keys[field.name]))
                entries.append(Entry(field.attname, self._spell(field.read)))
            elif field.descriptor:
                both = generic(name(_STUB, "Rel"), field.read, field.accept)
                entries.append(Entry(field.name, self._spell(both), " = ...", _comment(field.help)))
            else:
                entries.append(Entry(field.name, self._spell(field.read), "", _comment(field.help)))
        entries += [
            self._relation(relation)
            for relation in self._model.relations
            if is_name(relation.name) and relation.name not in {*self._foreign_keys, *key_names}
        ]
        entries += [
            Entry(
                member.method.name,
                self._spell(generic(name(_STUB, "Rel"), member.method.returns, member.accept)),
                " = ...",
            )
            for member in self._model.members
            if member.accept
        ]
        return entries

    def _members(self) -> tuple[MemberView, ...]:
        members = [member for member in self._model.members if not member.accept]
        methods = self._methods((member.method for member in members), "", "")
        return tuple(
            MemberView(method, self._spell(member.decorator), _with_first(member, method.parameters))
            for member, method in zip(members, methods, strict=True)
        )

    def _relation(self, relation: ir.Relation) -> Entry:
        if relation.kind is RelationKind.GENERIC_FOREIGN_KEY:
            return Entry(relation.name, self._spell(ANY))
        doc = _comment(relation.help)
        if relation.kind.is_one:
            row, base = self._result(relation.target), name("@base", relation.target)
            nullable = optional if relation.null and relation.kind.is_forward_one else union
            types = [nullable(row), nullable(base)]
            descriptor = generic(name(_STUB, "Rel"), *types)
            if self._is_strict(self._model) and is_loadable(relation, self._model):
                descriptor = generic(
                    name(_STUB, "LoadedRel"), self._literals.literal([relation.name]), *types
                )
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
        through = self._result(relation.through) if relation.through else name(_STUB, "AutoThrough")
        if target.facade and any(manager.is_default for manager in target.managers):
            if not relation.kind.takes_keys:
                return name("@related", relation.target)
            return generic(name("@many", relation.target), through)
        base, row = name("@base", relation.target), self._result(relation.target)
        if relation.kind.takes_keys:
            return generic(name(_STUB, "PlainManyManager"), base, relation.key_accept, row, through)
        return generic(name(_STUB, "PlainRelatedManager"), base, row)

    def _fetched(self) -> list[Entry]:
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

    def _columns(self) -> list[Entry]:
        """The columns as attributes. ``_M`` is the model queried, ``_N`` None where a row may be missing."""
        model = self._model
        types = {"pk": self._column(model.key_column, null=False)}
        for field in model.fields:
            column = field.attname if field.name in self._foreign_keys else field.name
            types[column] = self._column(field.column, null=field.null)
        for relation in model.relations:
            if is_name(relation.query_name):
                types[relation.query_name] = self._columns_of(relation)
        return [Entry(column, self._spell(type_)) for column, type_ in types.items()]

    def _column(self, column: ir.Column, *, null: bool) -> str:
        nothing = NONE if null else "_N"
        if not column.row:
            return generic(column.kind, "_M", nothing)
        return generic(column.kind, "_M", union(column.row, nothing), column.value)

    def _columns_of(self, relation: ir.Relation) -> str:
        if not self._models[relation.target].facade:
            return generic(name(_STUB, "OtherColumns"), "_M")
        missing = relation.null or not relation.kind.is_forward_one
        return generic(name("@columns", relation.target), "_M", NONE if missing else "_N")

    def _managers(self) -> tuple[ManagerView, ...]:
        views: list[ManagerView] = []
        by_queryset: dict[str | None, ManagerView] = {}
        for index, manager in enumerate(self._model.managers):
            shared = by_queryset.get(manager.queryset)
            view = self._manager(manager, is_main=index == 0, shared=shared)
            by_queryset.setdefault(manager.queryset, view)
            views.append(view)
        return tuple(views)

    def _manager(self, manager: ir.Manager, *, is_main: bool, shared: ManagerView | None) -> ManagerView:
        def called(suffix: str) -> str:
            return self._names[suffix] if is_main else self._names.of_manager(manager.words, suffix)

        queries = shared.queries if shared else called("Queries")
        queryset = shared.queryset if shared else called("QuerySet")
        row, fresh = self._model.name, self._spell(self._fresh())
        annotated_row = self._names["_Annotated"]
        rows = self._spell(name(_STUB, "Rows"))
        overlay = self._spell(generic(name(_STUB, "ManagerOverlay"), fresh))
        base = [self._spell(manager.base)] if manager.base else []
        if manager.base and not manager.is_attached:
            base.insert(0, self._spell(generic(name(_STUB, "ManagerOf"), row)))
        else:  # next to a base which cannot be edited, importing the facade puts ours
            base.append(self._spell(generic(name(_STUB, "AsyncManager"), row)))
        custom = self._spell(manager.queryset) if manager.queryset else ""
        annotated = (
            f"_{queryset}Annotated"
            if custom
            else self._spell(generic(name(_STUB, "AsyncQuerySet"), row, annotated_row))
        )
        own = {method.name for method in manager.methods}
        on_rows = _gives_generated(manager.queryset_methods)

        def querysets(rows_of: str) -> str:
            before = custom and manager.is_queryset_async
            ours = generic(name(_STUB, "QuerySetOf" if before else "AsyncQuerySet"), row, rows_of)
            bases = [self._spell(ours), custom] if before else [custom, self._spell(ours)]
            return ", ".join(filter(None, [f"{rows}[{rows_of}]", *bases]))

        return ManagerView(
            attribute=manager.name,
            queries=queries,
            queryset=queryset,
            manager=called("Manager"),
            made=manager.queryset.strip("{}") if manager.queryset and manager.is_queryset_made else "",
            queryset_bases=querysets("_R"),
            manager_bases=", ".join([overlay, *base]),
            annotate=f"_{queryset}Annotate",
            annotated=annotated,
            annotated_base=querysets(annotated_row) if custom else "",
            methods=self._methods(
                (
                    *(
                        method
                        for method in manager.queryset_methods
                        if not method.queryset_only and method.name not in own
                    ),
                    *(method for method in manager.methods if _improves(method, manager)),
                ),
                f"{queryset}[{fresh}]",
                annotated,
            ),
            queryset_methods=self._methods(on_rows, f"{queryset}[_R]", annotated),
            own=frozenset(method.name for method in (*manager.methods, *manager.queryset_methods)),
            annotated_methods=self._methods(on_rows, annotated, annotated) if custom else (),
            shares_queryset=shared is not None,
        )

    def _methods(self, methods: Iterable[ir.Method], same: str, annotated: str) -> tuple[MethodView, ...]:
        """Return views of ``methods``, which return the querysets ``same`` and ``annotated``."""

        def returns(expression: str) -> str:
            filled = expression.replace(ir.SAME_QUERYSET, same).replace(ir.ANNOTATED_QUERYSET, annotated)
            return self._spell(filled)

        return tuple(
            MethodView(
                definition="async def" if method.is_async else "def",
                name=method.name,
                parameters=self._spell(f", {method.parameters}" if method.parameters else ""),
                returns=returns(method.returns),
                is_overload=method.is_overload,
                doc=_comment(method.doc),
            )
            for method in methods
        )


def _gives_generated(methods: Iterable[ir.Method]) -> list[ir.Method]:
    """Return the methods whose types neither the hand-written class nor the overlay of Django's tells."""
    generated = {
        method.name
        for method in methods
        if method.is_override or any(module in ("@row", "@queryset") for module, _ in names(method.returns))
    }
    return [method for method in methods if method.name in generated]


def _improves(method: ir.Method, manager: ir.Manager) -> bool:
    """Whether to repeat a method of the manager's class: not if checkers can infer more from the class."""
    return manager.base is None or method.is_override or method.returns != ANY


def _with_first(member: ir.Member, parameters: str) -> str:
    """Put the first parameter before the others, which begin with a comma."""
    if member.decorator == builtin("staticmethod"):
        return parameters.removeprefix(", ")
    return ("cls" if member.decorator == builtin("classmethod") else "self") + parameters


def _docstring(text: str) -> str:
    """Lines of text for between three quotes."""
    escaped = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'{escaped[:-1]}\\"' if escaped.endswith('"') else escaped


def _comment(text: str) -> str:
    """One line of text for a docstring."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")
