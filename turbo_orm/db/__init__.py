"""Connections below the ORM: pools, leases, nothing that knows a queryset."""
