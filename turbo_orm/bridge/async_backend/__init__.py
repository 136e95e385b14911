"""One transaction and one pool for turbo_orm and django-async-backend.

`join` lets our queries take part in their ``async_atomic`` blocks, `guest` their calls in our
blocks; `local` and `blocks` are where the two are hooked into django-async-backend, once an
alias with its engine is used.
"""

from turbo_orm.bridge.async_backend.pools import async_wrapper_class, share_pools

__all__ = ["async_wrapper_class", "share_pools"]
