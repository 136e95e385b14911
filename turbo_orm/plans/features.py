"""What a database can do, which related managers ask its connection, in blocks on the wire.

A block there has no wrapper of Django's, and making one costs more than a statement.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.bridge.scopes import active_scope, inherited_scope
from turbo_orm.plans.connections import compiling_connection

__all__ = ["asking_features"]

T = TypeVar("T")


def asking_features(call: Callable[..., T], *args: Any) -> T:
    """Return what *call* does, which looks at ``connections[alias].features``, and at no more of it.

    Should it do so all the same, there is all the rest.
    """
    loop = _get_running_loop()  # None in the bridge, where there is a wrapper
    if loop is None or inherited_scope() is None:
        return call(*args)
    scope = active_scope(loop)
    block = None if scope is None else scope.root.wire_block
    known = None if block is None else compiling_connection(block.alias)
    if block is None or known is None:
        return call(*args)
    with connections_replaced({block.alias: _WithFeatures(block.alias, known.features)}):
        return call(*args)


class _WithFeatures:
    """Stands for the wrapper of *alias*, and has it made for whatever is no feature."""

    def __init__(self, alias: str, features: Any) -> None:
        vars(self).update(_alias=alias, features=features)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapper(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._wrapper(), name, value)

    def _wrapper(self) -> Any:
        with connections_replaced({}):
            return connections[self._alias]
