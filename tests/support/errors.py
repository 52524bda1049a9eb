"""Errors of a person: a test gives the code and the place, and one file holds all the wording.

A line of ``error_messages.txt`` is ``code: what; fix``. In it ``<tmp>`` stands for a temporary
folder of the test, ``<name>`` for a value that the call gives by this name, and ``<…>`` for words
that others choose (a library, the system). ``GAUNTLET_UPDATE_MESSAGES=1`` writes the lines of the
codes that run; the diff is then to be read like any other change.
"""

import fcntl
import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.common.errors import UserError, split

MESSAGES = Path(__file__).with_name("error_messages.txt")
CODE = r"[a-z0-9]+(?:-[a-z0-9]+)+"

temporary = Path("/nowhere")
"""The folder whose folders are the tests' own; ``conftest.py`` sets it."""


@contextmanager
def raises_error(code: str, *, where: object, mistakes: int = 1, **values: object):
    """Expect one mistake, at exactly this place (its temporary folder as it is, or ``<tmp>``).

    With ``mistakes``, so many lines, of which the first is this one.
    """
    __tracebackhide__ = True
    with pytest.raises(UserError) as caught:
        yield caught
    error, *more = split(caught.value)
    assert len(more) + 1 == mistakes, f"{code}: not {mistakes} lines, but\n{caught.value}"
    place = shortened(error.where)
    assert place == shortened(where), f"{code}: the place is {place}"
    said = shortened(f"{error.what}; {error.fix}")
    assert "\n" not in said
    given = {f"<{name}>": shortened(value) for name, value in values.items()}
    if os.environ.get("GAUNTLET_UPDATE_MESSAGES"):
        update(code, said, given)
    line = messages().get(code, "")
    if not fits(line, said, given):
        both = f"  expected: {line or 'no line of this code'}\n  said:     {said}"
        pytest.fail(f"{code}\n{both}\nGAUNTLET_UPDATE_MESSAGES=1 writes the line")


def shortened(text: object) -> str:
    """Of a test's temporary folder only ``<tmp>`` remains."""
    return re.sub(rf"{re.escape(str(temporary))}/[\w-]+", "<tmp>", str(text))


def fits(line: str, said: str, given: dict[str, str]) -> bool:
    """Whether a line, its placeholders filled, is what was said; it has a place for each value."""
    pattern = re.escape(line).replace(re.escape("<…>"), ".+")
    for name, value in given.items():
        pattern = pattern.replace(re.escape(name), re.escape(value))
    return all(name in line for name in given) and re.fullmatch(pattern, said) is not None


def messages() -> dict[str, str]:
    """Code → line."""
    return parse(MESSAGES.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def update(code: str, said: str, given: dict[str, str]) -> None:
    """Write the line of a code unless it fits; one process at a time."""
    with MESSAGES.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = parse(file.read())
        if fits(lines.get(code, ""), said, given):
            return
        for name, value in sorted(given.items(), key=lambda item: -len(item[1])):
            said = said.replace(value, name)
        lines[code] = said
        file.seek(0)
        file.truncate()
        file.writelines(f"{code}: {line}\n" for code, line in sorted(lines.items()))
