"""Files of the layout ``comparisons``: the lists, and the pictures of the items in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.common.errors import UserError
from harness.config.dataset_comparisons import Comparisons
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.examples import Example, Found, Source
from harness.datasets.files.names import fold
from harness.datasets.lists.comparison_columns import Grammar
from harness.datasets.lists.comparison_lists import Comparison, parse_list
from harness.datasets.templates import Templates
from harness.datasets.walk import Pictures, find_matches
from harness.datasets.write_examples import write_arrays

Rows = dict[Part, list[Comparison]]
"""Split → its comparisons, in the order of the list."""
Names = Mapping[Part, Sequence[str]]
"""Split → names of its items, sorted as text; of items known by number, all of them in order."""


class ComparisonFiles:
    """Files of a source: its lists, and where the pictures lie, found in one walk.

    Attributes:
        digests: list or folder → SHA-256.
    """

    def __init__(self, layout: Comparisons, source: Source) -> None:
        self.layout, self.source = layout, source
        lists = {file for files in layout.lists for file in files.values()}
        shown = () if layout.items is not None else layout.pictures
        # list files come first: a template of pictures may fit them too
        self.templates = Templates([*sorted(lists), *shown], layout, endings=())
        self.digests: dict[str, str] = {}
        self._lists: dict[str, tuple[str, bytes]] = {}
        self._pictures: dict[str, dict[str, str]] = {}
        for file, match in find_matches(source, self.templates):
            if item := match.fields.get("item"):
                self._pictures.setdefault(fold(item), {})[match.name] = item
            else:
                self._lists[fold(match.name)] = (file.where, file.read())

    def read_lists(self) -> Rows | None:
        """Return the rows of the first alternative that is there; ``None`` without any list."""
        source, alternatives = self.source, self.layout.lists
        whole = (one for one in alternatives
                 if all(fold(file) in self._lists for file in one.values()))  # fmt: skip
        chosen = next(whole, None)
        if chosen is None:
            if self._lists:
                needed = " or ".join(", ".join(one.values()) for one in alternatives)
                have = f"has only {', '.join(sorted(self._lists))}"
                source.mistakes.add(UserError(str(source.folder), have, f"give {needed}"))
            source.mistakes.check()
            return None
        grammar = Grammar(self.layout.columns, len(source.manifest.classes), self.layout.items)
        rows: Rows = {}
        for part, file in chosen.items():
            where, blob = self._lists[fold(file)]
            self.digests[file] = hashlib.sha256(blob).hexdigest()
            rows[part] = parse_list(blob, where, grammar, source.mistakes)
        source.mistakes.check()
        return rows

    def write_pictures(self, names: Names, out: Path) -> tuple[int, ...]:
        """Store the pictures of each split's items, and return the shape of one."""
        source = self.source
        owners = [(part, item) for part in PARTS for item in names[part]]
        self._check_pictures({item for _, item in owners})
        numbers: dict[str, list[int]] = {}
        for number, (_, item) in enumerate(owners):
            (name,) = self._named(item)
            numbers.setdefault(name, []).append(number)
        pictures = Pictures(source, self.templates, numbers)
        examples = [Example(item, -1, part) for part, item in owners]
        found = Found(examples, source.manifest.classes, pictures.read, pictures.files)
        split = {part: [number for number, (own, _) in enumerate(owners) if own == part]
                 for part in PARTS}  # fmt: skip
        shape = write_arrays(source, found, split, out)
        self.digests |= pictures.files
        return shape

    def _named(self, item: str) -> list[str]:
        """Return the files of an item: of its exact name, else of one that differs in case."""
        found = self._pictures.get(fold(item), {})
        return [name for name, exact in found.items() if exact == item] or list(found)

    def _check_pictures(self, items: set[str]) -> None:
        """Check that each item has one picture; what is missing is one line."""
        folder, mistakes = str(self.source.folder), self.source.mistakes
        lacking = sorted(item for item in items if not self._named(item))
        if lacking:
            what = f"{len(lacking):,} of {len(items):,} pictures are missing, {lacking[0]} first"
            fix = f"put all that the lists name at {' or '.join(self.layout.pictures)}"
            mistakes.add(UserError(folder, what, fix))
        for item in sorted(items):
            if len(named := self._named(item)) > 1:
                what = f"{item} is {' and '.join(sorted(named))}"
                mistakes.add(UserError(folder, what, "leave one of them"))
        mistakes.check()
