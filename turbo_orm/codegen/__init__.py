"""The generator behind ``manage.py turbo_generate``: introspect, validate, render, write."""
