"""From an alias's settings to its pool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend
from psycopg.client_cursor import ClientCursorMixin
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from turbo_orm.bridge import async_backend
from turbo_orm.bridge.cursors import has_djangos
from turbo_orm.conf import check_pool_options, get_config, pool_options, sync_pool_options
from turbo_orm.db.loop_pools import find_pool, opened_pools, pools_on
from turbo_orm.db.pools import Pool, PoolKey, PoolSpec

__all__ = [
    "async_connect_params",
    "known_pool",
    "open_pool_of",
    "own_pool_options",
    "pool_key",
    "pool_of",
]


def async_connect_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the parameters Django gives `psycopg.connect()` into those of `AsyncConnection`.

    The cursor class only matters to code that takes cursors from the async connection itself:
    bridged cursors are of the sync class Django asked for.
    """
    client_side = issubclass(params["cursor_factory"], ClientCursorMixin)
    return {
        **params,
        "cursor_factory": psycopg.AsyncClientCursor if client_side else psycopg.AsyncCursor,
    }


def pool_of(loop: asyncio.AbstractEventLoop, wrapper: BaseDatabaseWrapper) -> Pool:
    """Return the pool on *loop* of the database behind *wrapper*.

    Its options are those of ``TURBO_ORM["POOL"]`` overlaid with the alias's own
    ``OPTIONS["pool"]``, which are psycopg_pool's.
    """
    key = pool_key(wrapper.alias)
    return find_pool(loop, key, partial(_pool_spec, key, wrapper))


def open_pool_of(loop: asyncio.AbstractEventLoop, alias: str) -> Pool | None:
    """Return the pool of *alias* on *loop* if it is open."""
    return known_pool(loop, alias) or _find_open_pool(loop, alias)


def known_pool(loop: asyncio.AbstractEventLoop, alias: str) -> Pool | None:
    """Return what `open_pool_of()` does, sooner; None for a pool that it has yet to find, or with a check."""
    known = _known_pool((loop, alias))
    if known is not None:
        identity, pool = known
        try:
            given = _handler_state["settings"][alias]
        except KeyError:
            given = connections.settings[alias]
        if identity == _identity_in(given) and not pool.deserted:
            return pool
    return None


_known_pool = opened_pools.get


def _find_open_pool(loop: asyncio.AbstractEventLoop, alias: str) -> Pool | None:
    pools = pools_on(loop)
    if pools is None:
        return None
    key = pool_key(alias)
    pool = pools.get(key)
    if pool is None or not pool._opened or pool.deserted:
        return None
    if pool._check is None:
        opened_pools[loop, alias] = key.identity, pool
    return pool


#: Where ``connections.settings`` is once somebody has asked for it: a cached property takes longer.
_handler_state = vars(connections)


_keys: dict[str, PoolKey] = {}


def pool_key(alias: str) -> PoolKey:
    """Return what identifies *alias*'s database, as it is configured now."""
    identity = _identity_in(connections.settings[alias])
    known = _keys.get(alias)
    if known is None or known.identity != identity:
        known = _keys[alias] = PoolKey(alias, identity)
    return known


#: Out of an alias's settings, which tests change in place.
_identity_in = itemgetter("ENGINE", "NAME", "HOST", "PORT", "USER")


def _pool_spec(key: PoolKey, wrapper: BaseDatabaseWrapper) -> PoolSpec:
    given = dict(connections.settings[key.alias])  # as they are now: tests change the database in place
    options = pool_options(get_config().pool, own_pool_options(key.alias))
    if given["CONN_HEALTH_CHECKS"]:
        options.setdefault("check", AsyncConnectionPool.check_connection)

    def params_of(wrapper: Any) -> Mapping[str, Any]:
        # The password may be another one by now, and sync code connects with that.
        now = connections.settings.get(key.alias)
        if now is not None and _identity_in(now) == key.identity:
            given["PASSWORD"] = now["PASSWORD"]
        params: Mapping[str, Any] = wrapper.get_connection_params()
        return params

    engine = load_backend(given["ENGINE"])
    # One that no operation uses: the pool keeps it.
    wrapper = type(wrapper)(given, key.alias)
    wired = has_djangos(engine.DatabaseWrapper, wrapper.get_connection_params()["cursor_factory"])
    spec = PoolSpec(
        key,
        lambda: async_connect_params(params_of(wrapper)),
        options,
        prepares=_prepares(given),
        wired=wired,
    )
    async_class = async_backend.async_wrapper_class(engine)
    if async_class is None:
        return spec
    # django-async-backend's connections, so that either library can use them.
    theirs = async_class(given, key.alias)
    return replace(spec, connect=partial(params_of, theirs), configure=theirs._configure_connection)


def own_pool_options(alias: str) -> Mapping[str, Any]:
    """Return the alias's ``OPTIONS["pool"]``, where True and False say nothing to us.

    Raises `ImproperlyConfigured` for what psycopg_pool does not take, and for what only Django's pool of
    sync connections can use and ``TURBO_ORM["POOL"]`` has nothing for.
    """
    own = connections.settings[alias]["OPTIONS"].get("pool")
    if own is None or isinstance(own, bool):
        return {}
    where = f'DATABASES[{alias!r}]["OPTIONS"]["pool"]'
    check_pool_options(own, where)
    options = dict(own)
    if options.get("check") is ConnectionPool.check_connection:
        options["check"] = AsyncConnectionPool.check_connection
    sync = sync_pool_options(options)
    if missing := sync - get_config().pool.keys():
        names = ", ".join(sorted(missing))
        raise ImproperlyConfigured(
            f"{where} has {names} for the connections of sync code, which those of async code can't use. "
            f'Give theirs, or None, in TURBO_ORM["POOL"]: {names}.'
        )
    return {name: value for name, value in options.items() if name not in sync}


def _prepares(given: Mapping[str, Any]) -> bool:
    """Whether statements may be prepared: not behind a pooler which shares sessions.

    Its users tell Django so by ``DISABLE_SERVER_SIDE_CURSORS``, or psycopg by
    ``prepare_threshold=None``.
    """
    return not given.get("DISABLE_SERVER_SIDE_CURSORS") and (
        given["OPTIONS"].get("prepare_threshold", 0) is not None
    )
