"""Writes the page of commands and flags from their definitions.

    python -m docs.write_commands

The page is `docs/reference/commands.md`.
"""

import functools
import importlib
import pathlib
import re
import sys

from absl import flags

COMMANDS = (
    "train",
    "certify",
    "certify_beam",
    "merge",
    "recertify",
    "attack",
    "validate",
    "estimate",
    "report",
    "tables",
    "export",
    "request",
)
PAGE = pathlib.Path(__file__).parent / "reference" / "commands.md"

_INTRODUCTION = """\
# Commands and flags

A command is a module of `experiments`, run by `python -m`. Every command takes `--helpfull`, which
prints its flags; `--flagfile`, which reads them from a file (see [Flag files](flag-files.md)); and
`--debug`, which shows the traceback of an error.

Where the default is empty, the flag has none: either its description says what that means, or the
command asks for it.

<!-- Written by `python -m docs.write_commands`; change the definitions of the flags instead. -->
"""
_HEADER = "| flag | default | meaning |\n|---|---|---|\n"
# Said once, for all commands.
_COMMON = ("debug",)
# Kept alive: absl knows modules by their ids, which would be given to others.
_forgotten = []


@functools.cache
def defined_flags(module_name):
    """Imports a command, and forgets it again: another one may define some of its flags.

    Args:
        module_name: str, such as 'experiments.train'.

    Returns:
        (docstring of the command, list of its `absl.flags.Flag` in alphabetical order).
    """
    module = importlib.import_module(module_name)
    found = sorted(flags.FLAGS.get_key_flags_for_module(module), key=lambda flag: flag.name)
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        for flag in flags.FLAGS.get_flags_for_module(name):
            delattr(flags.FLAGS, flag.name)
        _forgotten.append(sys.modules.pop(name))
    return module.__doc__, found


def page():
    """Returns the text of the page."""
    parts = [_INTRODUCTION]
    for command in COMMANDS:
        about, found = defined_flags(f"experiments.{command}")
        parts.append(f"## {command}\n\n{_about(about)}\n")
        parts.append(_HEADER + "".join(map(_row, _own(found))))
    return "\n".join(parts)


def _own(found):
    return [flag for flag in found if flag.name not in _COMMON]


def _about(docstring):
    """Returns a docstring in Markdown: its examples become code."""
    parts = []
    for paragraph in docstring.strip().split("\n\n"):
        if paragraph.startswith("    "):
            lines = "\n".join(line.removeprefix("    ") for line in paragraph.splitlines())
            language = "sh" if lines.startswith("python") else "text"
            paragraph = f"```{language}\n{lines}\n```"
        parts.append(paragraph)
    return "\n\n".join(parts)


def _row(flag):
    values = getattr(flag.parser, "enum_values", None)
    allowed = f" One of {', '.join(f'`{value}`' for value in values)}." if values else ""
    # absl puts the values before the help.
    meaning = re.sub(r"^<[^>]*>: ", "", flag.help).rstrip(".") + "." + allowed
    default = f"`{_text(flag.default)}`" if flag.default not in (None, []) else ""
    # A bar would end the cell.
    return f"| `--{flag.name}` | {default} | {meaning} |\n".replace("\n", " ").rstrip() + "\n"


def _text(default):
    return ",".join(default) if isinstance(default, list) else str(default).lower()


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"Wrote {PAGE}.")
