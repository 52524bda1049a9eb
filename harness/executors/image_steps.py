"""What an image build sends to the engine, and what it keeps of the result.

The engine builds a *workshop*: an image in which a module's instructions ran as root, and which may
be anything by then. No container ever runs it. Only the files below ``/opt`` are read from it, one
by one, and put on an untouched base. So process 1, Python, torch and every library below it are the
base's, whatever a build did to its own copies.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO

from harness.common.errors import UserError
from harness.config.dockerfile import Instruction

KEPT = PurePosixPath("opt")
"""Folder of a workshop whose files are kept."""
PINNED = KEPT / "gauntlet"
"""Folder of the pinned requirements: no module's Dockerfile changes it."""
PACKAGES = (f"/{PINNED}/packages", f"/{KEPT}/packages")
"""Folders of Python packages: of the requirements, and of what a Dockerfile installs."""
MAX_FILES, MAX_BYTES = 500_000, 16 << 30
"""Limits of a layer."""
HOOKS = ("sitecustomize", "usercustomize")
"""Modules that Python imports when it starts."""

ENVIRONMENT = Instruction("ENV", (
    f"PIP_TARGET={PACKAGES[1]}",
    "PIP_DISABLE_PIP_VERSION_CHECK=1",
    "PIP_ROOT_USER_ACTION=ignore",
    f"PYTHONPATH={':'.join(PACKAGES)}",
))  # fmt: skip
"""Variables of every workshop: what pip installs is kept, and can be imported in the build."""

PIP = (
    "unset PYTHONPATH && python -m pip install --no-cache-dir --no-deps --only-binary=:all: "
    f"{{hashes}}--target {PACKAGES[0]} -r /tmp/requirements.txt && "
    f"python -c 'import sys; from pip._internal.cli.main import main; "
    f'sys.path.append("{PACKAGES[0]}"); sys.exit(main(["check"]))\''
)
"""Installed without dependencies, as the base has its own; a missing one fails the build.

No code of a wheel runs meanwhile, not even in place of a library of pip's: so none changes what
another module's wheel brought."""


def install(pins: Iterable[str]) -> tuple[Instruction, ...]:
    """Return the instructions that install pinned requirements."""
    hashes = "--require-hashes " if all("--hash=" in pin for pin in pins) else ""
    return (
        Instruction("COPY", ("requirements.txt", "/tmp/requirements.txt")),  # noqa: S108
        Instruction("RUN", ("/bin/sh", "-c", PIP.format(hashes=hashes))),
    )


def render(
    instructions: Iterable[Instruction], base: str, labels: Mapping[str, str], folder: str
) -> str:
    """Write a Dockerfile that any engine reads in one way: one instruction a line, words quoted.

    Args:
        instructions: its instructions after FROM.
        base: image that it starts from.
        labels: labels of every layer and of every container of the build.
        folder: folder of the build context in which sources of COPY lie.

    >>> render([Instruction("RUN", ("a", "b"))], "x:1", {"l": "1"}, "files").splitlines()[::3]
    ['FROM x:1', 'RUN ["a", "b"]']
    """
    lines = [f"FROM {base}", *label_lines(labels)]
    for one in (ENVIRONMENT, *instructions):
        match one.name:
            case "RUN":
                lines.append(f"RUN {quote(one.words)}")
            case "COPY":
                *sources, target = one.words
                names = [str(PurePosixPath(folder, source)) for source in sources]
                lines.append(f"COPY {quote([*names, target])}")
            case "ENV":
                parts = (word.partition("=") for word in one.words)
                lines.append("ENV " + " ".join(f'{name}="{value}"' for name, _, value in parts))
            case "WORKDIR":
                lines.append(f"WORKDIR {one.words[0]}")
            case name:
                raise AssertionError(name)
    return "\n".join(lines) + "\n"


def label_lines(labels: Mapping[str, str]) -> list[str]:
    """Return LABEL instructions."""
    return [f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in labels.items()]


def quote(words: Iterable[str]) -> str:
    """Return words in an instruction's form that engines take as they are."""
    return json.dumps(list(words), ensure_ascii=False)


def keep(source: IO[bytes], target: IO[bytes], who: str, *, pins: bool) -> int:
    """Copy what is kept of a workshop from one archive into another.

    Args:
        source: archive of the workshop's ``/opt``, as the engine sends it.
        target: file that takes the archive.
        who: module or environment that is built, for errors.
        pins: true for the folder of the requirements alone, false for everything else.

    Returns:
        Number of files.

    Raises:
        UserError: something that no layer may hold.
    """
    count = size = 0
    folders: set[PurePosixPath] = {PurePosixPath()}
    files: set[PurePosixPath] = set()
    with (
        tarfile.open(fileobj=source, mode="r|") as archive,
        tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as out,
    ):
        for member in archive:
            name = PurePosixPath(member.name)
            if _left_out(name, pins=pins):
                continue
            if problem := _problem(member, name, folders, files, pins=pins):
                fix = "leave plain files, folders and links below /opt"
                raise UserError(who, f"the build leaves /{str(name)[:200]}, {problem}", fix)
            made = tarfile.TarInfo(str(name))
            made.type, made.mtime, made.linkname = member.type, member.mtime, member.linkname
            made.mode = member.mode & 0o777  # no set-user-id
            made.size = member.size if member.isreg() else 0
            count, size = count + (not member.isdir()), size + made.size
            if count > MAX_FILES or size > MAX_BYTES:
                what = f"the build leaves more than {MAX_FILES:,} files or {MAX_BYTES >> 30} GiB"
                raise UserError(who, what, "leave less below /opt")
            out.addfile(made, archive.extractfile(member) if member.isreg() else None)
            (folders if member.isdir() else files).add(name)
    return count


def _left_out(name: PurePosixPath, *, pins: bool) -> bool:
    """Return whether an entry of ``/opt`` belongs to the other layer, or does nothing."""
    pinned = name == PINNED or PINNED in name.parents
    if pins:
        # a wheel's .pth runs code where Python processes it, which no stage does
        return (not pinned and name != KEPT) or name.suffix == ".pth"
    return pinned


def _problem(
    member: tarfile.TarInfo,
    name: PurePosixPath,
    folders: set[PurePosixPath],
    files: set[PurePosixPath],
    *,
    pins: bool,
) -> str:
    """Return why an entry cannot be kept, or ``""``."""
    if name == KEPT and not member.isdir():
        return "which is no folder"
    if (name != KEPT and KEPT not in name.parents) or ".." in name.parts:
        return "a name outside of it"
    if name.parent not in folders or name in files:
        return "a file below something that is no folder"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "a device or a pipe"
    if member.islnk() and PurePosixPath(member.linkname) not in files:
        return "a hard link to something that is not kept"
    hook = name.name.partition(".")[0] in HOOKS
    if (hook and (not pins or f"/{name.parent}" in PACKAGES)) or (name.suffix == ".pth"):
        return "a start-up hook of Python"
    return ""


def changed_elsewhere(changes: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the paths of a container's changes (as the engine lists them) outside of ``/opt``."""
    for one in changes:
        path = PurePosixPath(str(one["Path"]).lstrip("/"))
        if path != KEPT and KEPT not in path.parents:
            yield f"/{path}"
