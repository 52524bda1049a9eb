"""Guess of lists that hold pixels: a label, then the values of a picture in each row."""

from __future__ import annotations

import math

from harness.config.dataset_fields import Part
from harness.datasets.guesses.survey import (
    Guess,
    Json,
    Survey,
    counted_classes,
    part_of,
    split_fields,
)
from harness.datasets.guesses.text_lists import text_lists

LEAST = 16
"""Pixels of the smallest picture."""


def guess(files: Survey) -> Guess | None:
    """Return the guess that the first column is the label, and the others a square picture."""
    tables: list[Json] = []
    labels: set[str] = set()
    parts: set[Part] = set()
    picture: Json = {}
    for one in text_lists(files):
        width = len(one.rows[0]) - 1
        form = _form(width)
        heading = int(not one.rows[0][-1].strip().isdecimal())
        if form is None or len(one.rows) <= heading or picture not in ({}, form):
            continue
        if not all(0 <= int(t) < 256 if t.isdecimal() else False for t in one.column(1, heading)):
            continue
        picture = form
        labels.update(one.column(0, heading))
        part = part_of(one.name)
        table: Json = {"file": one.name.removesuffix(".gz"), "columns": {"label": 1, "pixels": 2}}
        table |= {"split": part} if part else {}
        tables.append(table | ({"skip": 1} if heading else {}))
        parts |= {part} if part else set()
    if not tables:
        return None
    classes, said = counted_classes(labels, "the first column")
    shares, cut = split_fields(parts)
    colour = "grey" if picture["channels"] == 1 else "RGB, by row, column and channel"
    form_said = f"pictures: {picture['size']}x{picture['size']} {colour}, in the rows of lists"
    return Guess(
        "classification",
        {"tables": {"tables": tables, "pictures": None}},
        {**classes, "picture": picture, **shares},
        (said, form_said, *cut),
        of_files=False,
    )


def _form(values: int) -> Json | None:
    """Return the key ``picture`` of a square with so many values."""
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if values >= LEAST and side * side * channels == values:
            return {"channels": channels, "size": side}
    return None
