"""Examples of the rows of lists, each name once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.common.errors import UserError
from harness.datasets.examples import Example, Source
from harness.datasets.lists.listed_labels import Labels
from harness.datasets.lists.listed_pictures import Boxes
from harness.datasets.lists.listed_rows import Rows
from harness.datasets.pictures.resizing import Box


class ListedExamples:
    """Examples of the rows that are right, each name once.

    Args:
        rows: the rows.
        labels: label of each.
        groups: group of each.
        source: gets mistakes and remarks.
    """

    def __init__(self, rows: Rows, labels: Labels, groups: Sequence[str], source: Source) -> None:
        self.rows, self.labels, self.groups, self.source = rows, labels, groups, source
        self.picture = source.picture
        self.boxes, self.splits = Boxes(rows, self.picture), rows.texts("split")
        self.kept: list[Example] = []
        self.cut: dict[int, Box] = {}
        """Number of an example → box that is cut out of its picture."""
        self.row_of: list[int] = []
        """Row of each example."""
        self.repeated = 0
        self._number_of: dict[str, int] = {}

    def add(self, row: int, name: str) -> int | None:
        """Add the example of a row, and return its number; ``None``: it is a mistake, or known."""
        label = self.labels[row]
        box = None
        with self.source.mistakes.gather():
            box = self.boxes.read(row)
        if label is None:
            return None
        cut = box if self.picture.boxes else None
        key = name if cut is None else f"{name}#{','.join(map(str, cut))}"
        example = Example(
            key,
            label,
            self.splits[row],  # type: ignore[arg-type]  # rows have our splits
            self.groups[row],
            None if self.picture.boxes else box,
        )
        number = self._number_of.setdefault(key, len(self.kept))
        if number < len(self.kept):
            self._compare(row, example, number)
            return None
        self.kept.append(example)
        self.row_of.append(row)
        if cut is not None:
            self.cut[number] = cut
        return number

    def _compare(self, row: int, example: Example, number: int) -> None:
        """Note that a name is there again: with something else it is a mistake."""
        known = self.kept[number]
        if example == known:
            self.repeated += 1
            return
        for name in ("label", "split", "group", "box"):
            if getattr(example, name) != getattr(known, name):
                what = f"names {example.name} again, with another {name}"
                fix = "leave one of the rows"
                if name == "box":
                    fix += ", or give picture.boxes: true to cut them out"
                first = self.rows.where(self.row_of[number])
                error = UserError(self.rows.where(row), f"{what} than {first}", fix)
                self.source.mistakes.add(error)
                return
