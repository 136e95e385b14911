"""``--watch``: generates again whenever the code of the project's apps changes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from django.apps import apps
from django.conf import settings

__all__ = ["Snapshot", "take_snapshot", "watch", "watched_folders"]

#: By path, the time of the last change in nanoseconds.
Snapshot = dict[str, int]

_SKIPPED = frozenset(("migrations", "__pycache__", "site-packages", "dist-packages", "node_modules"))
#: Between two looks at whether anything has changed.
_SECONDS_BETWEEN = 0.5


def watched_folders() -> list[Path]:
    """Return the folders of the apps which are the project's own, and that of its settings."""
    folders = {Path(config.path) for config in apps.get_app_configs()}
    settings_file = getattr(sys.modules.get(settings.SETTINGS_MODULE), "__file__", None)
    if settings_file:
        folders.add(Path(settings_file).parent)
    return sorted(folder for folder in folders if not _SKIPPED & set(folder.parts))


def take_snapshot(folders: Iterable[Path], generated: Iterable[Path]) -> Snapshot:
    """Return the time of the last change of each source file, but of those *generated*."""
    own = {str(path) for path in generated}
    found: Snapshot = {}
    for folder in folders:
        for path in folder.rglob("*.py"):
            if str(path) in own or _SKIPPED & set(path.parts):
                continue
            try:
                found[str(path)] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # an editor is replacing it
    return found


def watch(command: Sequence[str], snapshot: Callable[[], Snapshot], say: Callable[[str], None]) -> None:
    """Run *command* now and after each change, until interrupted.

    It is a process of its own: the models of this one cannot be loaded twice.
    """
    say("Watching for changes; Ctrl-C ends.")
    seen: Snapshot | None = None
    while True:
        current = snapshot()
        if current != seen:
            seen = current
            subprocess.run(command, check=False)
        time.sleep(_SECONDS_BETWEEN)
