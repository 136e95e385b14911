"""Sets the schema of the current tenant before each statement."""
