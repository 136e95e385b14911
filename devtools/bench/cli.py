"""`dev.py bench`: measure, print, save; or print and write the documents from saved results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from devtools.bench import tables
from devtools.bench.contestants import OURS
from devtools.bench.options import parse
from devtools.bench.results import Results
from devtools.bench.run import run

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 unless turbo_orm was missing or gave a wrong answer."""
    options = parse(arguments, results=ROOT / ".dev" / "bench" / "results.json")
    results = Results()
    if options.read:
        for path in options.read:
            results.add(Results.load(path))
    else:
        try:
            run(options, results, _say)
        finally:  # after Ctrl-C too: what there is
            results.save(options.results)
            _say(f"results are in {options.results}")
    print(tables.everything(results), flush=True)
    if options.write_docs:
        from devtools.bench.documents import write_documents  # matplotlib, in the group `bench` only

        for path in write_documents(results, ROOT):
            _say(f"wrote {path.relative_to(ROOT)}")
    return 1 if OURS in results.wrong or OURS in results.missing else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
