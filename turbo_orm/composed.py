"""Methods that Django composes of others: without the bridge where a single planned query answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from django.db.models import Field, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import ModelIterable
from django.db.models.utils import resolve_callables

from turbo_orm import answers, creation
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import inherited_scope
from turbo_orm.execution import complete
from turbo_orm.plans import running
from turbo_orm.plans.mode import PlannedQuerySet, is_replaced
from turbo_orm.transaction import atomic

__all__ = ["acontains", "aget_or_create", "ain_bulk", "aupdate_or_create", "refresh_from_db"]


async def aget_or_create(self: PlannedQuerySet, defaults: Any = None, **kwargs: Any) -> Any:
    """Return what ``get_or_create(defaults, **kwargs)`` does. Creating is for Django's own method."""
    if (
        "get_or_create" in self._plannable_terminals
        and self._planned is not None
        and not is_replaced(self, "get_or_create")
    ):
        self._for_write = True
        queryset, bound = self._bound_get((), kwargs)
        if bound is not None:
            found = await complete(queryset, bound, await running.run(bound))
            if found:
                return answers.get(self, found), False
            return await run_sync(_having_found_nothing(self).get_or_create, defaults, **kwargs)
    return await run_sync(self.get_or_create, defaults, **kwargs)


def _having_found_nothing(queryset: PlannedQuerySet) -> Any:
    """Return a copy of *queryset* whose ``get()`` has been called before, and found nothing."""
    copy: Any = queryset._chain()

    def get(**kwargs: Any) -> Any:
        del copy.get  # the next one looks
        return answers.get(copy, [])

    copy.get = get
    return copy


