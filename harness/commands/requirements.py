"""``gauntlet requirements``: the pins of what a module needs beside the base image, all at once.

pip resolves them, without installing anything and without running code of a package.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rich.console import Console

from harness.common.errors import UserError, UserErrors
from harness.config.environments import base_pins, python_version, read_pins

WANTED, PINNED = "requirements.in", "requirements.txt"
"""What a module imports, written by its author; what an image installs, written from it."""
HEADER = f"# Made by `gauntlet requirements` from {WANTED}: change that, not this file.\n"
SECONDS = 600
"""Longest time that pip may take to resolve the requirements."""
CAUSE = re.compile(r"ERROR: (?!Cannot install|ResolutionImpossible)(.+)|    (\S.+)")
"""A line of pip's output that names a cause, and not what follows from it."""


def requirements(folder: Path, console: Console) -> None:
    """Write ``requirements.txt`` of a folder: every package that its libraries need, pinned.

    The libraries stand in ``requirements.in``, one a line. Where there is only a
    ``requirements.txt``, its lines become that file.

    Raises:
        UserError: there is neither file, or pip finds no versions that fit the base image.
        UserErrors: lines that contradict the base image, or that no image can install.
    """
    source, target = folder / WANTED, folder / PINNED
    if not source.is_file():
        if not target.is_file():
            fix = f"write the libraries that your code imports into {WANTED}, one a line"
            raise UserError(str(folder), f"has no {WANTED}", fix)
        check_lines(target)
        source.write_bytes(target.read_bytes())
        console.print(f"{source}: written from {PINNED}", soft_wrap=True)
    pins = resolve(source, check_lines(source))
    scratch = target.with_name(f".{PINNED}")
    scratch.write_text(HEADER + "".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    scratch.replace(target)
    beside = f"beside the {len(base_pins())} packages of the base image"
    console.print(f"{target}: {len(pins)} pins, {beside}", soft_wrap=True)


def check_lines(path: Path) -> list[Requirement]:
    """Read libraries with or without versions, and compare them with the base image.

    Raises:
        UserErrors: all lines that name a file or an address, or exclude the base's version.
    """
    base, found, errors = base_pins(), [], []
    for (number, _), wanted in read_pins(path):
        held = base.get(canonicalize_name(wanted.name), "").partition("==")[2]
        if wanted.url:
            what = f"{wanted} is not from a package index"
            errors.append(UserError(f"{path}:{number}", what, "bring it with a Dockerfile"))
        elif held and not wanted.specifier.contains(held, prereleases=True):
            what = f"{wanted} excludes {held}, which the base image has"
            errors.append(UserError(f"{path}:{number}", what, f"write {wanted.name} alone"))
        found.append(wanted)
    if errors:
        raise UserErrors(errors)
    return found


def resolve(source: Path, wanted: list[Requirement]) -> list[str]:
    """Return ``name==version`` of each package that the libraries need and the base lacks, sorted.

    Args:
        source: file of the requirements, for errors.
        wanted: the libraries.

    Raises:
        UserError: pip is missing or silent, or no versions fit; then with every cause.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError("gauntlet requirements", "pip is not installed", "python -m ensurepip")
    base = base_pins()
    with tempfile.TemporaryDirectory(prefix="gauntlet-") as name:
        folder = Path(name)
        (folder / "wanted.txt").write_text("".join(f"{one}\n" for one in wanted), "utf-8")
        (folder / "base.txt").write_text("".join(f"{pin}\n" for pin in base.values()), "utf-8")
        command = [
            *(sys.executable, "-I", "-m", "pip", "install", "--dry-run", "--ignore-installed"),
            *("--no-input", "--disable-pip-version-check", "--only-binary=:all:"),
            *("--python-version", python_version(), "--target", "none"),  # nothing is written there
            *("-r", "wanted.txt", "-c", "base.txt", "--report", "report.json"),
        ]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            what = f"pip found no versions in {SECONDS / 60:g} minutes"
            raise UserError(str(source), what, "give versions of the libraries") from error
        if done.returncode:
            what = f"no versions fit the base image: {'; '.join(causes(done.stdout + done.stderr))}"
            fix = "choose another version of the library, or do without it"
            raise UserError(str(source), what, fix)
        report = json.loads((folder / "report.json").read_text("utf-8"))
    found = {canonicalize_name(one["metadata"]["name"]): one for one in report["install"]}
    return [
        f"{name}=={one['metadata']['version']}"
        for name, one in sorted(found.items())
        if name not in base
    ]


def causes(text: str) -> Iterator[str]:
    """Yield every cause that pip names for a failure, in terms of the image.

    >>> list(causes('''ERROR: Cannot install old==1.0 because these have conflicts.
    ... The conflict is caused by:
    ...     old 1.0 depends on numpy<2
    ...     The user requested (constraint) numpy==2.4
    ... '''))
    ['old 1.0 depends on numpy<2', 'the base image has numpy==2.4']
    """
    lines = dict.fromkeys(found[1] or found[2] for found in map(CAUSE.match, text.split("\n"))
                          if found)  # fmt: skip
    for line in lines or dict.fromkeys(text.strip().splitlines()[-1:]):
        line = line.replace("The user requested (constraint)", "the base image has")
        yield line.replace("The user requested", f"{WANTED} asks for")
