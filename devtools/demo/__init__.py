"""The main job, from an empty database to checked answers: `python3 dev.py demo`."""
