"""What an editor offers: asks pyright's language server for completions, as an editor would."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.types.project import ROOT, environment, prepare

__all__ = ["PROBES", "complete", "main"]

#: Lines of a view; the cursor is at the bar. With names which must be offered there.
PROBES: Mapping[str, tuple[str, ...]] = {
    "Book.objects.filter(|)": ("title=", "title__icontains=", "author__username=", "published_on__year="),
    "Book.objects.filter(price__l|)": ("price__lt=", "price__lte="),
    "BookQ(|)": ("title=", "author__in="),
    'Book.objects.order_by("|")': ('"title"', '"-price"', '"author__username"'),
    'Book.objects.select_related("|")': ('"author"', '"editor"'),
    'Book.objects.values_list("|", flat=True)': ('"title"', '"author_id"'),
    "Book(|)": ("title=", "price=", "author="),
    "Book.objects.pub|": ("published",),
    "Book.objects.get().|": ("title", "author_id", "reviews", "afetch", "asave"),
    "Book.objects.get().author.|": ("username", "score", "books"),
}
_PREAMBLE = "from shop.turbo import Book, BookQ\n\n\n"


class _LanguageServer:
    """One conversation with a language server over its standard input and output."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._number = 0
        root = folder.as_uri()
        capabilities = {"textDocument": {"completion": {"completionItem": {"snippetSupport": False}}}}
        self.ask(
            "initialize",
            processId=None,
            rootUri=root,
            capabilities=capabilities,
            workspaceFolders=[{"uri": root, "name": "project"}],
        )
        self.tell("initialized")

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and return the result; requests of the server are answered meanwhile."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" in message and "id" in message:
                items = message.get("params", {}).get("items", []) if message["params"] else []
                self._send({"id": message["id"], "result": [None for _ in items] or None})
            elif message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def stop(self) -> None:
        self.ask("shutdown")
        self.tell("exit")
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(timeout=30)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            key, _, value = line.partition(b":")
            if key.lower() == b"content-length":
                length = int(value)
        if not length:
            raise RuntimeError("The language server ended in the middle of the conversation.")
        received: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return received


@contextmanager
def _serving(folder: Path) -> Iterator[_LanguageServer]:
    server = _LanguageServer(folder)
    try:
        yield server
    finally:
        server.stop()


def complete(project: Path, lines: list[str]) -> dict[str, list[str]]:
    """Return what is offered at the bar in each of *lines*, in a project made by `prepare`."""
    config = {"extraPaths": [str(ROOT), "."], "typeCheckingMode": "standard"}
    (project / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    found = {}
    with _serving(project) as server:
        for number, line in enumerate(lines):
            before, after = (_PREAMBLE + line).split("|")
            uri = (project / f"view{number}.py").as_uri()
            document = {"uri": uri, "languageId": "python", "version": 1, "text": before + after + "\n"}
            server.tell("textDocument/didOpen", textDocument=document)
            row, column = before.count("\n"), len(before.rpartition("\n")[2])
            offered = server.ask(
                "textDocument/completion",
                textDocument={"uri": uri},
                position={"line": row, "character": column},
                context={"triggerKind": 1},
            )
            items = offered["items"] if isinstance(offered, dict) else offered or []
            found[line] = [item["label"] for item in items]
    return found


def main() -> int:
    """Print a table of what is offered; 1 if something that must be is not."""
    with tempfile.TemporaryDirectory(prefix="turbo-completion-") as folder:
        found = complete(prepare(Path(folder).resolve() / "project"), list(PROBES))
    print("| at the bar | offered | among them |\n|---|---|---|")
    complete_lines = 0
    for line, wanted in PROBES.items():
        there = [name for name in wanted if name in found[line]]
        complete_lines += len(there) == len(wanted)
        shown = line.replace("|", "▮")
        print(f"| `{shown}` | {len(found[line])} | {', '.join(f'`{name}`' for name in there)} |")
    return 0 if complete_lines == len(PROBES) else 1
