"""``python -m devtools.types``: what `python3 dev.py types` runs."""

from __future__ import annotations

import sys

from devtools.types import applications, completion, scale, table
from devtools.types.environments import VERSIONS

USAGE = """usage: python3 dev.py types [mypy] [pyright] [pyrefly] [ty]
       python3 dev.py types --versions [CHECKER ...]
       python3 dev.py types --scale [MODELS ...]
       python3 dev.py types --applications [wagtail] [oscar]
       python3 dev.py types --completion"""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--scale"]:
        return scale.main([int(number) for number in arguments[1:]] or (20, 100, 500))
    if arguments[:1] == ["--applications"]:
        return applications.main(arguments[1:])
    if arguments[:1] == ["--versions"]:
        return table.main(arguments[1:], VERSIONS)
    if arguments == ["--completion"]:
        return completion.main()
    if any(argument.startswith("-") for argument in arguments):
        print(USAGE)
        return 2
    return table.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
