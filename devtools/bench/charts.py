"""The results as SVG charts, small and the same for the same results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from devtools.bench.contestants import CONTESTANTS, OURS, REFERENCE
from devtools.bench.operations import GROWING, OPERATIONS
from devtools.bench.results import Results, figure

__all__ = ["draw"]

_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "svg.hashsalt": "turbo_orm",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_COLORS = {
    "turbo_orm": "#d1242f",
    "turbo_no_plans": "#f2a6aa",
    "turbo_multiplexed": "#8250df",
    "psycopg": "#24292f",
    "asyncpg": "#57606a",
    "asyncpg_no_reset": "#8c959f",
    "django": "#116329",
    "django_async_backend": "#4ac26b",
    "sqlalchemy_psycopg": "#9a6700",
    "sqlalchemy_asyncpg": "#d4a72c",
    "tortoise": "#0969da",
    "piccolo": "#80ccff",
}
_SHOWN = {
    "columns": "columns of 100 rows",
    "rows": "rows",
    "models": "models in use",
    "tasks": "tasks at once",
}


def draw(results: Results, folder: Path) -> Iterator[Path]:
    """Write a chart for each kind of figure there is, and yield its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        charts = {
            "cpu": _bars(results, lambda name, operation: results.ratio(name, REFERENCE, operation)),
            "throughput": _bars(results, _throughput(results)),
            "growth": _growth(results),
            "uses": _uses(results),
            "memory": _memory(results),
        }
        titles = {"cpu": "CPU of the client, x raw psycopg (shorter is better; 16 tasks)"}
        titles["throughput"] = "operations a second, x raw psycopg (longer is better; 100 tasks)"
        for name, canvas in charts.items():
            if canvas is None:
                continue
            if name in titles:
                canvas.suptitle(titles[name], fontsize=10)
            path = folder / f"{name}.svg"
            canvas.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
            yield path


def _throughput(results: Results) -> Any:
    return lambda name, operation: results.rates(name, REFERENCE, operation, tasks=100)


def _names(results: Results) -> list[str]:
    return [name for name in CONTESTANTS if name in results.versions]


def _bars(results: Results, value: Any) -> Canvas | None:
    """A panel for each operation, a bar for each contestant."""
    names = _names(results)
    panels = []
    for operation in OPERATIONS:
        figures = {name: value(name, operation.name) for name in names}
        if any(figures.values()) and not operation.local:
            panels.append((operation.title, figures))
    if not panels:
        return None
    columns = min(3, len(panels))
    canvas = Canvas(figsize=(3.6 * columns, (0.6 + 0.19 * len(names)) * -(-len(panels) // columns)))
    axes = canvas.subplots(-(-len(panels) // columns), columns, squeeze=False).flat
    for index, (panel, (title, figures)) in enumerate(zip(axes, panels, strict=False)):
        for place, name in enumerate(names):
            found = figures[name]
            if found is not None:
                panel.barh(place, found.value, color=_COLORS[name])
                panel.text(found.value, place, f" {found.value:.2f}", va="center", fontsize=7)
        panel.axvline(1, color="#8c959f", lw=0.6)
        labels = [CONTESTANTS[name].title for name in names] if index % columns == 0 else []
        panel.set_yticks(range(len(names)) if labels else [], labels)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.margins(x=0.15)
        panel.set_title(title, fontsize=9)
    for panel in list(axes)[len(panels) :]:
        panel.set_axis_off()
    canvas.tight_layout(rect=(0, 0, 1, 1 - 0.3 / canvas.get_figheight()))
    return canvas


def _growth(results: Results) -> Canvas | None:
    """A panel for each kind of growth, a line for each contestant."""
    kinds = [kind for kind in _SHOWN if any(sample.operation == kind for sample in results.samples)]
    if not kinds:
        return None
    canvas = Canvas(figsize=(4.2 * min(2, len(kinds)), 3 * -(-len(kinds) // 2)))
    axes = canvas.subplots(-(-len(kinds) // 2), min(2, len(kinds)), squeeze=False).flat
    for panel, kind in zip(axes, kinds, strict=False):
        _lines(results, panel, kind)
        panel.set_xscale("log")
        panel.set_yscale("log")
        sizes = GROWING[kind].sizes
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(_SHOWN[kind])
    for panel in list(axes)[len(kinds) :]:
        panel.set_axis_off()
    handles, labels = canvas.axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="upper center", ncols=4, fontsize=7, frameon=False)
    canvas.tight_layout(rect=(0, 0, 1, 0.92))
    return canvas


def _uses(results: Results) -> Canvas | None:
    if not any(sample.operation == "uses" for sample in results.samples):
        return None
    canvas = Canvas(figsize=(5, 3))
    panel = canvas.subplots()
    _lines(results, panel, "uses")
    panel.set_xlabel("which use of a query shape")
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=7, frameon=False)
    return canvas


def _lines(results: Results, panel: Any, kind: str) -> None:
    for name in _names(results):
        points = [(size, results.cpu(name, kind, tasks=None, size=size)) for size in GROWING[kind].sizes]
        known = [(size, found.value) for size, found in points if found is not None]
        if known:
            panel.plot(
                *zip(*known, strict=True),
                marker=".",
                color=_COLORS[name],
                lw=2 if name == OURS else 1,
                label=CONTESTANTS[name].title,
            )
    panel.set_ylabel("CPU, us for a call")


def _memory(results: Results) -> Canvas | None:
    names = [name for name in CONTESTANTS if name in results.memory]
    if not names:
        return None
    canvas = Canvas(figsize=(5, 0.4 + 0.22 * len(names)))
    panel = canvas.subplots()
    for place, name in enumerate(names):
        found = figure(results.memory[name])
        if found is not None:
            panel.barh(place, found.value, color=_COLORS[name])
            panel.text(found.value, place, f" {found.value:.0f}", va="center", fontsize=7)
    panel.set_yticks(range(len(names)), [CONTESTANTS[name].title for name in names])
    panel.invert_yaxis()
    panel.set_xlabel("KiB for each connection in use")
    return canvas
