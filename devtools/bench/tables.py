"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from devtools.bench.contestants import CONTESTANTS, REFERENCE
from devtools.bench.operations import GROWING, OPERATIONS, Operation
from devtools.bench.results import Figure, Results, figure
from devtools.bench.targets import reached

__all__ = ["everything", "operations_table", "targets_table"]


def everything(results: Results) -> str:
    """All tables, each under a heading."""
    parts = [
        ("What ran", _about(results)),
        ("Targets", targets_table(results)),
        ("CPU of the client for one operation", operations_table(results)),
        ("The same, as a multiple of raw psycopg's", _ratios(results)),
        *(
            (
                f"{tasks} task{'s' * (tasks > 1)}: operations a second, and milliseconds at p50 / p99",
                _rates(results, tasks),
            )
            for tasks in _numbers_of_tasks(results)
        ),
        ("Memory for each connection in use", _memory(results)),
        *(
            (
                f"CPU in us{': ' if kind.labels else ' as work grows: '}{kind.operation.title}",
                _growth(results, name),
            )
            for name, kind in GROWING.items()
        ),
        ("Not measured, and remarks", _notes(results)),
    ]
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts if text) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(results: Results) -> str:
    lines = [f"- {name}: {value}" for name, value in results.about.items()]
    lines += [f"- {CONTESTANTS[name].title}: {versions}" for name, versions in results.versions.items()]
    lines += [f"- **missing**: {CONTESTANTS[name].title}: {why}" for name, why in results.missing.items()]
    return "\n".join(lines)


def targets_table(results: Results) -> str:
    """Target, measured, met."""
    rows = [
        (each.what, each.target, _short(each.measured), "yes" if each.met else "**no**")
        for each in reached(results)
    ]
    return _table(("what", "target", "measured (quartiles)", "met"), rows)


def operations_table(results: Results) -> str:
    """Microseconds of CPU: operations down, contestants across."""
    return _by_contestant(
        results, lambda name, operation: results.cpu(name, operation.name, tasks=_tasks(operation)), "us"
    )


def _ratios(results: Results) -> str:
    return _by_contestant(
        results,
        lambda name, operation: (
            None
            if operation.local
            else results.ratio(name, REFERENCE, operation.name, tasks=_tasks(operation))
        ),
        "x",
    )


def _tasks(operation: Operation) -> int:
    return 1 if operation.local else 16


def _by_contestant(results: Results, value: Callable[[str, Operation], Figure | None], unit: str) -> str:
    names = _contestants(results)
    rows = []
    for operation in OPERATIONS:
        cells = [value(name, operation) for name in names]
        if any(cells):
            rows.append((operation.title, *(_short(cell) for cell in cells)))
    return _table((unit, *(CONTESTANTS[name].title for name in names)), rows)


def _contestants(results: Results) -> list[str]:
    return [name for name in CONTESTANTS if name in results.versions]


def _short(value: Figure | None) -> str:
    """The median, and how far the quartiles are from it."""
    if value is None:
        return "-"
    digits = 0 if value.value >= 100 else 1 if value.value >= 10 else 2
    return f"{value.value:.{digits}f} ({value.low:.{digits}f}-{value.high:.{digits}f})"


def _plain(value: Figure | None) -> str:
    return "-" if value is None else f"{value.value:.0f}" if value.value >= 10 else f"{value.value:.1f}"


def _numbers_of_tasks(results: Results) -> list[int]:
    return sorted({sample.tasks for sample in results.samples if sample.size is None})


def _rates(results: Results, tasks: int) -> str:
    names = _contestants(results)
    rows = []
    for operation in OPERATIONS:
        if operation.local:
            continue
        cells = [_rate(results, name, operation.name, tasks) for name in names]
        if any(cell != "-" for cell in cells):
            rows.append((operation.title, *cells))
    return _table(("per second; p50 / p99", *(CONTESTANTS[name].title for name in names)), rows)


def _rate(results: Results, name: str, operation: str, tasks: int) -> str:
    samples = results.of(name, operation, tasks)
    rate = figure(sample.rate for sample in samples)
    half = figure(sample.median / 1000 for sample in samples)
    slowest = figure(sample.slowest / 1000 for sample in samples)
    if rate is None or half is None or slowest is None:
        return "-"
    return f"{rate.value:,.0f}; {half.value:.2f} / {slowest.value:.2f}"


def _memory(results: Results) -> str:
    rows = [
        (CONTESTANTS[name].title, _short(figure(results.memory[name])))
        for name in CONTESTANTS
        if name in results.memory
    ]
    return _table(("", "KiB"), rows)


def _growth(results: Results, kind: str) -> str:
    names = _contestants(results)
    rows = []
    for size in GROWING[kind].sizes:
        cells = [results.cpu(name, kind, tasks=None, size=size) for name in names]
        if any(cells):
            rows.append((GROWING[kind].label(size), *(_plain(cell) for cell in cells)))
    return _table((GROWING[kind].operation.title, *(CONTESTANTS[name].title for name in names)), rows)


def _notes(results: Results) -> str:
    return "\n".join(_note_lines(results))


def _note_lines(results: Results) -> Iterator[str]:
    for label, noted in (
        ("has none", results.unsupported),
        ("**wrong answer**", results.wrong),
        ("", results.remarks),
    ):
        for name, operations in noted.items():
            for operation, text in operations.items():
                yield f"- {CONTESTANTS[name].title}, {operation}: {label}{': ' * bool(label)}{text}"
