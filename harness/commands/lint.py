"""The lint of ``make lint`` on one module's folder, wherever it lies.

It is no part of the conformance tests: how code is written decides nothing about what it does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

from harness.common.keys import ROOT
from harness.config.catalog import FOLDERS, Module
from harness.config.module_files import module_files, open_plain
from harness.conformance.runner import CheckResult

NAME = "lint"
COMMANDS = (("check", "--quiet", "--output-format", "concise"), ("format", "--check"))
"""Arguments of ruff, as in the Makefile: rules, then form."""
READ = (".py", ".pyi", ".ipynb")
"""Suffixes of the files that ruff reads in a folder."""
SHOWN = 20
"""Most findings that are printed."""


def check_lint(module: Module) -> CheckResult:
    """Check that ruff finds nothing in a module, with the rules for its folder in the checkout."""
    if importlib.util.find_spec("ruff") is None:
        detail = "ruff is not installed here; pip install ruff, as the pull request is linted"
        return CheckResult(NAME, True, detail, tried=False)
    found = list(find_lint(module))
    if not found:
        return CheckResult(NAME, True)
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return CheckResult(NAME, False, "\n  ".join(("ruff finds", *found[:SHOWN], *more)))


def find_lint(module: Module) -> Iterator[str]:
    """Yield each finding of ruff in a module: file, line, rule and what is wrong.

    The text is passed on standard input under the name that it has in the checkout, because the
    rules depend on the path, and the folder may lie elsewhere.
    """
    for path in sorted(module_files(module.folder)):
        if path.suffix not in READ:
            continue
        name = path.relative_to(module.folder)
        shown = f"{FOLDERS[module.manifest.kind]}/{module.manifest.name}/{name}"
        with open_plain(module.folder, name) as file:
            text = file.read()
        for command in COMMANDS:
            yield from run_ruff(command, shown, text)


def run_ruff(command: tuple[str, ...], name: str, text: bytes) -> list[str]:
    """Return what a command of ruff says of a file: one line a finding, none if it is fine."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        check=False,
    )
    if command[0] == "format":  # what it cannot parse, `check` has named
        would = done.returncode == 1
        return [f"{name}: not in ruff's format; run ruff format on it"] if would else []
    said = (done.stdout or done.stderr).decode(errors="replace")
    return [] if done.returncode == 0 else [line for line in said.splitlines() if line]
