"""Reader of a module's Dockerfile: a closed list of instructions, written out in full.

The engine never reads the author's text. It gets the instructions that were read here, written anew
(``harness.executors.image_steps``), so nothing that only an engine understands can pass. Where two
versions of an engine would read a line in two ways, it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.common.errors import UserError
from harness.common.text import one_line

BASE = "gauntlet-base"
"""What a module's own Dockerfile starts from."""

VARIABLES = frozenset(
    ("AR", "CC", "CFLAGS", "CMAKE_BUILD_PARALLEL_LEVEL", "CPPFLAGS", "CXX", "CXXFLAGS",
     "DEBIAN_FRONTEND", "FC", "FFLAGS", "LANG", "LDFLAGS", "LIBRARY_PATH", "MAKEFLAGS",
     "PIP_NO_CACHE_DIR", "PIP_ROOT_USER_ACTION", "PKG_CONFIG_PATH")
)  # fmt: skip
"""What ``ENV`` may set. It holds while the image is built; a stage has the base's variables only,
because process 1 and its libraries read theirs (``LD_*``, ``PYTHON*``, ``TORCH_*``, …)."""

MAX_BYTES = 32 << 10
"""Longest file: engines read lines of 64 KiB."""

FORBIDDEN = frozenset(
    ("ADD", "ARG", "CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
     "SHELL", "STOPSIGNAL", "USER", "VOLUME")
)  # fmt: skip
"""Further instructions of engines, to tell them from misspelt ones."""

DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
CONTINUED = re.compile(r"\\[ \t]*$")
AMBIGUOUS = re.compile(r"\\\\[ \t]*$")
"""Two backslashes at the end: some engines continue the line, others do not."""
PATH = re.compile(r"[\w.@+/-]+", re.ASCII)
ASSIGNMENT = re.compile(r"""([A-Za-z_]\w*)=(?:"([^"\\$]*)"|([^\s"'\\$]*))(?=\s|$)""", re.ASCII)


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: ``RUN``, ``COPY``, ``ENV`` or ``WORKDIR``.
        words: the command's arguments; sources and destination; ``NAME=value``; the folder.
    """

    name: str
    words: tuple[str, ...]


class Wrong(Exception):
    """Mistake in a line.

    Attributes:
        what: what is wrong.
        fix: what to do about it.
        number: the line; 0 for the instruction that is read.
    """

    def __init__(self, what: str, fix: str, number: int = 0) -> None:
        super().__init__(what)
        self.what, self.fix, self.number = what, fix, number


def parse(data: bytes, path: str, files: Collection[str]) -> tuple[Instruction, ...]:
    """Read a Dockerfile.

    Args:
        data: its bytes.
        path: its name, for errors.
        files: names of the files that ``COPY`` may take.

    Returns:
        Its instructions after ``FROM gauntlet-base``.

    Raises:
        UserError: the first line that is not allowed.
    """
    found: list[Instruction] = []
    begun = False
    number: int = 1
    try:
        for first, line in _logical_lines(_decode(data)):
            number = first
            name, rest = _split(line)
            if not begun:
                _read_from(name, rest)
                begun = True
            elif name in READERS:
                if rest.startswith("--"):
                    raise Wrong(f"{name} with the option {rest.split()[0][:60]}", "leave it out")
                found.append(Instruction(name, READERS[name](rest, files)))
            elif name == "FROM":
                raise Wrong("a second FROM", f"write FROM {BASE} once")
            else:
                word = name if name in FORBIDDEN else f"an unknown instruction, {name[:20]!r},"
                raise Wrong(f"{word} is not allowed", f"use {', '.join(READERS)}")
    except Wrong as error:
        raise UserError(f"{path}:{error.number or number}", error.what, error.fix) from None
    if not begun:
        raise UserError(path, "no FROM", f"begin with FROM {BASE}")
    return tuple(found)


def _decode(data: bytes) -> str:
    """Return the text; lines may end as on Windows."""
    if len(data) > MAX_BYTES:
        raise Wrong("longer than 32 KiB", "put long commands into a script, and COPY it")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        place = data[: error.start].count(b"\n") + 1
        raise Wrong("a byte that is no UTF-8", "save it as UTF-8", place) from None
    for number, line in enumerate(text.split("\n"), 1):
        odd = [char for char in line if not (char.isprintable() or char == "\t")]
        if odd:
            what = f"an invisible character, U+{ord(odd[0]):04X}"
            raise Wrong(what, "remove it", number)
    return text


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each instruction with the number of its first line, as the engine joins lines.

    A comment or an empty line within an instruction is left out and does not end it.
    """
    first, joined = 0, ""
    begun = False
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare.startswith("#"):
            if not begun and DIRECTIVE.match(bare):
                raise Wrong(f"a directive ({one_line(bare)[:40]})", "remove it", number)
            continue
        if not bare:
            continue
        begun = True
        if AMBIGUOUS.search(line):
            raise Wrong("a line that ends with two backslashes", "end it otherwise", number)
        first = first or number
        more = CONTINUED.search(line)
        joined += line[: more.start()] if more else line
        if not more:
            yield first, joined.strip()
            first, joined = 0, ""
    if first:
        raise Wrong("the last line ends with a backslash", "remove it", first)


