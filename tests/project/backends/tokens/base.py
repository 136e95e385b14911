from __future__ import annotations

from itertools import count
from typing import Any

from django.db.backends.postgresql import base

_numbers = count(1)


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "application_name": f"token {next(_numbers)}"}
