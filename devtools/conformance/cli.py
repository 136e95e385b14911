"""`python3 dev.py conformance`: run Django's tests the ordinary way and through turbo_orm, and compare."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devtools.conformance.batches import MODES, make_batches, run_batches
from devtools.conformance.document import write_document
from devtools.conformance.installation import Installation, install
from devtools.conformance.labels import CI_LABELS, VERB_LABELS, available, package_of
from devtools.conformance.ledger import Ledger
from devtools.conformance.report import HEADER, print_comparison, print_result
from devtools.conformance.series import ENGINES, NEWEST, SERIES, stored_name
from devtools.conformance.store import Store
from devtools.errors import SetupError
from devtools.postgres import server_from_environment

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 means that nothing differs but what is known."""
    options = _parser().parse_args(arguments)
    try:
        results = [_run_series(series, options) for series in options.django or [NEWEST]]
    except SetupError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    return max(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py conformance", description=__doc__)
    parser.add_argument(
        "labels", nargs="*", help="test packages, or parts of one: queries, queries.tests.Queries1Tests"
    )
    parser.add_argument(
        "--django", action="append", choices=SERIES, help=f"the series to test; default {NEWEST}"
    )
    parser.add_argument("--mode", action="append", choices=MODES, help="default: all of them")
    parser.add_argument(
        "--engine", choices=ENGINES, default="django", help="the database backend; default: Django's own"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--labels-from", choices=["ci", "verbs", "all"], help="a fixed choice of labels")
    parser.add_argument(
        "--reuse-plain", action="store_true", help="take the ordinary run's outcomes from last time"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/conformance.md from all results so far"
    )
    return parser


def _labels(options: argparse.Namespace, installation: Installation, mode: str) -> list[str]:
    existing = available(installation.tests)
    if options.labels:
        unknown = [
            label
            for label in options.labels
            if not (installation.tests / package_of(label) / "__init__.py").exists()
        ]
        if unknown:
            raise SetupError(f"Django {installation.version} has no tests {', '.join(unknown)}.")
        return list(options.labels)
    bridge = {None: existing, "ci": CI_LABELS, "verbs": VERB_LABELS, "all": existing}
    verbs = {**bridge, None: VERB_LABELS, "ci": VERB_LABELS}
    wanted = (bridge if mode == "bridge" else verbs)[options.labels_from]
    return [label for label in wanted if label in existing]


def _run_series(series: str, options: argparse.Namespace) -> int:
    started = time.monotonic()
    installation = install(ROOT, series, options.engine)
    store = Store(ROOT, stored_name(series, options.engine))
    modes = options.mode or list(MODES)
    labels = {mode: _labels(options, installation, mode) for mode in modes}
    everything = list(dict.fromkeys(label for mode in modes for label in labels[mode]))
    plain = store.plain(everything) if options.reuse_plain else {}
    labels = {"plain": [label for label in everything if label not in plain], **labels}
    print(f"Django {installation.version}, {installation.python}", flush=True)
    print(HEADER, flush=True)
    ledger = Ledger(series, modes, plain)
    with server_from_environment() as server:
        for batch, run in run_batches(installation, server, make_batches(labels), options.jobs):
            for comparison in ledger.take(batch, run):
                print_comparison(comparison)
            store.save(installation, ledger, whole=everything)
    failures = print_result(ledger, time.monotonic() - started)
    if options.write_docs:
        write_document(ROOT)
    return 1 if failures else 0
