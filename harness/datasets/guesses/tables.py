"""Guess of lists that name pictures, with a label in a column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.common.text import list_first
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.guesses.survey import (
    Guess,
    Json,
    Survey,
    counted_classes,
    part_names,
    part_of,
    picture_fields,
    split_fields,
)
from harness.datasets.guesses.text_lists import TextList, text_lists

LABEL = re.compile(r"label|class|class_?id|category|target|y", re.I)
HEADING = re.compile(rf"{LABEL.pattern}|id|path|name|file_?(name)?|image|picture", re.I)
SPLIT = re.compile(r"split|set|usage|subset|partition", re.I)
MOST_LABELS = 0.5
"""Largest share of distinct values in a column of labels without a heading."""
BOX = {"x1": r"x1|xmin|roi\.x1", "y1": r"y1|ymin|roi\.y1", "x2": r"x2|xmax|roi\.x2",
       "y2": r"y2|ymax|roi\.y2"}  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where the pictures of a list lie, around the text in its column.

    Attributes:
        column: number of the column, from 0.
        before: what stands before the text.
        after: the ending that the text lacks.
        found: names of the pictures that rows name.
        heading: whether the first row is a heading.
    """

    column: int
    before: str
    after: str
    found: Sequence[str]
    heading: bool


def guess(files: Survey) -> Guess | None:
    """Return the guess that lists of one form, of which a column names pictures, are the data."""
    if not files.pictures:
        return None
    by_end = _by_end(files.pictures)
    found = [
        (one, place, label)
        for one in text_lists(files)
        if (place := _find_place(one, by_end, len(files.pictures))) is not None
        if (label := _find_label(one, place)) is not None
    ]
    if not found:
        return None
    made = [(_table(*one), _pictures(*one[:2]), one) for one in found]
    pictures = Counter(where for _, where, _ in made).most_common(1)[0][0]
    own = [(table, one) for table, where, one in made if where == pictures]
    tables = [table for table, _ in own]
    layout: Json = {"tables": tables}
    layout |= {} if pictures == "{path}" else {"pictures": pictures}
    labels = [text for _, (rows, place, n) in own for text in rows.column(n, int(place.heading))]
    if all(text.isdecimal() for text in labels) and min(map(int, labels)) == 1:
        layout["label_from"] = 1
    absent = sum(len(rows.rows) - place.heading - len(place.found) for _, (rows, place, _) in own)
    layout |= {"absent": "leave_out"} if absent else {}
    parts = _parts(own, layout)
    names = sorted({name for _, (_, place, _) in own for name in place.found})
    classes, said = counted_classes(
        set(labels), f"the lists' column {tables[0]['columns']['label']}"
    )
    picture, seen = picture_fields(files, names)
    shares, cut = split_fields(parts)
    listed = f"lists: {list_first([table['file'] for table in tables], 3)}"
    lines = [listed, said, *seen, *cut]
    lines += [f"listed pictures that are not there, left out: {absent:,}"] * bool(absent)
    lines += ["labels: count from 1"] if "label_from" in layout else []
    return Guess(
        "classification",
        {"tables": layout},
        {**classes, **picture, **shares},
        tuple(lines),
        share=len(names) / len(files.pictures),
    )


def _by_end(pictures: Sequence[str]) -> Mapping[str, str]:
    """Return every end of a path, with and without the file's ending → the path, if it is one."""
    ends: dict[str, str] = {}
    twice: set[str] = set()
    for name in pictures:
        parts = name.split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            for text in (end, end.rpartition(".")[0]):
                if ends.setdefault(text, name) != name:
                    twice.add(text)
    return {end: name for end, name in ends.items() if end not in twice}


def _find_place(one: TextList, by_end: Mapping[str, str], pictures: int) -> _Place | None:
    """Return the column that names pictures, in most rows with the same text around."""
    for column in range(len(one.rows[0])):
        texts = [text.removeprefix("./") for text in one.column(column)]
        names = [by_end.get(text) for text in texts]
        around = Counter(
            (name[: name.rindex(text)], name[name.rindex(text) + len(text) :])
            for text, name in zip(texts, names, strict=True)
            if name and text
        )
        if not around:
            continue
        (before, after), count = around.most_common(1)[0]
        found = [name for name in names if name]
        # a list may be of the whole set where the folder has a part, or have all of the pictures
        if 2 * count > min(len(texts), pictures):
            whole = len(found) >= len(texts) - 1
            named = any(HEADING.fullmatch(text.strip()) for text in one.rows[0])
            heading = names[0] is None and len(texts) > 1 and (whole or named)
            return _Place(column, before, after, found, heading)
    return None


def _find_label(one: TextList, place: _Place) -> int | None:
    """Return the column of the labels: by its heading, else the one with few distinct values."""
    columns = [number for number in range(len(one.rows[0])) if number != place.column]
    if place.heading:
        named = [n for n in columns if LABEL.fullmatch(one.rows[0][n].strip())]
        if named:
            return named[0]
    few = [n for n in columns if len(set(one.column(n))) <= max(2, MOST_LABELS * len(one.rows))]
    return few[-1] if few else None


def _table(one: TextList, place: _Place, label: int) -> Json:
    """Return the entry of a list."""
    heading = [text.strip() for text in one.rows[0]]

    def column(number: int) -> str | int:
        return heading[number] if place.heading else number + 1

    columns = {"path": column(place.column), "label": column(label)}
    if place.heading:
        boxes = {key: [h for h in heading if re.fullmatch(p, h, re.I)] for key, p in BOX.items()}
        if all(boxes.values()):
            columns |= {key: texts[0] for key, texts in boxes.items()}
        splits = [text for text in heading if SPLIT.fullmatch(text)]
        if splits and part_names(one.column(heading.index(splits[0]), 1)):
            columns["split"] = splits[0]
    part = part_of(one.name.rpartition("/")[2]) or part_of(one.name)
    given = {"split": part} if part and "split" not in columns else {}
    return {"file": one.name, "columns": columns, **given}


def _pictures(one: TextList, place: _Place) -> str:
    """Return the template of the pictures of a list."""
    folder = one.name.rpartition("/")[0]
    before = "{folder}/" if folder and place.before == f"{folder}/" else place.before
    return f"{before}{{path}}{place.after}"


def _parts(own: Sequence[tuple[Json, tuple[TextList, _Place, int]]], layout: Json) -> list[Part]:
    """Return the splits that lists give; their words for them become a key of the layout."""
    found = {table["split"] for table, _ in own if "split" in table}
    for table, (rows, _, _) in own:
        if heading := table["columns"].get("split"):
            words = rows.column([text.strip() for text in rows.rows[0]].index(heading), 1)
            parts = part_names(words)
            layout["parts"] = {part: texts for part, texts in parts.items()}
            found |= set(parts)
    return [part for part in PARTS if part in found]
