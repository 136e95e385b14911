"""What `dev.py` does before the environment exists: find a Python, get uv, install, hand over.

Standard library only, and nothing newer than Python 3.7: it runs on whatever `python3` is.
"""
