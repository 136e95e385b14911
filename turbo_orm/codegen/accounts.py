"""The methods of `django.contrib.auth`'s managers which give rows.

Their source has no annotations, and stubs of Django say the hand-written class: a subclass of
``UserManager["User"]`` was told so.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import ANY, builtin, name, optional, union

__all__ = ["account_method"]

_STR = builtin("str")
_TEXT = optional(_STR)
_BOOL = builtin("bool")
_KEY = f"username: {_TEXT}"
_ACCOUNT = f"username: {_STR}, email: {_TEXT} = ..., password: {_TEXT} = ..., **extra_fields: {ANY}"
_PERMISSION = (
    f"perm: {union(_STR, name('django.contrib.auth.models', 'Permission'))}, is_active: {_BOOL} = ..., "
    f"include_superusers: {_BOOL} = ..., backend: {_TEXT} = ..., obj: {ANY} = ..."
)
#: The parameters of the methods, by the path of the class and their names.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "django.contrib.auth.base_user.BaseUserManager": {
        "get_by_natural_key": _KEY,
        "aget_by_natural_key": _KEY,
    },
    "django.contrib.auth.models.UserManager": {
        "create_user": _ACCOUNT,
        "acreate_user": _ACCOUNT,
        "create_superuser": _ACCOUNT,
        "acreate_superuser": _ACCOUNT,
        "with_perm": _PERMISSION,
    },
}


def account_method(owner: type[Any], called: str, function: Any, row: str) -> ir.Method | None:
    """Describe *function* of *owner* if it is one of them; *row* are the model's rows."""
    parameters = _PARAMETERS.get(f"{owner.__module__}.{owner.__qualname__}", {}).get(called)
    if parameters is None:
        return None
    return ir.Method(
        name=called,
        queryset_only=False,
        is_async=inspect.iscoroutinefunction(function),
        is_overload=False,
        is_override=False,
        parameters=parameters,
        returns=ir.SAME_QUERYSET if called == "with_perm" else row,
    )
