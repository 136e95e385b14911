"""Django's sync ORM code on an async connection: greenlets, scopes, the bridged connection.

The sync code runs in a greenlet in the event loop's own thread. Where it would wait for the
database it switches out, and the task that drives it awaits psycopg's `AsyncConnection`.
"""
