"""Query plans: SQL compiled once per query shape, rows loaded by generated functions."""

__all__: list[str] = []
