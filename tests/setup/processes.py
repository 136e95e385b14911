"""Looking at processes without `ps`, which a bare Debian lacks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["children", "mentioning"]


def children(pid: int) -> set[int]:
    """All processes started by a process, and by those."""
    below = {child for child, parent, _ in _processes() if parent == pid}
    return below.union(*(children(child) for child in below))


def mentioning(text: str) -> list[str]:
    """The command lines which contain a text."""
    return [command for _, _, command in _processes() if text in command]


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield number, parent's number and command line of every process."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,command="], capture_output=True, text=True, check=True
        )
        for line in listing.stdout.splitlines():
            pid, parent, command = line.split(maxsplit=2)
            yield int(pid), int(parent), command
        return
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        yield int(folder.name), int(status[1]), command
