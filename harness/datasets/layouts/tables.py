"""Layout ``tables``: lists that name pictures, or hold their pixels, with a label in a column."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.common.errors import UserError
from harness.config.dataset_layouts import BOX, PICTURE_FIELD, SIZE, Table, Tables, template_fields
from harness.datasets.examples import Box, Example, Found, Pieces, Source
from harness.datasets.listed_labels import read_labels
from harness.datasets.listed_rows import Rows, append_rows, join_rows
from harness.datasets.mat_files import read_mat_table
from harness.datasets.names import fold, is_ignored
from harness.datasets.source_files import SourceFile, find_files
from harness.datasets.stored import file_sha256
from harness.datasets.tables import LARGEST, read_text_table
from harness.datasets.templates import ENDINGS, Match, Templates
from harness.datasets.walk import Pictures

_OUTSIDE = re.compile(r"[A-Za-z]:|(?:.*/)?(?:\.{0,2})/|.*(?:\\|/\.{0,2}\Z)|\.\.\Z", re.DOTALL)
"""Name that is absolute, climbs out of a folder, or is another one's way of saying it."""
_PICTURE = tuple(f".{ending}" for ending in ENDINGS)


def find(layout: Tables, source: Source) -> Found | None:
    """Return the listed examples, in the order of the lists; ``None`` without a list."""
    lists, names = _find_lists(layout, source)
    if not any(lists):
        return None
    rows = _read_lists(layout, lists, source)
    if rows is None or not len(rows):
        return None
    labels, classes = read_labels(rows, layout.label_from, source.manifest, source.mistakes)
    files = {match.name: _digest(file) for found in lists for file, match in found}
    if layout.pictures is None:
        return _from_pixels(rows, labels, classes, files, source)
    places = Places(layout.pictures, names, rows, source)
    boxes = _read_boxes(rows, source)
    kept = _examples(layout, rows, labels, places, boxes, source)
    numbers: dict[str, tuple[int, ...]] = {}
    for number, (_, name) in enumerate(kept):
        numbers[name] = (*numbers.get(name, ()), number)
    others = [name for name in names if name.lower().endswith(_PICTURE) and name not in numbers]
    if others and layout.absent == "error":
        source.remarks.say(f"{len(others):,} pictures that no list names ({min(others)})")
    pictures = Pictures(source, _AnyName((), layout), numbers)
    pictures.files.update(files)
    return Found([example for example, _ in kept], classes, pictures.read, pictures.files)
