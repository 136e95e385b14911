"""Configuration of the book shop project."""
