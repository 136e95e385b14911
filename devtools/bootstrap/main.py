"""`dev.py` itself: read the command, prepare the environment, become the command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from devtools.bootstrap.commands import COMMANDS, Command, usage
from devtools.bootstrap.environment import Environment, prepare
from devtools.bootstrap.pythons import find_pythons
from devtools.bootstrap.uv import uv_environment
from devtools.errors import SetupError
from devtools.signals import end_cleanly_on_signals, exit_code

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
# These would lead the environment's Python to other modules than its own.
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")
_FOR_INSTALLERS = ("UV_DEFAULT_INDEX", "UV_PYTHON_DOWNLOADS", "SSL_CERT_FILE")


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code; on POSIX a command that starts does not return."""
    if arguments == ["pythons"]:
        print("\n".join(f"{version[0]}.{version[1]} {path}" for version, path in find_pythons()))
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        asked = bool(arguments) and arguments[0] in ("-h", "--help", "help")
        print(usage(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    end_cleanly_on_signals()
    command = COMMANDS[arguments[0]]
    try:
        return _become(prepare(ROOT, command.groups), command, arguments[1:])
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("dev.py: interrupted while setting up; nothing half-made was left.", file=sys.stderr)
        return exit_code(stop)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("dev.py: No disk space is left: free about 1 GB and run this again.", file=sys.stderr)
        return 1


def _become(environment: Environment, command: Command, arguments: list[str]) -> int:
    """Replace this process by the command, so that signals and the exit code are its own."""
    variables = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    installers = uv_environment()
    for name in _FOR_INSTALLERS:  # for the uv that nox and the tests run
        if name in installers:
            variables[name] = installers[name]
    if environment.uv is not None:
        variables["UV"] = environment.uv  # as uv itself does for what it runs
    variables["VIRTUAL_ENV"] = str(environment.folder)
    variables["PATH"] = str(environment.scripts) + os.pathsep + variables.get("PATH", os.defpath)
    line = [environment.python, "-m", command.module, *command.arguments, *arguments]
    os.chdir(str(environment.root))
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execve(environment.python, line, variables)
    return subprocess.call(line, env=variables)
