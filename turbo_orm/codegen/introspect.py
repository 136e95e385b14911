"""Builds the IR from the app registry: which apps have facades, and what their models look like."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils import translation
from typing_extensions import Self

from turbo_orm.codegen import ir
from turbo_orm.codegen.annotations import AnnotationReader, is_importable
from turbo_orm.codegen.expressions import ANY, generic, name, names, ours
from turbo_orm.codegen.facades import Facade, find_facades, why_no_facade
from turbo_orm.codegen.fields import FieldReader, column_of
from turbo_orm.codegen.lookups import key_lookups
from turbo_orm.codegen.managers import generated_querysets, is_async, model_managers
from turbo_orm.codegen.members import OVERLAID, model_members
from turbo_orm.codegen.naming import choose_prefixes
from turbo_orm.codegen.options import Options
from turbo_orm.codegen.relations import model_relations
from turbo_orm.codegen.signatures import own_parameters
from turbo_orm.errors import CodegenError

__all__ = ["Introspection"]


class Introspection:
    """One look at the models of a project."""

    def __init__(self, options: Options) -> None:
        _check_labels(options)
        self._options = options
        #: The facades of all apps, by label: what one refers to may be in another.
        self.facades = find_facades(options)
        self._module_of = {
            model._meta.label: facade.module for facade in self.facades.values() for model in facade.models
        }
        self._prefixes = _prefixes(self._module_of)
        self._annotations = AnnotationReader(
            self._result_type, {"Self": Self, **_model_names()}, self._queryset_type
        )
        self._fields = FieldReader(options, self._annotations)
        self._models: dict[str, ir.Model] = {}
        self._unknown: dict[str, tuple[ir.Unknown, ...]] = {}

    def labels(self, wanted: Sequence[str]) -> list[str]:
        """Return the labels of the apps to generate for, all if none is given.

        Raises `CodegenError` for one which has nothing to generate.
        """
        for label in wanted:
            if label not in self.facades:
                raise CodegenError(why_no_facade(label, list(self.facades)))
        return sorted(set(wanted)) or list(self.facades)

    def read(self, labels: Iterable[str], progress: Callable[[str], None] = lambda label: None) -> ir.Schema:
        """Describe the apps called *labels*; *progress* is called with each model's label."""
        with translation.override(None):  # help texts in the language of the source, whoever runs the command
            return ir.Schema(tuple(self._app(self.facades[label], progress) for label in labels))

    def _app(self, facade: Facade, progress: Callable[[str], None]) -> ir.App:
        models = []
        for model in sorted(facade.models, key=lambda model: model.__name__):
            progress(model._meta.label)
            models.append(self._model(model))
        context = self._reachable(models)
        return ir.App(
            label=facade.label,
            facade=facade.module,
            models=tuple(models),
            context=context,
            unknown=tuple(unknown for model in models for unknown in self._unknown[model.label]),
        )

    def _reachable(self, models: list[ir.Model]) -> tuple[ir.Model, ...]:
        """Return the models which the paths and annotations of *models* lead to, and their parents."""
        found = {model.label: model for model in models}
        frontier = list(models)
        for _ in range(1 + max((self._options.depth_of(model.label) for model in models), default=0)):
            targets = sorted(
                {relation.target for model in frontier for relation in model.relations} - {"", *found}
            )
            frontier = [self._model(apps.get_model(target)) for target in targets]
            found.update((model.label, model) for model in frontier)
        others = {parent for model in models for parent in model.parents}
        others |= {relation.through for model in models for relation in model.relations} - {""}
        others.update(*map(_named_by_fields, found.values()), *map(_named_by_methods, models))
        found.update((label, self._model(apps.get_model(label))) for label in others)
        for model in models:
            found.pop(model.label)
        return tuple(found[label] for label in sorted(found))

    def _model(self, model: type[Model]) -> ir.Model:
        label = model._meta.label
        if label not in self._models:
            self._models[label] = self._describe(model)
        return self._models[label]

    def _describe(self, model: type[Model]) -> ir.Model:
        _check_targets(model)
        fields = self._fields
        known = len(fields.unknown)
        key = fields.value_type(model._meta.pk)
        parents = self._parents(model)
        described = ir.Model(
            label=model._meta.label,
            name=model.__name__,
            module=model.__module__,
            qualname=model.__qualname__,
            doc=_docstring(model),
            facade=self._module_of.get(model._meta.label, ""),
            prefix=self._prefixes.get(model._meta.label, model.__name__),
            is_importable=is_importable(model),
            key_read=key.read,
            key_missing=fields.missing(model._meta.pk),
            key_accept=key.accept,
            key_lookups=key_lookups(model._meta.pk, key, null=False),
            key_column=column_of(key),
            parents=parents,
            fields=fields.columns(model),
            relations=model_relations(model, fields),
            managers=model_managers(model, self._annotations, attach=model._meta.label in self._module_of),
            members=tuple(model_members(model, map(apps.get_model, parents), self._annotations)),
            is_ordered=_order(model) is not None,
            orders=tuple(self._orders(model)),
            overridden=tuple(filter(partial(_is_overridden, model), OVERLAID)),
        )
        self._unknown[described.label] = tuple(fields.unknown[known:])
        return described

    def _orders(self, model: type[Model]) -> Iterator[ir.Order]:
        for other in sorted(apps.get_models(), key=lambda other: other._meta.label):
            relation = getattr(_order(other), "remote_field", None)
            if relation is None or other._meta.proxy or not issubclass(model, relation.model):
                continue
            key = self._fields.value_type(other._meta.pk)
            queryset = generic(ours("AsyncQuerySet"), ANY, key.read)
            returns = queryset if is_async(other._default_manager) else ANY
            yield ir.Order(other.__name__.lower(), returns, key.accept)

    def _parents(self, model: type[Model]) -> tuple[str, ...]:
        """Return the labels of the nearest generated models which *model* extends."""
        nearest: list[type[Model]] = []
        for base in model.__mro__[1:]:
            options = vars(base).get("_meta")
            if options is None or options.abstract or options.label not in self._module_of:
                continue
            if not any(issubclass(found, base) for found in nearest):
                nearest.append(base)
        return tuple(parent._meta.label for parent in nearest)

    def _result_type(self, model: type[Model]) -> str | None:
        options = getattr(model, "_meta", None)
        if options is None or options.abstract:  # `Model` itself, and what has no rows of its own
            return None
        return name("@row" if options.label in self._module_of else "@base", options.label)

    @cached_property
    def _querysets(self) -> Mapping[type[Any], list[type[Model]]]:
        models = (model for facade in self.facades.values() for model in facade.models)
        return generated_querysets(models, self._annotations)

    def _queryset_type(self, queryset: type[Any], row: Any) -> str | None:
        """The generated querysets of a hand-written class, if they are those of one model."""
        models = [model for model in self._querysets.get(queryset, ()) if row in (None, model)]
        for model in models:
            if all(issubclass(other, model) for other in models):
                label = model._meta.label
                return generic(name("@queryset", label), name("@row", label))
        return None


