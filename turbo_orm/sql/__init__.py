"""SQL by hand, and what PostgreSQL has besides queries: cursors, COPY, NOTIFY, advisory locks."""
