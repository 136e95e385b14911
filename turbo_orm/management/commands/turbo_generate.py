"""``manage.py turbo_generate``: writes the typed facades of the project's apps."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations

from turbo_orm.codegen.facades import find_facades
from turbo_orm.codegen.files import GeneratedFile, write
from turbo_orm.codegen.generate import Plan, make_plan
from turbo_orm.codegen.option_sources import load_options
from turbo_orm.codegen.options import Breadth
from turbo_orm.codegen.progress import Progress
from turbo_orm.codegen.report import as_json, summary
from turbo_orm.codegen.watch import take_snapshot, watch, watched_folders
from turbo_orm.errors import CodegenError

__all__ = ["Command"]

_EPILOG = """exit codes:
  0  the files are current, or were written
  1  --check: at least one file differs from what would be generated
  2  nothing could be generated: a wrong argument, option or model
"""


class Command(BaseCommand):
    """Thin: parses arguments, calls the generator, prints what it says."""

    help = "Write a typed facade (turbo.py and turbo.pyi) for each app whose models have an AsyncManager."
    requires_system_checks = ()  # a stale facade must not stop the command which renews it

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.setdefault("epilog", _EPILOG)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "app_labels", nargs="*", metavar="app_label", help="Apps to generate for (default: all)."
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Write nothing; print a diff and exit with 1 if a file is not current.",
        )
        parser.add_argument("--diff", action="store_true", help="Print a diff of what is written.")
        parser.add_argument(
            "--dry-run", action="store_true", help="Write nothing; name the files that would change."
        )
        parser.add_argument("--json", action="store_true", help="Print what was done as JSON.")
        parser.add_argument(
            "--watch", action="store_true", help="Generate again whenever the project's code changes."
        )
        parser.add_argument("--depth", type=int, help="How many relations lookups may cross (default: 1).")
        parser.add_argument(
            "--package",
            metavar="PACKAGE",
            help="Write the facades of the named apps, which cannot be edited, into this package of yours.",
        )
        parser.add_argument(
            "--lookups",
            choices=[breadth.value for breadth in Breadth],
            help="Which lookups to offer (default: common).",
        )

    @no_translations
    def handle(self, *app_labels: str, **options: Any) -> None:
        if options["watch"]:
            self._watch()
            return
        started = time.monotonic()
        try:
            plan = self._plan(options)
            changed = plan.changed
            seconds = time.monotonic() - started
            told = self._tell(plan, options, seconds)
            for file in changed:
                if not options["check"] and not options["dry_run"]:
                    write(file)
        except CodegenError as error:
            raise CommandError(str(error), returncode=2) from error
        for line in told:
            self.stdout.write(line)
        if options["check"]:
            self._check(changed)

    def _tell(self, plan: Plan, options: dict[str, Any], seconds: float) -> list[str]:
        """Return what to print once all is done. A diff is printed at once, before files change."""
        if options["json"]:
            return [as_json(plan, seconds=seconds)]
        if options["diff"] or options["check"]:
            self.stdout.write("".join(file.diff() for file in plan.changed), ending="")
        if options["check"] or not options["verbosity"]:
            return []
        verb = "would write" if options["dry_run"] else "wrote"
        found, *notes = summary(plan, written=not options["dry_run"], seconds=seconds)
        files = [f"{verb} {file.shown}" for file in plan.changed]
        return [*files, self.style.SUCCESS(found), *(self.style.WARNING(note) for note in notes)]

    def _watch(self) -> None:
        command = [sys.executable, *sys.orig_argv[1:]]
        command.remove("--watch")
        folders = watched_folders()
        generated = [facade.path.with_suffix(".py") for facade in find_facades(load_options()).values()]
        with contextlib.suppress(KeyboardInterrupt):
            watch(command, lambda: take_snapshot(folders, generated), self.stdout.write)

    def _plan(self, options: dict[str, Any]) -> Plan:
        labels, package = options["app_labels"], options["package"]
        if package and not labels:
            raise CodegenError(
                "--package needs the labels of the apps, for example: --package shop.external auth"
            )
        configured = load_options(
            depth=options["depth"],
            lookups=options["lookups"],
            facades={label: f"{package}.{label}" for label in labels} if package else None,
        )
        progress = Progress(self.stderr if options["verbosity"] else None)
        try:
            return make_plan(labels, configured, progress.step)
        finally:
            progress.close()

    def _check(self, changed: Sequence[GeneratedFile]) -> None:
        if not changed:
            return
        self.stderr.write(
            f"{', '.join(file.shown for file in changed)}: not what turbo_generate would write. "
            "Run `manage.py turbo_generate` and commit the result."
        )
        sys.exit(1)
