"""Puts tables and charts into docs/benchmarks.md, and the README's section on speed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from devtools.bench import tables
from devtools.bench.charts import draw
from devtools.bench.contestants import CONTESTANTS, OURS, REFERENCE
from devtools.bench.operations import OPERATIONS
from devtools.bench.results import Results
from devtools.errors import SetupError

__all__ = ["readme_section", "write_documents"]

_CHARTS = {
    "cpu": "CPU of the client for each operation",
    "throughput": "Operations a second at 100 tasks",
    "growth": "CPU as work grows",
    "uses": "The first uses of a query shape",
    "memory": "Memory for each connection in use",
}
#: Columns of the README's table.
_IN_README = (
    OURS,
    REFERENCE,
    "asyncpg",
    "django",
    "django_async_backend",
    "sqlalchemy_psycopg",
    "tortoise",
    "piccolo",
)


def write_documents(results: Results, root: Path) -> Iterator[Path]:
    """Write the charts and replace what stands between the markers; yield the paths of what was written."""
    folder = root / "docs" / "benchmarks"
    drawn = list(draw(results, folder))
    yield from drawn
    charts = "\n\n".join(f"![{_CHARTS[path.stem]}](benchmarks/{path.name})" for path in drawn)
    yield _replace(root / "docs" / "benchmarks.md", f"{charts}\n\n{tables.everything(results)}")
    yield _replace(root / "README.md", readme_section(results))


def readme_section(results: Results) -> str:
    """A short table of CPU ratios, and what it was measured on."""
    names = [name for name in _IN_README if name in results.versions]
    lines = [
        f"| x raw psycopg | {' | '.join(CONTESTANTS[name].title for name in names)} |",
        f"|---|{'--:|' * len(names)}",
    ]
    for operation in OPERATIONS:
        ratios = [results.ratio(name, REFERENCE, operation.name) for name in names]
        if not operation.local and any(ratios):
            shown = [("-" if ratio is None else f"{ratio.value:.2f}") for ratio in ratios]
            lines.append(f"| {operation.title} | {' | '.join(shown)} |")
    about = results.about
    lines += [
        "",
        f"{about['Python']}, PostgreSQL {about['PostgreSQL']}; {about['machine']}; {about['rounds']}.",
    ]
    return "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> Path:
    """Put *text* between the markers of a file. Raises `SetupError` when it has none."""
    content = path.read_text()
    start, end = "<!-- bench: start -->", "<!-- bench: end -->"
    pattern = re.compile(f"{re.escape(start)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(content):
        raise SetupError(f"{path.name} has no {start} and {end}: put them where the results belong.")
    path.write_text(pattern.sub(lambda _: f"{start}\n{text.strip()}\n{end}", content))
    return path
