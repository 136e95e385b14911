"""Django's own test suite as our specification: `python3 dev.py conformance`.

Every test runs twice, the ordinary way and through turbo_orm, and must end the same way.
"""
