"""Turns the IR of an app into what the templates print. Everything is decided here."""

from __future__ import annotations

from collections.abc import Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.aliases import Aliases
from turbo_orm.codegen.attributes import Attributes
from turbo_orm.codegen.columns import view_columns
from turbo_orm.codegen.dicts import view_dicts
from turbo_orm.codegen.docstrings import docstring
from turbo_orm.codegen.expressions import ANY, generic, name, ours
from turbo_orm.codegen.imports import Imports
from turbo_orm.codegen.literals import Literals
from turbo_orm.codegen.loading import LOADED_VARIABLES, is_loadable, view_loading
from turbo_orm.codegen.manager_classes import view_managers
from turbo_orm.codegen.naming import PUBLIC_SUFFIXES, ModelNames
from turbo_orm.codegen.options import Options
from turbo_orm.codegen.overlaid import place_managers
from turbo_orm.codegen.paths import Keyword, lookup_keywords
from turbo_orm.codegen.views import AppView, Entry, ModelView, OrderView

__all__ = ["SELECTED", "TYPE_VARIABLES", "facade_names", "view_app"]

_PRIVATE = (
    "_Optional",
    "_Find",
    "_CreateDefaults",
    "_UpdateDefaults",
    "_Managers",
    "_Annotated",
    "_Descending",
    "_Paths",
    "_Orders",
    "_Prefetches",
    "_Fetches",
)
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
    return AppView(app.label, tuple(aliases.entries()), views, attached)


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

    def view(self, keywords: list[list[Keyword]], aliases: Aliases) -> ModelView:
        """Return the view, with these *keywords* of lookups, those of one field together."""
        model = self._model
        keyword_names = {keyword.name for group in keywords for keyword in group}
        base = self._spell(name("@base", model.label))
        dicts = view_dicts(model, keywords, self._spell, aliases)
        init_names = dicts.init_names
        fresh = self._spell(self._fresh())
        managers = view_managers(model, self._names, fresh, self._spell)
        is_strict = self._is_strict(model)
        rows = Attributes(model, self._models, self._literals, self._spell, is_strict=is_strict)
        attributes, other_managers, own_managers = place_managers(
            model, rows.entries(), managers, self._spell
        )
        return ModelView(
            names=self._names,
            row=model.name,
            fresh=fresh,
            base=base,
            bases=", ".join(
                [
                    *([self._names["_Managers"]] if other_managers else []),
                    base,
                    *map(self._spell, self._parents()),
                ]
            ),
            doc=docstring(model.doc),
            key=self._spell(model.key_read),
            key_accept=self._spell(model.key_accept),
            attributes=attributes,
            other_managers=other_managers,
            own_managers=own_managers,
            members=rows.members(),
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
            fetched=tuple(rows.fetched()),
            columns=view_columns(model, self._models, self._spell),
            loading=view_loading(model, self._models, self._depth, self._names, self._literals.literal)
            if is_strict
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
            parents.append(generic(ours("Loaded"), "_L"))
        return parents
