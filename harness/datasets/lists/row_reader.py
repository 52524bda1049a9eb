"""Reader of the rows of a list: their fields, whatever kind of file they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.common.errors import UserError
from harness.config.dataset_fields import Layout
from harness.config.dataset_layouts import Table
from harness.datasets.files.source_files import SourceFile
from harness.datasets.lists.listed_rows import Rows, Texts
from harness.datasets.mistakes import Mistakes
from harness.datasets.templates import Match, Templates


@dataclass(frozen=True)
class ListFile:
    """File of a list.

    Attributes:
        file: the file.
        match: what its name says.
        table: its description.
        layout: what the source calls splits.
        mistakes: gets everything that is wrong with it, by row.
    """

    file: SourceFile
    match: Match
    table: Table
    layout: Layout
    mistakes: Mistakes

    @property
    def where(self) -> str:
        """Its name for messages."""
        return self.file.where

    def row_error(self, row: int, what: str, fix: str) -> UserError:
        """Return the error for a row."""
        return UserError(f"{self.where}, row {row:,}", what, fix)


class RowReader:
    """Reader of the rows of one list, once its columns are known.

    Args:
        file: the list.
        columns: field → its place in a row.
        width: number of columns.
    """

    def __init__(self, file: ListFile, columns: dict[str, int], width: int) -> None:
        self.file, self.width, self.columns = file, width, dict(columns)
        table, layout, match = file.table, file.layout, file.match
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
                self.file.mistakes.add(self.file.row_error(number, what, fix))
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
        rows = Rows([self.file.where] * count, numbers, [self.folder] * count, fields)
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
                raise ValueError(f"{row['path']} is not {self.file.table.path}", "mend the path")
            row |= match.fields
        if "split" in row:
            layout = self.file.layout
            split = layout.split_of(row["split"])
            if split is None:
                known = [word for part in layout.part_names().values() for word in part]
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
