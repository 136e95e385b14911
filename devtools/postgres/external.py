"""The user's own server, named by `DATABASE_URL`: used, never started or stopped."""

from __future__ import annotations

from types import TracebackType
from urllib.parse import quote, urlsplit

import psycopg
from typing_extensions import Self

from devtools.errors import SetupError
from devtools.postgres.binaries import MINIMUM_MAJOR

__all__ = ["ExternalServer"]

_SECONDS_TO_ANSWER = 5


class ExternalServer:
    """A server that answers at a URL. Checked once, when made."""

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise SetupError(
                "DATABASE_URL is not a PostgreSQL address: "
                "write it as postgresql://user:password@host:port/database, "
                "or unset it to get a private server."
            )
        self._url = url
        self.description = f"the server of DATABASE_URL ({self._place}), PostgreSQL {self._check()}"

    def __repr__(self) -> str:
        return f"<ExternalServer {self._place}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _place(self) -> str:
        """The address without its password."""
        return urlsplit(self._url).netloc.rpartition("@")[2] or "the local socket"

    def url(self, database: str | None = None) -> str:
        """Return the address of *database* on this server, or the address as it was given."""
        return (
            self._url
            if database is None
            else urlsplit(self._url)._replace(path=f"/{quote(database)}").geturl()
        )

    def stop(self) -> None:
        """Leave the user's server running."""

    def _check(self) -> int:
        try:
            with psycopg.connect(self._url, connect_timeout=_SECONDS_TO_ANSWER) as connection:
                version = connection.info.server_version // 10_000
        except psycopg.Error as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise SetupError(
                f"The server of DATABASE_URL ({self._place}) does not answer: {reason}. "
                "Start it or correct the address, or unset DATABASE_URL to get a private server."
            ) from None
        if version < MINIMUM_MAJOR:
            raise SetupError(
                f"The server of DATABASE_URL ({self._place}) is PostgreSQL {version}: "
                f"{MINIMUM_MAJOR} or newer is needed; unset DATABASE_URL to get a private server."
            )
        return version
