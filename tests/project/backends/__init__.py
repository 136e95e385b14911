"""Database backends as other packages have them, on top of Django's."""
