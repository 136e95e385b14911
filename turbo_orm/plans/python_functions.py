"""Python functions made from source text: compiled once per text, shown in tracebacks."""

from __future__ import annotations

import linecache
import threading
from collections import OrderedDict
from types import CodeType
from typing import Any

__all__ = ["make_function"]

#: Compiled texts that are kept for the next function of the same text.
MAX_CODES = 1000

_codes: OrderedDict[str, CodeType] = OrderedDict()
_lock = threading.Lock()
_made = 0


def make_function(name: str, source: str, namespace: dict[str, Any]) -> Any:
    """Return the function *name* that *source* defines; *namespace* becomes its globals."""
    exec(_code(name, source), namespace)
    return namespace[name]


def _code(name: str, source: str) -> CodeType:
    global _made
    with _lock:
        code = _codes.get(source)
        if code is not None:
            _codes.move_to_end(source)
            return code
        _made += 1
        filename = f"<turbo_orm {name} {_made}>"
        code = _codes[source] = compile(source, filename, "exec")
        # Without a modification time, linecache.checkcache() leaves it alone.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        if len(_codes) > MAX_CODES:
            _, oldest = _codes.popitem(last=False)
            linecache.cache.pop(oldest.co_filename, None)
        return code
