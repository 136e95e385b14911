"""A book shop: catalogue, customers, orders."""
