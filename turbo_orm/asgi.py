"""An ASGI application that opens the connection pools when its server starts.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core import asgi

from turbo_orm.pools import close_pools, open_pools

__all__ = ["Lifespan", "get_asgi_application"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Lifespan:
    """Answers the server's lifespan messages and passes everything else to *app*.

    Pools are filled at start-up and closed at shutdown. Servers without lifespan support
    work too: pools open with the first query and close with the event loop.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await open_pools()
                except Exception as exc:
                    await close_pools()
                    reason = f"turbo_orm could not open its connection pools: {exc}"
                    await send({"type": "lifespan.startup.failed", "message": reason})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await close_pools()
                await send({"type": "lifespan.shutdown.complete"})
                return


def get_asgi_application() -> Lifespan:
    """Return Django's ASGI application with connection pools that live as long as the server.

    Use it in ``asgi.py`` in place of `django.core.asgi.get_asgi_application`.
    """
    application: Any = asgi.get_asgi_application()
    return Lifespan(application)
