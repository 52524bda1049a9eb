"""Writes the reference pages in ``docs/reference`` from the code: ``python ci/docs.py``.

With ``--check`` nothing is written; the exit status is 1 when a page differs from the code.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from harness.runtime import hooks  # noqa: E402 - the path comes first

PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Made from the code by `make docs`: change the docstrings there, not this page. -->"
SECTIONS = ("Called", "Args", "Returns", "Raises", "Withheld", "Example")
"""Sections that every hook's docstring has, in this order, after its summary."""


def sections(docstring: str | None) -> dict[str, str]:
    """Return the parts of a docstring by heading; what stands before the first is ``""``."""
    found, heading = {"": ""}, ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line.rstrip(":") in SECTIONS and line.endswith(":"):
            heading = line[:-1]
            found[heading] = ""
        else:
            found[heading] += f"{line}\n"
    return {name: textwrap.dedent(text).strip() for name, text in found.items()}


def entries(section: str) -> dict[str, str]:
    """Return the lines ``name: text`` of a section as a table; indented lines continue a text."""
    found: dict[str, str] = {}
    for line in section.splitlines():
        if match := re.match(r"(\w+): (.+)", line):
            found[name := match[1]] = match[2]
        else:
            found[name] += " " + line.strip()
    return found


def hooks_page() -> str:
    """Return the page of hooks: one section for each Protocol."""
    head, *rest = inspect.getdoc(hooks).split("\n\n")  # type: ignore[union-attr]
    parts = ["# Hooks", plain(head), *map(plain, rest)]
    parts.append(HOOKS_NOTE)
    rows = [
        f"| {kind} | [`{hook}`](#{kind}-{hook}) | {inspect.getdoc(protocol)} |"
        for kind, protocols in hooks.PROTOCOLS.items()
        for protocol in protocols
        for hook, _ in [hooks.hook_of(protocol)]
    ]
    parts.append("\n".join(["| kind | hook | purpose |", "|---|---|---|", *rows]))
    for kind, protocols in hooks.PROTOCOLS.items():
        for protocol in protocols:
            parts += hook_parts(kind, protocol)
    parts += ["## Imports of the examples", f"```python\n{EXAMPLE_IMPORTS}```"]
    return page(parts)


HOOKS_NOTE = """\
`harness/runtime/contracts.py` describes the value types (`Data`, `Budget`, `Context`, `Model`, …).
An example is a method of a module's class; the end of this page lists what all of them import."""

EXAMPLE_IMPORTS = """\
import math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from harness.runtime import training
from harness.runtime.contracts import Edits, Keep
from harness.runtime.gradients import ball, project, steepest
from harness.runtime.model import evaluating
from harness.runtime.training import loss_of
"""


def hook_parts(kind: str, protocol: type) -> Iterator[str]:
    """Yield the Markdown of one hook."""
    name, function = hooks.hook_of(protocol)
    text = sections(function.__doc__)
    signature = inspect.signature(function)
    arguments = [*signature.parameters.values()][1:]
    yield f"## {kind}: {name}"
    yield f"*{inspect.getdoc(protocol)}*"
    listed = "".join(f"    {argument},\n" for argument in arguments).replace("'", "")
    yield f"```python\ndef {name}(\n    self,\n{listed}) -> {signature.return_annotation}: ...\n```"
    yield plain(text[""])
    yield f"**Called.** {joined(text['Called'])}"
    yield "**Arguments.**\n\n" + bullets(entries(text["Args"]))
    yield f"**Returns.** {joined(text['Returns'])}"
    yield "**May raise.**\n\n" + bullets(entries(text["Raises"]))
    yield f"**Withheld.** {joined(text['Withheld'])}"
    yield f"**Example.**\n\n```python\n{text['Example']}\n```"


def bullets(table: dict[str, str]) -> str:
    """Return a list of names with their descriptions."""
    return "\n".join(f"- `{name}`: {plain(text)}" for name, text in table.items())


def joined(text: str) -> str:
    """Return a text of several lines as one."""
    return plain(" ".join(text.split()))


def plain(text: str) -> str:
    """Return a docstring's text as Markdown."""
    return text.replace("``", "`")


def page(parts: list[str]) -> str:
    """Return a page: the title, a note on where it comes from, the parts."""
    return "\n\n".join([parts[0], NOTE, *parts[1:]]) + "\n"


MADE: dict[str, Callable[[], str]] = {"hooks.md": hooks_page}
"""Name of a page → what makes it."""


def main(arguments: list[str]) -> int:
    """Write the pages, or name those that differ from the code."""
    stale = 0
    for name, make in MADE.items():
        path, text = PAGES / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"docs/reference/{name}: differs from the code; run `make docs`")
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs/reference/{name}: written")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
