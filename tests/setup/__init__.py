"""Tests of dev.py and of devtools: what a newcomer meets first."""
