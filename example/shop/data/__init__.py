"""The shop's sample data: the same rows on every machine, made from a fixed seed."""

from shop.data.generate import DEFAULT_SIZE, Size, batches

__all__ = ["DEFAULT_SIZE", "Size", "batches"]
