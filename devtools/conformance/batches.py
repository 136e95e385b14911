"""Run batches of test packages, each in a process with databases of its own, several at a time."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from devtools.conformance.installation import Installation
from devtools.conformance.outcomes import Outcome, Run, read_run
from devtools.conformance.series import ENGINES
from devtools.postgres import Server, create_database, drop_database

__all__ = ["MODES", "Batch", "make_batches", "run_batches"]

_RUNNERS = {
    "plain": "devtools.conformance.inside.recording.PlainRunner",
    "bridge": "devtools.conformance.inside.bridged.BridgedRunner",
    "verbs": "devtools.conformance.inside.verbs.runner.VerbsRunner",
    "plans": "devtools.conformance.inside.plans.PlansRunner",
}
#: The modes to compare with the ordinary run.
MODES = tuple(mode for mode in _RUNNERS if mode != "plain")

_LABELS_PER_PROCESS = 10
_SECONDS_PER_PROCESS = 3600
_SECONDS_TO_DUMP = 10


@dataclass(frozen=True)
class Batch:
    """Test labels which one process runs."""

    mode: str
    labels: tuple[str, ...]


def make_batches(labels: Mapping[str, Sequence[str]]) -> list[Batch]:
    """Return the batches that run every mode's labels; what is to be compared runs close together."""
    everything = list(dict.fromkeys(label for mode in labels for label in labels[mode]))
    batches = []
    for start in range(0, len(everything), _LABELS_PER_PROCESS):
        group = everything[start : start + _LABELS_PER_PROCESS]
        for mode, wanted in labels.items():
            if chosen := tuple(label for label in group if label in wanted):
                batches.append(Batch(mode, chosen))
    return batches


def run_batches(
    installation: Installation, server: Server, batches: Sequence[Batch], jobs: int
) -> Iterator[tuple[Batch, Run]]:
    """Run *batches* in *jobs* processes at a time; yield each with its run as soon as it has ended."""
    slots = [_Slot(installation, server, number) for number in range(jobs)]
    free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
    for slot in slots:
        free.put(slot)

    def run(batch: Batch) -> Run:
        slot = free.get()
        try:
            return slot.run(batch)
        finally:
            free.put(slot)

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run, batch): batch for batch in batches}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()
            for slot in slots:
                slot.stop()


class _Slot:
    """One of the processes that run at the same time, and the names of its databases."""

    def __init__(self, installation: Installation, server: Server, number: int) -> None:
        self._installation = installation
        self._server = server
        self._names = [f"conformance_{os.getpid()}_{number}_{alias}" for alias in ("default", "other")]
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, batch: Batch) -> Run:
        """Run a batch; if its process dies, run its labels one by one to lose only the culprit's."""
        run = self._execute(batch.mode, batch.labels)
        if run.complete or len(batch.labels) == 1:
            return _with_crash(run, batch.labels)
        whole = Run(complete=True)
        for label in batch.labels:
            whole.add(_with_crash(self._execute(batch.mode, (label,)), (label,)))
        return whole

    def stop(self) -> None:
        """Kill what is running; nothing more will."""
        self._stopped = True
        if self._process is not None:
            _kill(self._process)

    def _execute(self, mode: str, labels: Sequence[str]) -> Run:
        urls = [self._fresh_database(name) for name in self._names]
        try:
            with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
                output = Path(folder) / "outcomes"
                output.touch()
                said = self._run_tests(mode, labels, urls, output)
                run = read_run(output.read_text(encoding="utf-8").splitlines())
        finally:
            for name in self._names:
                drop_database(self._server, name)
                drop_database(self._server, f"test_{name}")
        if not run.complete:
            run.crash = said
        return run

    def _fresh_database(self, name: str) -> str:
        drop_database(self._server, name)
        drop_database(self._server, f"test_{name}")
        return create_database(self._server, name)

    def _run_tests(self, mode: str, labels: Sequence[str], urls: Sequence[str], output: Path) -> str:
        """Run Django's tests; return the end of what they said."""
        installation = self._installation
        environment = {
            **os.environ,
            "PYTHONPATH": str(installation.source),
            "PYTHONFAULTHANDLER": "1",
            "VIRTUAL_ENV": str(installation.interpreter.parents[1]),
            "CONFORMANCE_RUNNER": _RUNNERS[mode],
            "CONFORMANCE_ENGINE": ENGINES[installation.engine],
            "CONFORMANCE_DATABASE": urls[0],
            "CONFORMANCE_OTHER_DATABASE": urls[1],
            "CONFORMANCE_OUTPUT": str(output),
        }
        environment.pop("DATABASE_URL", None)
        command = [str(installation.interpreter), "-m", "devtools.conformance.inside", mode]
        options = [
            "--settings=devtools.conformance.inside.settings",
            "--noinput",
            "--parallel=1",
            "--verbosity=0",
        ]
        with output.with_name("said").open("w+", errors="replace") as said:
            if self._stopped:
                raise RuntimeError("The run was stopped.")
            self._process = process = subprocess.Popen(
                [*command, *options, *labels],
                cwd=installation.tests,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                process.wait(_SECONDS_PER_PROCESS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # faulthandler says where it hangs
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_DUMP)
            finally:
                _kill(process)
            said.seek(0)
            return said.read()[-8000:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and what its tests have started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _with_crash(run: Run, labels: Sequence[str]) -> Run:
    """Make a process that died a failed test."""
    if not run.complete:
        run.outcomes[f"process ({labels[0]})"] = Outcome("failed", run.crash)
        run.complete = True
    return run
