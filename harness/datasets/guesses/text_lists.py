"""Text lists of a source, split into columns for a guess."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.datasets.guesses.survey import Survey

ENDINGS = (".txt", ".csv", ".tsv", ".lst", ".csv.gz", ".txt.gz")
SEPARATORS = ("\t", ";", ",", " ")
MOST_LISTS = 200
"""Lists that are looked at: one for each class and split, at most."""
LOOK = 20
"""Lines by which the separator is guessed."""


@dataclass(frozen=True)
class TextList:
    """List with columns.

    Attributes:
        name: of its file.
        rows: all rows, of equal length; the first may be a heading.
    """

    name: str
    rows: Sequence[Sequence[str]]

    def column(self, number: int, start: int = 0) -> list[str]:
        """Return the texts of a column, counted from 0."""
        return [row[number].strip() for row in self.rows[start:]]


def text_lists(files: Survey) -> Iterator[TextList]:
    """Yield every list of a source that has two or more columns."""
    names = [name for name in files.names if name.lower().endswith(ENDINGS)][:MOST_LISTS]
    for name, blob in files.read(names).items():
        try:
            plain = gzip.decompress(blob) if name.lower().endswith(".gz") else blob
            text = plain.decode("utf-8-sig")
        except (UnicodeDecodeError, OSError, EOFError, zlib.error):
            continue
        if rows := _split(text.splitlines()):
            yield TextList(name, rows)


def _split(lines: Sequence[str]) -> list[list[str]]:
    """Return the rows of the separator that gives most columns, the same number in all rows."""
    lines = [line.strip() for line in lines if line.strip()]
    best: list[list[str]] = []
    for mark in SEPARATORS:
        rows = list(csv.reader(lines[:LOOK], delimiter=mark, skipinitialspace=True))
        widths = Counter(map(len, rows))
        if len(widths) == 1 and max(widths) > max(1, len(best[0]) if best else 1):
            best = list(csv.reader(lines, delimiter=mark, skipinitialspace=True))
    return best if len({len(row) for row in best}) == 1 else []