def _split(line: str) -> tuple[str, str]:
    name, *rest = re.split(r"[ \t]+", line, maxsplit=1)
    return name.upper(), rest[0].strip() if rest else ""


def _read_from(name: str, rest: str) -> None:
    if name != "FROM":
        raise Wrong(f"{name[:20]!r} before FROM", f"begin with FROM {BASE}")
    if rest != BASE:
        raise Wrong(f"starts from {rest[:60]!r}", f"write FROM {BASE}, once")


def _read_run(rest: str, _: Collection[str]) -> tuple[str, ...]:
    if "<<" in rest:
        raise Wrong("<< in RUN: engines read here-documents differently", "COPY a script")
    if not rest:
        raise Wrong("RUN without a command", "write one, or remove it")
    return _json_words(rest) or ("/bin/sh", "-c", rest)


def _read_copy(rest: str, files: Collection[str]) -> tuple[str, ...]:
    words = _json_words(rest) or tuple(rest.split())
    if len(words) < 2:
        raise Wrong("COPY without a source and a destination", "write both")
    for word in words:
        if not PATH.fullmatch(word) or ".." in PurePosixPath(word).parts:
            fix = "write names out, of letters, digits and . _ - + @ /"
            raise Wrong(f"COPY with {word[:60]!r}", fix)
    *sources, target = words
    for source in sources:
        name = PurePosixPath(source)
        inside = any(name == one or name in one.parents for one in map(PurePosixPath, files))
        if name.is_absolute() or not inside:
            fix = "COPY files of the module's folder; documentation and manifest.yaml are none"
            raise Wrong(f"COPY of {source[:60]!r}, which is no file here", fix)
    if len(sources) > 1 and not target.endswith("/"):
        raise Wrong(f"COPY of several files to {target!r}", "end the destination with /")
    return words


def _read_env(rest: str, _: Collection[str]) -> tuple[str, ...]:
    found = []
    while rest:
        match = ASSIGNMENT.match(rest)
        if match is None:
            raise Wrong(f"ENV {rest[:40]!r}", 'write NAME=value or NAME="some words", without $')
        name, quoted, plain = match.groups()
        if name not in VARIABLES:
            fix = "set it in RUN for the build, or in os.environ of the module for a stage"
            raise Wrong(f"ENV {name} is not allowed", fix)
        found.append(f"{name}={plain if quoted is None else quoted}")
        rest = rest[match.end() :].lstrip()
    if not found:
        raise Wrong("ENV without a variable", "write NAME=value")
    return tuple(found)


def _read_workdir(rest: str, _: Collection[str]) -> tuple[str, ...]:
    if not PATH.fullmatch(rest) or ".." in PurePosixPath(rest).parts:
        raise Wrong(
            f"WORKDIR {rest[:60]!r}", "write one folder, of letters, digits and . _ - + @ /"
        )
    return (rest,)


def _json_words(rest: str) -> tuple[str, ...] | None:
    """Return the words of the form ``["a", "b"]``; ``None`` where it is not of that form.

    Engines ignore what follows the list, which no author means.
    """
    if not rest.startswith("["):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        return None  # a command that begins with the shell's [
    words = isinstance(value, list) and value and all(isinstance(word, str) for word in value)
    if not words or rest[end:].strip() or not all(map(str.isprintable, value)):
        raise Wrong("a list that is not plain words", 'write ["word", "word"] and nothing after it')
    return tuple(value)


READERS: dict[str, Callable[[str, Collection[str]], tuple[str, ...]]] = {
    "RUN": _read_run,
    "COPY": _read_copy,
    "ENV": _read_env,
    "WORKDIR": _read_workdir,
}
"""Instructions after FROM → reader of what follows the name."""
