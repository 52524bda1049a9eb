"""Lists of places in a test split: which examples a matrix is judged on."""

from __future__ import annotations

from pathlib import Path

PLACES = "write one place in the test split on each line, from 0, each once"


def read_places(path: Path) -> tuple[int, ...]:
    """Return the places of a text file, one a line; empty lines do not count.

    Raises:
        ValueError: a line is no whole number, a place is there twice, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError("is no text file") from error
    found: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        if not (text := line.strip()):
            continue
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"line {number} is {text[:20]!r}, no whole number")
        if int(text) in found:
            raise ValueError(f"line {number} is {text}, which line {found[int(text)]} is, too")
        found[int(text)] = number
    if not found:
        raise ValueError("has no places")
    return tuple(found)
