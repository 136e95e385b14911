"""The benchmark: a short run on a real server, and what is made of its results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devtools.bench import tables
from devtools.bench.contestants import CONTESTANTS, Missing, load
from devtools.bench.operations import OPERATIONS, shape_of_number
from devtools.bench.options import parse
from devtools.bench.results import Results, Sample, figure
from devtools.bench.run import run
from devtools.bench.targets import reached
from devtools.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


def _documents() -> Any:
    pytest.importorskip("matplotlib", reason="in the dependency group `bench` only")
    from devtools.bench import documents

    return documents


def sample(contestant: str, cpu: float, number: int = 0, operation: str = "get", tasks: int = 16) -> Sample:
    return Sample(contestant, operation, None, tasks, number, 10, cpu, 1e6 / cpu, cpu, cpu)


@pytest.fixture
def results() -> Results:
    samples = [sample("turbo_orm", cpu, number) for number, cpu in enumerate((20, 30, 80))]
    samples += [sample("psycopg", cpu, number) for number, cpu in enumerate((100, 100, 200))]
    samples += [sample("django", cpu, number) for number, cpu in enumerate((400, 300, 800))]
    about = {"Python": "3.13", "PostgreSQL": "15", "machine": "a machine", "rounds": "3"}
    versions = dict.fromkeys(("turbo_orm", "psycopg", "django"), "1.0")
    return Results(
        about=about, versions=versions, missing={"piccolo": "piccolo is not installed"}, samples=samples
    )


@pytest.mark.slow
def test_a_quick_run_finds_every_answer_right(tmp_path: Path) -> None:
    saved = tmp_path / "results.json"
    command = [
        sys.executable,
        "-m",
        "devtools.bench",
        "--quick",
        "--only",
        "turbo_orm,psycopg",
        "--rounds",
        "1",
    ]
    command += ["--seconds", "0.005", "--connections", "8", "--growing", "rows,columns,uses,verbs"]
    command += ["--timezone", "Asia/Tokyo"]
    done = subprocess.run(
        [*command, "--results", str(saved)],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Results.load(saved)
    assert (found.missing, found.wrong) == ({}, {})
    assert found.about["time zone"] == "Asia/Tokyo"
    for name in ("turbo_orm", "psycopg"):
        expected = {operation.name for operation in OPERATIONS} | {"rows", "columns", "uses", "verbs"}
        expected -= set(found.unsupported.get(name, {}))
        assert {each.operation for each in found.samples if each.contestant == name} == expected
    assert all(each.cpu > 0 and each.rate > 0 for each in found.samples)
    assert "| get one row by pk: x raw psycopg | <= 0.4 |" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.slow
def test_memory_of_a_connection(tmp_path: Path) -> None:
    saved = tmp_path / "results.json"
    command = [sys.executable, "-m", "devtools.bench", "--only", "psycopg", "--operations", "none"]
    command += ["--growing", "none", "--results", str(saved)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Memory for each connection in use" in done.stdout, run.stderr
    assert all(10 < kib < 2000 for kib in Results.load(saved).memory["psycopg"])


def test_a_contestant_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piccolo", None)
    monkeypatch.delitem(sys.modules, "devtools.bench.contestants.piccolo_", raising=False)
    with pytest.raises(Missing, match="piccolo is not installed"):
        load("piccolo")


def test_ratios_compare_slices_of_the_same_round(results: Results) -> None:
    ratio = results.ratio("turbo_orm", "psycopg", "get")
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.3, 0.25, 0.35))
    assert results.ratio("turbo_orm", "asyncpg", "get") is None


def test_quartiles() -> None:
    assert figure([]) is None
    assert str(figure([2.0])) == "2.00 (2.00-2.00)"
    assert str(figure([1.0, 2.0, 3.0, 4.0, 5.0])) == "3.00 (2.00-4.00)"


def test_results_survive_being_saved(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "new" / "file.json")
    assert Results.load(tmp_path / "new" / "file.json") == results


def test_runs_can_be_added_up(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "one.json")
    both = Results()
    for _ in range(2):
        both.add(Results.load(tmp_path / "one.json"))
    assert [each.round for each in both.of("turbo_orm", "get", 16)] == [0, 1, 2, 3, 4, 5]
    ratio = both.ratio("turbo_orm", "psycopg", "get")
    assert ratio is not None
    assert ratio.value == pytest.approx(0.3)
    assert (both.about, both.missing) == (results.about, results.missing)
    both.add(Results(versions={"piccolo": "1.0"}, about={"rounds": "many", "machine": "another"}))
    assert both.missing == {}
    assert both.about == {**results.about, "rounds": f"{results.about['rounds']}; then many"}


def test_targets_say_what_was_met_and_what_was_not(results: Results) -> None:
    found = {each.what: (each.target, each.met) for each in reached(results)}
    assert found["get one row by pk: x raw psycopg"] == ("<= 0.4", True)
    assert found["get one row by pk: less than Django"] == (">= 12", False)
    assert not any("count" in what for what in found)  # not measured


def test_tables_have_what_was_measured_and_what_was_missing(results: Results) -> None:
    text = tables.everything(results)
    assert "| get one row by pk: less than Django | >= 12 | 10.0 (10.0-15.0) | **no** |" in text
    assert "| get one row by pk | 0.30 (0.25-0.35) | 1.00 (1.00-1.00) | 4.00 (3.50-4.00) |" in text
    assert "- **missing**: Piccolo: piccolo is not installed" in text


def test_documents_are_written_between_markers(results: Results, tmp_path: Path) -> None:
    documents = _documents()
    (tmp_path / "docs").mkdir()
    for path in ("README.md", "docs/benchmarks.md"):
        (tmp_path / path).write_text("before\n<!-- bench: start -->\nold\n<!-- bench: end -->\nafter\n")
    written = list(documents.write_documents(results, tmp_path))
    assert [path.name for path in written] == ["cpu.svg", "benchmarks.md", "README.md"]
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(
        "before\n<!-- bench: start -->\n| x raw psycopg | turbo_orm | raw psycopg pool |"
    )
    assert readme.endswith("<!-- bench: end -->\nafter\n")
    assert "old" not in readme
    first = written[0].read_bytes()
    list(documents.write_documents(results, tmp_path))
    assert written[0].read_bytes() == first


def test_our_documents_have_the_markers() -> None:
    for path in ("README.md", "docs/benchmarks.md"):
        text = (ROOT / path).read_text()
        assert text.count("<!-- bench: start -->") == text.count("<!-- bench: end -->") == 1


def test_a_document_without_markers_is_refused(results: Results, tmp_path: Path) -> None:
    documents = _documents()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks.md").write_text("no markers")
    with pytest.raises(SetupError, match=r"benchmarks\.md has no .* put them where the results belong"):
        list(documents.write_documents(results, tmp_path))


def test_every_shape_is_another() -> None:
    shapes = {tuple((column, lookup) for column, lookup, _ in shape_of_number(n)) for n in range(957)}
    assert len(shapes) == 957


@pytest.mark.parametrize(
    ("arguments", "only"),
    [
        ([], tuple(CONTESTANTS)),
        (["--only", "ours,psycopg"], ("turbo_orm", "turbo_no_plans", "turbo_multiplexed", "psycopg")),
        (["--only", "django,django"], ("django",)),
    ],
)
def test_contestants_are_chosen_by_name(arguments: list[str], only: tuple[str, ...]) -> None:
    assert parse(arguments, Path("x")).only == only


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--operations", "get,got"], Path("x"))
    assert "'got' is none of get, count" in capsys.readouterr().err


def test_an_unknown_time_zone_is_refused(tmp_path: Path) -> None:
    options = parse(["--only", "psycopg", "--timezone", "Mars/Base"], tmp_path / "results.json")
    with pytest.raises(SetupError, match="knows no time zone 'Mars/Base'"):
        run(options, Results(), print)
