"""Runs type checkers over code which uses generated facades, and counts what they catch."""
