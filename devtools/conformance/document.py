"""Writes `docs/conformance.md` from the stored results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devtools.conformance.batches import MODES
from devtools.conformance.comparison import COLUMNS, total
from devtools.conformance.known import load_known
from devtools.conformance.report import plan_sentence
from devtools.conformance.series import ENGINES, SERIES, stored_name
from devtools.conformance.store import Store

__all__ = ["render", "write_document"]

_INTRODUCTION = """\
# Conformance: Django's own tests

Written by `python3 dev.py conformance --write-docs` from its last results. Do not edit.

Django's test suite is taken from its source distribution and run on PostgreSQL four ways:

- the ordinary way, with Django's own connections: what is to be expected;
- **bridge**: every class set-up, test and tear-down runs in turbo_orm's bridge, on async connections;
- **verbs**: in addition the models' managers are `AsyncManager`, and what a test calls (`get()`,
  `save()`, iteration, `related.add()`...) is done by its async twin (`aget()`, `asave()`, `alist()`,
  `related.aadd()`...). By default only in the test packages about the ORM;
- **plans**: as verbs, but a query gets its plan when it is first seen, not when it is seen again, and each
  planned statement is compared with the one Django would execute.

Left out are `gis_tests` (another database) and `admin_scripts` (every test starts `django-admin` in a
process of its own, which the bridge can't reach).

A test that ends in another way than ordinarily is *different*. Tests that fail or are skipped
ordinarily too (no Selenium, another database's feature) are not. A run fails if it executed nothing, if
it did not wait for the database through the bridge, or if a single wait blocked the event loop's thread.

    python3 dev.py conformance                                   # everything, all modes, the newest Django
    python3 dev.py conformance --django 5.2 --mode bridge        # one series, one mode
    python3 dev.py conformance --mode verbs queries lookup       # some test packages, or parts of one
    python3 dev.py conformance --labels-from ci                  # what `.ci/run` runs
    python3 dev.py conformance --django 4.2 --django 5.2 --django 6.0 --django 6.1
    python3 dev.py conformance --engine async_backend            # on django-async-backend's engine

Known differences are listed with their reasons in `devtools/conformance/known.json`; any other makes
the command fail.
"""

#: `COLUMNS` as the tables call them.
_TITLES = ["not known" if column == "unknown" else column for column in COLUMNS]
#: Those of one test package: what is not known makes the run fail.
_OF_A_PACKAGE = [column for column in COLUMNS if column != "unknown"]


def write_document(root: Path) -> None:
    """Write the document."""
    results = {}
    for engine in ENGINES:
        for series in SERIES:
            name = stored_name(series, engine)
            result = _with_reasons(series, Store(root, name).read())
            if engine == "django":
                results[name] = result
            elif result.get("modes"):
                results[name] = {**result, "version": f"{result['version']} {engine}"}
    (root / "docs/conformance.md").write_text(render(results), encoding="utf-8")


def _with_reasons(series: str, result: dict[str, Any]) -> dict[str, Any]:
    """Give each difference the reason that `known.json` has for it by now."""
    for mode, labels in result.get("modes", {}).items():
        known = load_known(mode, series)
        for label in labels.values():
            for each in label["differences"]:
                reasons = (entry.reason for entry in known if entry.matches(each["test"]))
                each["reason"] = next(reasons, None)
            unknown = sum(each["reason"] is None for each in label["differences"])
            label["numbers"]["unknown"] = unknown
    return result


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the document for the stored results of each series."""
    return "\n".join([_INTRODUCTION, *_totals(results), *_differences(results), *_labels(results)]) + "\n"


def _totals(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Results\n"
    yield f"| Django | Python | mode | test packages | {' | '.join(_TITLES)} |"
    yield f"|---|---|---|---:|{'---:|' * len(COLUMNS)}"
    for series, result in results.items():
        for mode in MODES:
            labels = result.get("modes", {}).get(mode)
            if labels:
                numbers = total(label["numbers"] for label in labels.values())
                packages = f"{len(labels)} of {result['packages']}"
                cells = (result["version"], result["python"], mode, packages, *map(numbers.get, COLUMNS))
                yield f"| {' | '.join(str(cell) for cell in cells)} |"
        if not result.get("modes"):
            yield f"| {series} | | not run | |{' |' * len(COLUMNS)}"
    yield ""
    for result in results.values():
        if "plans" in result:
            counts = result["plans"]
            yield f"- Django {result['version']}, {counts['packages']} test packages: {plan_sentence(counts)}"
    yield ""


def _differences(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Differences\n"
    found: dict[tuple[str, str], list[str]] = {}
    for result in results.values():
        for mode, labels in result.get("modes", {}).items():
            for label in labels.values():
                for each in label["differences"]:
                    key = (each["difference"], each["reason"] or "**not known**")
                    found.setdefault(key, []).append(f"{result['version']} {mode}")
    if not found:
        yield "None."
    for (difference, reason), where in sorted(found.items()):
        yield f"- `{difference}` ({', '.join(where)}): {reason}"
    yield ""


def _labels(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## By test package\n"
    yield f"{' / '.join(_OF_A_PACKAGE).capitalize()}.\n"
    columns = [
        (f"{result['version']} {mode}", result["modes"][mode])
        for result in results.values()
        for mode in MODES
        if result.get("modes", {}).get(mode)
    ]
    yield f"| | {' | '.join(name for name, _ in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for label in sorted({label for _, labels in columns for label in labels}):
        cells = [_cell(labels.get(label)) for _, labels in columns]
        yield f"| {label} | {' | '.join(cells)} |"


def _cell(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    return " / ".join(str(result["numbers"][column]) for column in _OF_A_PACKAGE)
