"""Whether statements that do not go to the wire would go through Django's own cursors, and nobody else's.

A database backend of another package may do something of its own with each statement or connection
(set the tenant's schema, count), and so may what replaces methods of Django's cursors (caches,
monitoring). Their statements go through cursors then.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db.backends import utils

from turbo_orm.conf import get_config
from turbo_orm.db.originals import original

__all__ = ["are_untouched", "has_djangos"]

#: What a statement, or the end of a block, passes on its way from a wrapper to psycopg, if it does not
#: go to the wire.
_ON_THE_WAY = (
    "ensure_connection",
    "connect",
    "get_new_connection",
    "init_connection_state",
    "cursor",
    "_cursor",
    "_prepare_cursor",
    "create_cursor",
    "make_cursor",
    "make_debug_cursor",
    "set_autocommit",
    "_set_autocommit",
    "commit",
    "_commit",
    "rollback",
    "_rollback",
)


@cache
def has_djangos(engine: type[Any], cursor_class: type[Any]) -> bool:
    """Whether wrappers of the class *engine*, whose cursors are of *cursor_class*, execute as Django's do."""
    places = [next((each for each in engine.__mro__ if name in vars(each)), engine) for name in _ON_THE_WAY]
    return all(place.__module__.partition(".")[0] == "django" for place in (*places, cursor_class))


_cursors = utils.CursorWrapper
_execute = original(_cursors, "execute")


def are_untouched() -> bool:
    """Whether nobody has replaced what executes statements in Django's cursors, or is to see them all."""
    return _cursors.execute is _execute or get_config().wire == "always"
