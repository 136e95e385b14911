"""What `dev.py` runs: the demo, checks, benchmarks, and the servers they need. Not in the wheel."""
