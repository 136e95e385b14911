"""The signatures and annotations of hand-written code, whatever their names are at run time.

Python 3.14 evaluates annotations when they are asked for, which fails for a name that is imported under
``if TYPE_CHECKING:``. They are text then, as after ``from __future__ import annotations``.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

__all__ = [
    "annotations_of",
    "definition_of",
    "own_parameters",
    "signature_of",
    "takes_anything",
    "written_return",
]

_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature_of(function: Any) -> inspect.Signature:
    """Return the signature of *function*."""
    if sys.version_info >= (3, 14):
        try:
            return inspect.signature(function)
        except Exception:  # evaluating is running code of the user's
            return inspect.signature(function, annotation_format=annotationlib.Format.STRING)
    return inspect.signature(function)


def annotations_of(obj: Any) -> dict[str, Any]:
    """Return the annotations of a function, or of a class without those of its bases."""
    if sys.version_info >= (3, 14):
        try:
            return annotationlib.get_annotations(obj)
        except Exception:  # as above
            return annotationlib.get_annotations(obj, format=annotationlib.Format.STRING)
    return inspect.get_annotations(obj)


def takes_anything(method: Any) -> bool:
    """Whether *method* has ``*args`` or ``**kwargs``."""
    return any(parameter.kind in _STARS for parameter in signature_of(method).parameters.values())


def own_parameters(own: Any, djangos: Any) -> list[inspect.Parameter]:
    """Return the parameters of *own* which the method of Django's that it overrides does not have."""
    known = signature_of(djangos).parameters
    after_self = list(signature_of(own).parameters.values())[1:]
    return [
        parameter for parameter in after_self if parameter.kind not in _STARS and parameter.name not in known
    ]


def definition_of(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the syntax tree of *function*; ``None`` where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return None
    definition = tree.body[0]
    return definition if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def written_return(function: Any) -> str | None:
    """Return the text of the return annotation.

    The object it was evaluated to knows less: Django's ``QuerySet[Author]`` is ``QuerySet``.
    """
    definition = definition_of(function)
    return ast.unparse(definition.returns) if definition and definition.returns else None
