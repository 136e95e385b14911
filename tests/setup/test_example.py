"""The example project by itself: its data, its migrations, its committed facade."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from devtools.postgres import Postgres, create_database

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

# A digest of every row, and how many there are of each model.
DIGEST = """
import hashlib, json, django
django.setup()
from django.core import serializers
from shop.data import batches
digest, counts, key = hashlib.sha256(), {}, 0
for table in batches():
    for row in table:
        row.pk = key = key + 1
        values = {f.attname: str(getattr(row, f.attname)) for f in row._meta.concrete_fields}
        digest.update(json.dumps(values, sort_keys=True).encode())
    counts[row._meta.label] = counts.get(row._meta.label, 0) + len(table)
print(digest.hexdigest(), json.dumps(counts))
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Postgres() as server:
        yield create_database(server, "bookshop")


def run(url: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT / "example",
        env={
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_migrations_make_the_models_tables(url: str) -> None:
    result = run(url, "manage.py", "makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_data_is_the_same_on_every_machine_and_enough(url: str) -> None:
    result = run(url, "-c", DIGEST)
    digest, _, counts = result.stdout.partition(" ")
    assert digest[:16] == "afc31345361774f6", result.stderr
    assert len(json.loads(counts)) >= 6
    assert sum(json.loads(counts).values()) >= 10_000


def test_the_data_is_loaded_once(url: str) -> None:
    assert run(url, "manage.py", "migrate", "--verbosity", "0").returncode == 0
    loaded = run(url, "manage.py", "load_shop", "--rows", "1000")
    assert loaded.returncode == 0, loaded.stderr
    # Not a terminal: one line, no bar.
    assert loaded.stdout.count("\n") == 1
    assert "\r" not in loaded.stdout
    again = run(url, "manage.py", "load_shop")
    assert again.returncode == 1
    assert "The shop already has data: run `manage.py flush` first" in again.stderr


@pytest.mark.skipif(django.VERSION < (6, 1), reason="the committed facade is written on the newest Django")
def test_the_committed_facade_is_up_to_date(url: str) -> None:
    result = run(url, "manage.py", "turbo_generate", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