def _order(model: type[Model]) -> Any:
    """The field with respect to which rows are in order."""
    options: Any = model._meta
    return options.order_with_respect_to


def _check_labels(options: Options) -> None:
    """Raise `CodegenError` if an option is for a model that is not there."""
    known = [model._meta.label for model in apps.get_models(include_auto_created=True)]
    for label in options.models:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else 'Models are written as in "shop.Book".'
            raise CodegenError(f"There is no model {label!r}, for which the option MODELS is. {hint}")


def _check_targets(model: type[Model]) -> None:
    """Raise `CodegenError` if a relation leads to a model that is not there."""
    options: Any = model._meta
    for field in (*options.fields, *options.many_to_many, *options.private_fields):
        target = getattr(field.remote_field, "model", model)
        if not isinstance(target, type) or not issubclass(target, Model):
            raise CodegenError(
                f"{model._meta.label}.{field.name} leads to {target!r}, which is not an installed model. "
                "Correct its name, or add its app to INSTALLED_APPS."
            )


def _named_by_fields(model: ir.Model) -> set[str]:
    """Return the labels of the models which annotations of fields name."""
    return _labels(field.read for field in model.fields)


def _named_by_methods(model: ir.Model) -> set[str]:
    """Return the labels of the models which annotations of its, managers' and querysets' methods name."""
    of_managers = (
        method for manager in model.managers for method in (*manager.methods, *manager.queryset_methods)
    )
    methods = (*of_managers, *(member.method for member in model.members))
    return _labels(text for method in methods for text in (method.parameters, method.returns))


def _labels(expressions: Iterable[str]) -> set[str]:
    found = chain.from_iterable(map(names, expressions))
    return {qualname for module, qualname in found if module in ("@row", "@base")}


def _is_overridden(model: type[Model], method: str) -> bool:
    """Whether the model's own *method* has parameters which Django's does not have."""
    own = getattr(model, method, None)
    # `afull_clean()` is ours, with the parameters of the other.
    djangos = getattr(Model, method, None) or getattr(Model, method.removeprefix("a"))
    return own is not None and bool(own_parameters(own, djangos))


def _model_names() -> dict[str, type[Model]]:
    """Models by class name, for annotations which name one without an import. Not those that share a name."""
    models = apps.get_models(include_auto_created=True)
    times = Counter(model.__name__ for model in models)
    return {model.__name__: model for model in models if times[model.__name__] == 1}


def _prefixes(facades: Mapping[str, str]) -> dict[str, str]:
    """Return what the names generated for each model begin with, by its label."""
    by_facade: dict[str, list[str]] = {}
    for label, facade in facades.items():
        by_facade.setdefault(facade, []).append(label)
    prefixes: dict[str, str] = {}
    for labels in map(sorted, by_facade.values()):
        names = [label.partition(".")[2] for label in labels]
        prefixes.update(zip(labels, choose_prefixes(names), strict=True))
    return prefixes


def _docstring(model: type[Model]) -> str:
    text = inspect.cleandoc(model.__doc__ or "")
    return "" if text.startswith(f"{model.__name__}(") else text
