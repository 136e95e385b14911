"""Synthetic projects of many models: what generating and checking take, and how big the stubs are."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.types.checkers import CHECKERS, Report, check
from devtools.types.project import generate

__all__ = ["Measurement", "main", "megabytes", "synthesize"]

_MODELS_PER_APP = 20
_QUERIES = 200
#: Fifteen fields, the key included; three foreign keys come on top.
_FIELDS = """\
    title = models.CharField(max_length=100)
    slug = models.SlugField(null=True)
    text = models.TextField(blank=True)
    email = models.EmailField()
    active = models.BooleanField(default=True)
    count = models.IntegerField(default=0)
    rank = models.SmallIntegerField(null=True)
    ratio = models.FloatField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    day = models.DateField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    token = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
"""
_SETTINGS = """\
SECRET_KEY = "scale"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["turbo_orm", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}}}
"""


@dataclass(frozen=True)
class Measurement:
    """A project's size, and what it took."""

    models: int
    depth: int
    seconds: float
    megabytes: float
    #: What each checker said.
    checkers: dict[str, Report]


def synthesize(folder: Path, models: int) -> None:
    """Write a project of *models* models, each with keys to three others, some in other apps."""
    apps = [f"app{number}" for number in range(-(-models // _MODELS_PER_APP))]
    settings = _SETTINGS.format(apps=", ".join(f'"{app}"' for app in apps))
    (folder / "settings.py").write_text(settings, encoding="utf-8")
    for app in apps:
        (folder / app).mkdir()
        (folder / app / "__init__.py").touch()
    sources = {app: ["from django.db import models\nfrom turbo_orm import AsyncManager\n"] for app in apps}
    for number in range(models):
        sources[_app(number)].append(_model(number, models))
    for app, parts in sources.items():
        (folder / app / "models.py").write_text("\n".join(parts), encoding="utf-8")
    (folder / "queries.py").write_text(_queries(models), encoding="utf-8")


def _app(number: int) -> str:
    return f"app{number // _MODELS_PER_APP}"


def _model(number: int, models: int) -> str:
    lines = [f"class Model{number}(models.Model):", _FIELDS.rstrip()]
    for position, step in enumerate((1, 7, 31)):
        target = (number + step) % models
        lines.append(
            f'    link{position} = models.ForeignKey("{_app(target)}.Model{target}", models.CASCADE, '
            f'null={position == 2}, related_name="back{number}_{position}")'
        )
    return "\n".join([*lines, "    objects = AsyncManager()\n"])


def _queries(models: int) -> str:
    numbers = [number * models // _QUERIES for number in range(_QUERIES)]
    imports = sorted({f"from {_app(number)}.turbo import Model{number}" for number in numbers})
    lines = [
        f'    await Model{number}.objects.filter(title__icontains="x", count__gte={position}, link0=1)'
        f'.order_by("-price").select_related("link1").alist()'
        for position, number in enumerate(numbers)
    ]
    return "\n".join([*imports, "", "async def queries() -> None:", *lines, ""])


def megabytes(folder: Path) -> float:
    """Return the size of all stubs of the project in *folder*."""
    return sum(path.stat().st_size for path in folder.rglob("turbo.pyi")) / 1e6


def measure(models: int, depth: int, checkers: Sequence[str]) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="turbo-scale-") as name:
        folder = Path(name).resolve()
        synthesize(folder, models)
        started = time.monotonic()
        generate(folder, "--depth", str(depth))
        seconds = time.monotonic() - started
        taken = {}
        for checker in checkers:
            report = check(checker, folder, "queries.py")
            if report.errors:
                raise RuntimeError(f"{checker} finds errors in right code: {report.errors[0]}")
            taken[checker] = report
        return Measurement(models, depth, seconds, megabytes(folder), taken)


def _measurements(sizes: Sequence[int]) -> Iterator[Measurement]:
    for models in sizes:
        for depth in (0, 1, 2):
            yield measure(models, depth, list(CHECKERS))


def main(sizes: Sequence[int] = (20, 100, 500)) -> int:
    """Print a table in Markdown, line by line."""
    print("Of each checker: seconds / seconds of CPU / MB.\n")
    print(f"| models | depth | generate s | stubs MB | {' | '.join(CHECKERS)} |")
    print("|---" * (4 + len(CHECKERS)) + "|")
    for found in _measurements(sizes):
        taken = " | ".join(
            f"{report.seconds:.1f} / {report.cpu_seconds:.1f} / {report.memory:.0f}"
            for report in found.checkers.values()
        )
        print(
            f"| {found.models} | {found.depth} | {found.seconds:.1f} | {found.megabytes:.1f} | {taken} |",
            flush=True,
        )
    return 0
