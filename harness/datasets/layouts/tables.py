"""Layout ``tables``: lists that name pictures, or hold their pixels, with a label in a column."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.config.dataset_fields import template_fields
from harness.config.dataset_layouts import Tables
from harness.datasets.examples import Example, Found, Pieces, Source
from harness.datasets.lists.listed_examples import ListedExamples
from harness.datasets.lists.listed_labels import read_labels
from harness.datasets.lists.listed_pictures import Places
from harness.datasets.lists.listed_rows import Rows
from harness.datasets.lists.table_files import find_lists, list_digests, read_lists
from harness.datasets.pictures.formats import is_picture
from harness.datasets.pictures.resizing import both_sides
from harness.datasets.templates import Match, Templates
from harness.datasets.walk import Pictures


class _AnyName(Templates):
    """Template that fits every name."""

    def match(self, name: str) -> Match:
        """Return a match without fields."""
        return Match(self.strip(name), {})

    def reaches(self, folder: str) -> bool:
        """Return ``True``: lists may name pictures in any folder."""
        return True


def find(layout: Tables, source: Source) -> Found | None:
    """Return the listed examples, in the order of the lists; ``None`` without a list."""
    lists = find_lists(layout, source)
    rows = None if lists is None else read_lists(lists, source)
    if lists is None or rows is None or not len(rows):
        return None
    labels, classes = read_labels(rows, layout.label_from, source.manifest, source.mistakes)
    examples = ListedExamples(rows, labels, _groups(layout, rows), source)
    files = list_digests(lists)
    if layout.pictures is None:
        return _find_pixels(rows, examples, classes, files, source)
    numbers = _find_pictures(layout, rows, lists.names, examples, source)
    pictures = Pictures(source, _AnyName((), layout), numbers, examples.cut)
    pictures.files.update(files)
    kept, classes = _present_classes(layout, examples.kept, classes, source)
    return Found(kept, classes, pictures.read, pictures.files)


def _groups(layout: Tables, rows: Rows) -> Sequence[str]:
    """Return the group of each row; empty: alone."""
    if layout.group is None:
        return [text or "" for text in rows.texts("group")]
    names = template_fields(layout.group)
    columns = [rows.texts(name) for name in names]
    return [
        "" if None in values else layout.group.format(**dict(zip(names, values, strict=True)))
        for values in zip(*columns, strict=True)
    ]


def _find_pictures(
    layout: Tables, rows: Rows, present: Mapping[str, int], examples: ListedExamples, source: Source
) -> Mapping[str, Collection[int]]:
    """Add the example of every row whose picture is there; return name → numbers."""
    assert layout.pictures is not None
    places = Places(layout.pictures, present, rows)
    numbers: dict[str, list[int]] = defaultdict(list)
    absent: list[int] = []
    for row in range(len(rows)):
        with source.mistakes.gather():
            name = places.find(row)
            if name is None:
                if examples.labels[row] is not None:  # one mistake a row is enough
                    absent.append(row)
                continue
            numbers[name]  # named, even if its row is wrong
            if (number := examples.add(row, name)) is not None:
                numbers[name].append(number)
    _say_absent(layout, absent, places, source, len(rows))
    if examples.repeated:
        source.remarks.say(f"{examples.repeated:,} rows are there twice")
    if places.respelled:
        count = f"{places.respelled:,} pictures"
        source.remarks.say(f"{count} whose names differ in case or accents from the list's")
    ignored = Templates((), layout).ignores
    others = [
        name for name in present if name not in numbers and is_picture(name) and not ignored(name)
    ]
    if others:
        source.remarks.say(f"{len(others):,} pictures that no list names ({min(others)})")
    return numbers


def _say_absent(
    layout: Tables, absent: Sequence[int], places: Places, source: Source, count: int
) -> None:
    """Say which listed pictures are not there."""
    if not absent:
        return
    first, fix = places.names(absent[0])[0], "put it there, or give absent: leave_out"
    if len(absent) == count:
        what = f"has none of the {count:,} listed pictures, {first} first"
        source.mistakes.add(UserError(str(source.folder), what, "put them there"))
    elif layout.absent == "leave_out":
        source.remarks.say(f"{len(absent):,} of {count:,} listed pictures are not there")
    else:
        for row in absent:
            what = f"names {places.names(row)[0]}, which is not there"
            source.mistakes.add(UserError(places.where(row), what, fix))


def _present_classes(
    layout: Tables, examples: Sequence[Example], classes: tuple[str, ...], source: Source
) -> tuple[Sequence[Example], tuple[str, ...]]:
    """Leave out the named classes without a picture that is there, unless their number is fixed."""
    manifest = source.manifest
    used = sorted({example.label for example in examples})
    named = any("class" in table.fields() for table in layout.tables)
    if manifest.classes or manifest.class_count or not named or len(used) == len(classes):
        return examples, classes
    place = {label: number for number, label in enumerate(used)}
    source.remarks.say(f"{len(classes) - len(used):,} classes of its lists have no picture here")
    renumbered = [replace(example, label=place[example.label]) for example in examples]
    return renumbered, tuple(classes[label] for label in used)


def _find_pixels(
    rows: Rows,
    examples: ListedExamples,
    classes: tuple[str, ...],
    files: Mapping[str, str],
    source: Source,
) -> Found | None:
    """Return the examples of lists that have pixels."""
    pixels, picture = rows.pixels, examples.picture
    if pixels is None:
        what = "has lists with different numbers of pixels"
        source.mistakes.add(UserError(str(source.folder), what, "give lists of one size"))
        return None
    shape = _pixel_shape(pixels.shape[1], picture)
    if shape is None or picture.resize is not None:
        what = f"has rows of {pixels.shape[1]:,} pixels, not of {picture.channels} channels"
        fix = "give picture: channels, size (without resize)"
        source.mistakes.add(UserError(str(source.folder), what, fix))
        return None
    names = rows.texts("id" if "id" in rows.fields else "row")
    for row in range(len(rows)):
        examples.add(row, str(names[row]))
    row_of, (channels, height, width) = examples.row_of, shape

    def read(wanted: Collection[int]) -> Pieces:
        for number in wanted:
            row = pixels[row_of[number]].reshape(height, width, channels)
            yield number, "x", row.transpose(2, 0, 1)

    return Found(examples.kept, classes, read, files, named=False)


def _pixel_shape(count: int, picture: Picture) -> tuple[int, int, int] | None:
    """Return channels, height and width of a row of pixels; ``None`` if it does not fit."""
    side = math.isqrt(count // picture.channels)
    width, height = both_sides(picture.size or side)
    fits = count == picture.channels * height * width > 0
    return (picture.channels, height, width) if fits else None