async def aupdate_or_create(self: PlannedQuerySet, defaults: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Return what ``update_or_create(defaults, ...)`` does. A block in a block is for Django's own method."""
    if (
        "update_or_create" not in self._plannable_terminals
        or self._planned is None
        or is_replaced(self, "update_or_create")
        or inherited_scope() is not None
        or len(args) > _TAKES_CREATE_DEFAULTS
    ):
        return await run_sync(self.update_or_create, defaults, *args, **kwargs)
    for_new, lookups = _defaults_for_new(defaults, args, kwargs)
    self._for_write = True
    async with atomic(self.db):
        instance, created = await aget_or_create(self.select_for_update(), for_new, **lookups)
        if not created:
            # The defaults may be functions, and what they are assigned to properties.
            changed = await run_sync(_assign, instance, self.model, defaults or {})
            await creation.save(instance, (), {"using": self.db, **changed})
    return instance, created


#: Since Django 5.0.
_TAKES_CREATE_DEFAULTS = "create_defaults" in QuerySet.update_or_create.__code__.co_varnames


def _defaults_for_new(
    defaults: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return the defaults of an object that is not there yet, and the lookups that say so."""
    lookups = dict(kwargs)
    given = None
    if _TAKES_CREATE_DEFAULTS:
        given = args[0] if args else lookups.pop("create_defaults", None)
    return (defaults or {}) if given is None else given, lookups


def _assign(instance: Model, model: type[Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """Set *values*; return what `save()` is told to update, if not all."""
    for name, value in resolve_callables(values):
        setattr(instance, name, value)
    options: Any = model._meta
    names = set(values)
    if not options._non_pk_concrete_field_names.issuperset(names):
        return {}
    keys = getattr(options, "pk_fields", [options.pk])
    for field in options.local_concrete_fields:
        # That set themselves, such as auto_now.
        if field not in keys and type(field).pre_save is not Field.pre_save:
            names |= {field.name, field.attname}
    return {"update_fields": names}


async def acontains(self: PlannedQuerySet, obj: Any) -> bool:
    """Return what ``contains(obj)`` does."""
    if (
        "contains" in self._plannable_terminals
        and self._planned is not None
        and not is_replaced(self, "contains")
        and self._planned[3] is None
        and not self._planned[0].template.query.combinator
        and self._fields is None
        and self._result_cache is None
        and isinstance(obj, Model)
        and obj._meta.concrete_model is self.model._meta.concrete_model
        and obj.pk is not None
    ):
        bound = self.filter(pk=obj.pk)._bound("exists")
        if bound is not None:
            return bool((await running.run(bound)).rows)
    found: bool = await run_sync(self.contains, obj)
    return found


async def ain_bulk(self: PlannedQuerySet, id_list: Any = None, *, field_name: str = "pk") -> Any:
    """Return what ``in_bulk(id_list, field_name=field_name)`` does."""
    if (
        "in_bulk" in self._plannable_terminals
        and self._planned is not None
        and not is_replaced(self, "in_bulk")
        and self._planned[3] is None
        and self._iterable_class is ModelIterable
        and field_name == "pk"
        and isinstance(id_list, list | tuple | set | frozenset)
        and id_list
    ):
        rows = self.filter(pk__in=tuple(id_list))
        if _IN_NO_ORDER:
            rows = rows.order_by()
        bound = rows._bound("list")
        # Of keys that are too many for one statement, Django makes several.
        if bound is not None and not bound.statement.refused:
            found = await complete(rows, bound, await running.run(bound))
            return {row.pk: row for row in found}
    return await run_sync(self.in_bulk, id_list, field_name=field_name)


#: Before Django 5.
_IN_NO_ORDER = "order_by" in QuerySet.in_bulk.__code__.co_names


async def refresh_from_db(instance: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Do what ``instance.refresh_from_db(*args, **kwargs)`` does."""
    queryset = None
    if not args and _REFRESHING.issuperset(kwargs):
        with suppress(Exception):  # Django raises it again
            queryset = _row_of(instance, **kwargs)
    if queryset is not None:
        _, bound = queryset._bound_get((), {})
        if bound is not None and bound.plan.loader is not None and not bound.plan.loader.calls_user_code:
            try:
                found = await complete(queryset, bound, await running.run(bound))
            except Exception:
                with suppress(_NoAnswer):
                    _take(instance, kwargs.get("fields"), _refuse)  # it drops what was prefetched
                raise
            _take(instance, kwargs.get("fields"), lambda: answers.get(queryset, found))
            return
    await run_sync(instance.refresh_from_db, *args, **kwargs)


_REFRESHING = frozenset({"using", "fields"})
_djangos_refresh = Model.refresh_from_db
#: Since Django 5.1.
_TAKES_QUERYSET = "from_queryset" in _djangos_refresh.__code__.co_varnames


def _row_of(instance: Any, using: str | None = None, fields: Any = None) -> Any:
    """Return the queryset in plan mode that *instance* is refreshed from; None if only Django knows it."""
    model = type(instance)
    if (
        not _TAKES_QUERYSET
        or model.refresh_from_db is not _djangos_refresh
        or "refresh_from_db" in instance.__dict__
        or instance.pk is None
    ):
        return None
    rows: Any = model._base_manager.db_manager(using, hints={"instance": instance}).filter(pk=instance.pk)
    if fields is not None:
        kept = getattr(instance, "_prefetched_objects_cache", ())
        if not fields or not isinstance(fields, list | tuple | set | frozenset):
            return None
        if any(LOOKUP_SEP in name or name in kept for name in fields):
            return None
        rows = rows.only(*sorted(set(fields)))
    elif instance.get_deferred_fields():
        return None
    return rows if getattr(rows, "_planned", None) is not None else None


def _take(instance: Model, fields: Any, get: Callable[[], Any]) -> None:
    """Have Django's method refresh *instance* by what *get* returns, so that there is nothing to wait for."""
    instance.refresh_from_db(fields=fields, from_queryset=_Found(get))  # type: ignore[arg-type]


class _NoAnswer(Exception):
    """Raised in the place of an error that is on its way already."""


def _refuse() -> NoReturn:
    raise _NoAnswer


class _Found:
    """Stands for the queryset of an object that was looked for already."""

    def __init__(self, get: Callable[[], Any]) -> None:
        #: Returns it, or raises what the queryset would.
        self.get = get

    def filter(self, **_: Any) -> _Found:
        return self

    def only(self, *_: str) -> _Found:
        return self
