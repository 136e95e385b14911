"""The files around a conformance run: what is known, what is installed, what is documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devtools.bootstrap.pythons import Python
from devtools.conformance.batches import MODES, Batch
from devtools.conformance.document import render
from devtools.conformance.installation import wanted_requirements
from devtools.conformance.known import load_known
from devtools.conformance.labels import CI_LABELS, VERB_LABELS, available
from devtools.conformance.ledger import Ledger
from devtools.conformance.outcomes import Outcome, Run
from devtools.conformance.series import ENGINES, SERIES, choose_python, engine_requirements, stored_name
from devtools.errors import SetupError

KNOWN = json.loads((Path(__file__).parents[2] / "devtools/conformance/known.json").read_text())


def test_known_differences_name_existing_modes_and_series():
    assert KNOWN
    for entry in KNOWN:
        assert set(entry["modes"]) <= set(MODES)
        assert set(entry["django"]) <= set(SERIES)
        assert len(entry["reason"]) > 30


def test_known_differences_are_those_of_the_mode_and_series(tmp_path: Path):
    entries = [
        {"test": "a.*", "modes": ["bridge"], "django": ["6.1"], "reason": "one"},
        {"test": "b.*", "modes": ["bridge", "verbs"], "django": ["5.2", "6.1"], "reason": "two"},
    ]
    path = tmp_path / "known.json"
    path.write_text(json.dumps(entries))
    assert [entry.test for entry in load_known("bridge", "6.1", path)] == ["a.*", "b.*"]
    assert [entry.test for entry in load_known("verbs", "5.2", path)] == ["b.*"]
    assert load_known("verbs", "4.2", path) == []


@pytest.mark.parametrize("change", [{"reason": " "}, {"because": "no"}])
def test_a_known_difference_needs_a_reason_and_nothing_else(tmp_path: Path, change: dict[str, str]):
    path = tmp_path / "known.json"
    path.write_text(json.dumps([{"test": "a.*", "modes": [], "django": [], "reason": "so", **change}]))
    with pytest.raises(SetupError, match=r"Entry 1 of known\.json must have exactly .* and a reason"):
        load_known("bridge", "6.1", path)


def test_engines():
    assert engine_requirements("4.2", "django") == []
    assert engine_requirements("6.1", "async_backend") == ["django-async-backend==6.1.*"]
    with pytest.raises(SetupError, match=r"no release for Django 5\.2: choose --django 6\.0 or 6\.1"):
        engine_requirements("5.2", "async_backend")
    names = {stored_name(series, engine) for series in SERIES for engine in ENGINES}
    assert len(names) == len(SERIES) * len(ENGINES)
    assert stored_name("6.1", "django") == "6.1"


def test_requirements_without_those_that_need_servers(tmp_path: Path):
    path = tmp_path / "py3.txt"
    path.write_text(
        "asgiref >= 3.9.1\n# pylibmc can't be built on Windows.\npylibmc; sys_platform != 'win32'\n"
        "Pillow >= 10.1.0; sys.platform != 'win32'  # images\n\nselenium >= 4.23.0\n"
    )
    assert wanted_requirements(path) == ["asgiref >= 3.9.1", "Pillow >= 10.1.0; sys.platform != 'win32'"]


def test_the_newest_fitting_python_is_chosen():
    pythons = [Python((3, minor), f"python3.{minor}") for minor in (10, 13, 12, 9)]
    assert choose_python("4.2", pythons).version == (3, 12)
    assert choose_python("5.2", pythons).version == (3, 13)
    with pytest.raises(
        SetupError, match=r"Django 6\.1 needs Python 3\.12 to 3\.13 and this machine has none"
    ):
        choose_python("6.1", pythons[:1])


def test_test_packages_of_a_folder_start_with_those_about_the_orm(tmp_path: Path):
    for name in ("admin_views", "update", "queries", "gis_tests", "admin_scripts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "templates").mkdir()
    assert available(tmp_path) == ["queries", "update", "admin_views"]


#: What verbs mode must cover at least; composite primary keys came with Django 5.2.
REQUIRED = """
    queries lookup ordering expressions aggregation annotations get_or_create bulk_create update delete
    prefetch_related select_related many_to_many m2m_through defer raw_query generic_relations
    model_inheritance composite_pk async
"""


def test_labels_of_verbs_mode_and_of_ci():
    assert set(REQUIRED.split()) <= set(VERB_LABELS) <= set(CI_LABELS)
    assert len(set(CI_LABELS)) == len(CI_LABELS)


def test_document_of_stored_results():
    result = {
        "version": "6.1.3",
        "python": "3.13",
        "packages": 212,
        "modes": {
            "bridge": {
                "queries": {
                    "numbers": {"passed": 500, "failed": 1, "skipped": 6, "different": 1, "unknown": 1},
                    "differences": [
                        {"difference": "queries.tests.Q.test_q: passed -> failed", "reason": None}
                    ],
                }
            }
        },
    }
    counts = {"packages": 2, "terminals": 2000, "terminals_planned": 1500, "planned": 1700, "mismatches": 0}
    text = render({"4.2": {}, "6.1": {**result, "plans": counts}})
    assert "- Django 6.1.3, 2 test packages: 1,500 of 2,000 terminals had a plan (75%); 1,700" in text
    assert "| 4.2 | | not run |" in text
    assert "| 6.1.3 | 3.13 | bridge | 1 of 212 | 500 | 1 | 6 | 1 | 1 |" in text
    assert "- `queries.tests.Q.test_q: passed -> failed` (6.1.3 bridge): **not known**" in text
    assert "| queries | 500 / 1 / 6 / 1 |" in text


def test_plain_outcomes_can_be_kept_for_another_run():
    ledger = Ledger("6.1", ["bridge"], {"b": {"b.x": Outcome("passed")}})
    list(ledger.take(Batch("plain", ("a",)), Run({"a.x": Outcome("failed", "why")}, complete=True)))
    assert ledger.plain_outcomes() == {
        "a": {"a.x": Outcome("failed", "why")},
        "b": {"b.x": Outcome("passed")},
    }
