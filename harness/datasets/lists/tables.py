"""Reader of lists as text: CSV and its kin, and one path a line."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.common.errors import UserError
from harness.common.text import one_line, suggest
from harness.config.dataset_fields import Layout
from harness.config.dataset_layouts import Table
from harness.datasets.files.archives import BROKEN, unreadable_error
from harness.datasets.files.source_files import SourceFile
from harness.datasets.lists.listed_rows import Rows, Texts
from harness.datasets.mistakes import Mistakes
from harness.datasets.templates import Match, Templates

LARGEST = 1 << 30
"""Limit of a list in bytes, unpacked: the training images of CIFAR-10 as CSV have half of it."""
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "line": None}
"""Separator in a manifest → the character; ``None``: a line is one column."""
_GUESSED = ("tab", "semicolon", "comma")
"""Separators that the first line may show, the likeliest first; without any it is a space."""


def read_text_table(
    file: SourceFile, match: Match, table: Table, layout: Layout, mistakes: Mistakes
) -> Rows | None:
    """Read a list of text.

    Args:
        file: the list.
        match: what its name says.
        table: its description.
        layout: what the source calls splits.
        mistakes: gets everything that is wrong with it, by row.

    Returns:
        Its rows; ``None`` if it cannot be read at all.
    """
    with mistakes.gather(), closing(_open(file)) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        try:
            return _read_lines(text, file.where, match, table, layout, mistakes)
        except UnicodeDecodeError as error:
            row = _undecodable_row(file)
            what = "is not UTF-8 text"
            raise UserError(f"{file.where}, row {row:,}", what, "save it as UTF-8") from error
        except BROKEN as error:
            raise unreadable_error(Path(file.where), error) from error
    return None


def _open(file: SourceFile) -> BinaryIO:
    """Open a list for reading, unpacked if it is gzipped."""
    try:
        binary: BinaryIO = (
            file.content.open("rb") if isinstance(file.content, Path) else io.BytesIO(file.content)
        )
        if not file.name.lower().endswith(".gz"):
            return binary
        with binary, gzip.open(binary) as packed:
            blob = packed.read(LARGEST + 1)
    except BROKEN as error:
        raise unreadable_error(Path(file.where), error) from error
    if len(blob) > LARGEST:
        raise UserError(file.where, "unpacks to over 1 GiB", "give the original file")
    return io.BytesIO(blob)


def _undecodable_row(file: SourceFile) -> int:
    """Return the number of the first line that is not UTF-8."""
    with closing(_open(file)) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return number  # a character that the end of the file cuts


def _read_lines(
    text: Iterable[str],
    where: str,
    match: Match,
    table: Table,
    layout: Layout,
    mistakes: Mistakes,
) -> Rows:
    lines = iter(text)
    skipped, first = 0, ""
    for line in lines:
        if skipped >= table.skip and line.strip():
            first = line
            break
        skipped += 1
    if not first:
        raise UserError(where, "has no row", "give the whole list")
    separator = table.separator or _guess(first)
    records = _split_rows(chain([first], lines), separator, skipped, where, mistakes)
    number, fields = next(records, (0, []))
    if any(isinstance(column, str) for column in table.columns.values()):
        heading: Sequence[str] | None = [one.strip() for one in fields]
    else:
        heading, records = None, chain([(number, fields)], records)
    columns = _find_columns(table, heading, len(fields), separator, where, skipped + 1)
    return RowReader(columns, len(fields), where, match, table, layout, mistakes).read(records)


def _guess(line: str) -> str:
    counts = {name: line.count(str(SEPARATORS[name])) for name in _GUESSED}
    best = max(_GUESSED, key=counts.__getitem__)
    return best if counts[best] else "space"


def _split_rows(
    lines: Iterable[str], separator: str, skipped: int, where: str, mistakes: Mistakes
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
        place = f"{where}, row {skipped + reader.line_num:,}"
        mistakes.add(UserError(place, what, "mend its quotes"))


def _find_columns(
    table: Table,
    heading: Sequence[str] | None,
    width: int,
    separator: str,
    where: str,
    row: int,
) -> dict[str, int]:
    """Return the place of each field in a row, from 0."""
    folded = [one.casefold() for one in heading or ()]
    places: dict[str, int] = {}
    for name, column in table.columns.items():
        if isinstance(column, int):
            if column > width:
                what = f"has no column {column} where the separator is a {separator}"
                raise UserError(f"{where}, row {row:,}", what, "give separator, or other columns")
            places[name] = column - 1
        elif column.casefold() not in folded:
            what = f"has no column {column}"
            fix = suggest(column, [one for one in heading or () if one], "use one of")
            raise UserError(f"{where}, row {row:,}", what, fix)
        else:
            places[name] = folded.index(column.casefold())
    return places


class RowReader:
    """Reader of the rows of one list, once its columns are known.

    Args:
        columns: field → its place in a row.
        width: number of columns.
        where: name of the list for messages.
        match: what its name says.
        table: its description.
        layout: what the source calls splits.
        mistakes: gets everything that is wrong, by row.
    """

    def __init__(
        self,
        columns: dict[str, int],
        width: int,
        where: str,
        match: Match,
        table: Table,
        layout: Layout,
        mistakes: Mistakes,
    ) -> None:
        self.columns, self.width, self.where = dict(columns), width, where
        self.table, self.layout, self.mistakes = table, layout, mistakes
        self.pixels = self.columns.pop("pixels", None)
        self.constant: dict[str, str] = {n: t for n, t in match.fields.items() if n}
        if table.split is None and "split" in self.constant:
            self.constant["split"] = str(layout.split_of(self.constant["split"]))
        if table.split is not None:
            self.constant["split"] = table.split
        self.list = re.sub(r"\.gz\Z", "", match.name, flags=re.IGNORECASE)
        folder = match.name.rpartition("/")[0]
        self.folder = f"{folder}/" if folder else ""
        self.path = None if table.path is None else Templates([table.path], layout, endings=())

    def read(self, records: Iterable[tuple[int, Sequence[str]]]) -> Rows:
        """Return the rows; a wrong one is a mistake, and left out."""
        numbers: list[int] = []
        values = bytearray()
        fields: dict[str, Texts] = {}
        for number, record in records:
            row: dict[str, str] = {}
            try:
                row = self._read_row(record)
                if self.pixels is not None:
                    values += _pixels(record[self.pixels :])
            except ValueError as error:
                what, fix = error.args
                self.mistakes.add(UserError(f"{self.where}, row {number:,}", what, fix))
                continue
            numbers.append(number)
            fields = fields or {name: [] for name in row}
            for name, text in row.items():
                fields[name].append(text)
        count = len(numbers)
        if self.pixels is not None:
            fields["row"] = [f"{self.list}/{number}" for number in numbers]
        for name, text in self.constant.items():
            fields.setdefault(name, [text] * count)
        rows = Rows([self.where] * count, numbers, [self.folder] * count, fields)
        if self.pixels is not None:
            rows.pixels = np.frombuffer(values, dtype=np.uint8).reshape(count, -1)
        return rows

    def _read_row(self, record: Sequence[str]) -> dict[str, str]:
        """Return the fields of a row.

        Raises:
            ValueError: what is wrong with it, and what to do.
        """
        if len(record) != self.width:
            raise ValueError(f"has {len(record)} columns, not {self.width}", "mend the row")
        row = {name: record[place].strip() for name, place in self.columns.items()}
        for name, text in row.items():
            if not text:
                raise ValueError(f"its {name} is empty", "fill it, or remove the row")
        if self.path is not None:
            match = self.path.match(row["path"])
            if match is None:
                raise ValueError(f"{row['path']} is not {self.table.path}", "mend the path")
            row |= match.fields
        if "split" in row:
            split = self.layout.split_of(row["split"])
            if split is None:
                known = [word for part in self.layout.part_names().values() for word in part]
                what = f"{row['split']!r} is not a split"
                raise ValueError(what, f"use of {', '.join(known)}, or name it in parts")
            row["split"] = split
        if "id" in row:
            row["id"] = plain_number(row["id"])
        return row


def plain_number(text: str) -> str:
    """Return a whole number without leading zeros; another text as it is.

    >>> plain_number("0017"), plain_number("a17")
    ('17', 'a17')
    """
    return str(int(text)) if len(text) < 19 and text.isascii() and text.isdecimal() else text


def _pixels(texts: Sequence[str]) -> bytes:
    """Return the values of pixels as bytes.

    Raises:
        ValueError: one is not a whole number of 0 to 255.
    """
    try:
        values = np.array(texts).astype(np.int64)
    except (ValueError, OverflowError):
        values = np.array([-1])
    if values.min(initial=0) < 0 or values.max(initial=0) > 255:
        wrong = next(text for text in texts if not _is_byte(text))
        raise ValueError(f"pixel {wrong!r} is not a whole number of 0 to 255", "mend the row")
    return values.astype(np.uint8).tobytes()


def _is_byte(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]{1,3}\s*", text) is not None and int(text) < 256
