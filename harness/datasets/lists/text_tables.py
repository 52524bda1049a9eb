"""Reader of lists as text: CSV and its kin, and one path a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

from harness.common.errors import UserError
from harness.common.text import one_line, suggest
from harness.datasets.files.archives import BROKEN, unreadable_error
from harness.datasets.files.gzipped import open_unpacked
from harness.datasets.files.source_files import SourceFile
from harness.datasets.lists.listed_rows import Rows
from harness.datasets.lists.row_reader import ListFile, RowReader

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "line": None}
"""Separator in a manifest → the character; ``None``: a line is one column."""
_GUESSED = ("tab", "semicolon", "comma")
"""Separators that the first line may show, the likeliest first; without any it is a space."""


def read_text_table(one: ListFile) -> Rows | None:
    """Return the rows of a list of text; ``None`` if it cannot be read at all."""
    with one.mistakes.gather(), closing(open_unpacked(one.file)) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        try:
            return _read_lines(text, one)
        except UnicodeDecodeError as error:
            row = _undecodable_row(one.file)
            raise one.row_error(row, "is not UTF-8 text", "save it as UTF-8") from error
        except BROKEN as error:
            raise unreadable_error(Path(one.where), error) from error
    return None


def _undecodable_row(file: SourceFile) -> int:
    """Return the number of the first line that is not UTF-8."""
    with closing(open_unpacked(file)) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return number  # a character that the end of the file cuts


def _read_lines(text: Iterable[str], one: ListFile) -> Rows:
    lines, table = iter(text), one.table
    skipped, first = 0, ""
    for line in lines:
        if skipped >= table.skip and line.strip():
            first = line
            break
        skipped += 1
    if not first:
        raise UserError(one.where, "has no row", "give the whole list")
    separator = table.separator or _guess(first)
    records = _split_rows(chain([first], lines), separator, skipped, one)
    number, fields = next(records, (0, []))
    if any(isinstance(column, str) for column in table.columns.values()):
        heading: Sequence[str] | None = [text.strip() for text in fields]
    else:
        heading, records = None, chain([(number, fields)], records)
    columns = _find_columns(one, heading, len(fields), separator, skipped + 1)
    return RowReader(one, columns, len(fields)).read(records)


def _guess(line: str) -> str:
    counts = {name: line.count(str(SEPARATORS[name])) for name in _GUESSED}
    best = max(_GUESSED, key=counts.__getitem__)
    return best if counts[best] else "space"


def _split_rows(
    lines: Iterable[str], separator: str, skipped: int, one: ListFile
) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each row that is not blank."""
    mark = SEPARATORS[separator]
    if mark is None:
        for number, line in enumerate(lines, start=skipped + 1):
            if path := line.strip():
                yield number, [path]
        return
    if mark == " ":
        lines = (line.strip() for line in lines)
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield skipped + reader.line_num, row
    except csv.Error as error:
        what = f"cannot be split at each {separator} ({one_line(str(error))})"
        one.mistakes.add(one.row_error(skipped + reader.line_num, what, "mend its quotes"))


def _find_columns(
    one: ListFile, heading: Sequence[str] | None, width: int, separator: str, row: int
) -> dict[str, int]:
    """Return the place of each field in a row, from 0."""
    folded = [text.casefold() for text in heading or ()]
    places: dict[str, int] = {}
    for name, column in one.table.columns.items():
        if isinstance(column, int):
            if column > width:
                what = f"has no column {column} where the separator is a {separator}"
                raise one.row_error(row, what, "give separator, or other columns")
            places[name] = column - 1
        elif column.casefold() not in folded:
            what = f"has no column {column}"
            fix = suggest(column, [text for text in heading or () if text], "use one of")
            raise one.row_error(row, what, fix)
        else:
            places[name] = folded.index(column.casefold())
    return places
