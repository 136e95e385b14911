"""What turbo_orm costs, beside its peers: measured interleaved on one PostgreSQL, with checked answers."""
