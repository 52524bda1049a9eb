"""Layouts of data sets: where a source folder has its examples, and what their names say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from harness.config.dataset_comparisons import Comparisons, RankedFeatures
from harness.config.dataset_fields import (
    BOX,
    MOST_MAP_CLASSES,
    SIZE,
    Byte,
    Column,
    Group,
    Layout,
    Part,
    PicturePaths,
    Template,
    Templates,
    Void,
    only_own_splits,
    picture_fields,
    template_fields,
)
from harness.config.field_types import Line, NonEmpty, Task
from harness.config.file_model import Problem, Strict


class ClassFolders(Layout):
    """Pictures in folders that are named after their classes."""

    files: NonEmpty[Template] = Field(
        default=("{split}/{class}/{name}",),
        description="Templates of the pictures. `{name}` without an ending after it takes those of "
        "PNG, JPEG, PPM, BMP, GIF, WEBP and TIFF. Default: `[{split}/{class}/{name}]`.",
    )
    group: Group | None = Field(
        default=None,
        description="Group of a picture, from fields of its template, for example "
        "`{class}/{track}`: pictures of a group (a person, a sign) are in one split. Default: "
        "each for itself.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that each template has the fields that groups are made from."""
        for file in self.files:
            for name in template_fields(self.group or ""):
                if name not in template_fields(file):
                    yield Problem(
                        ("group",), f"{file} has no {{{name}}}", "add it, or change group"
                    )


class Table(Strict):
    """List of examples: text in columns, or arrays of a MATLAB file."""

    file: Templates = Field(
        description="Template of the file, for example `images.txt` or `Images/{}/GT-{}.csv`, or "
        "alternatives, of which the first that is there is read; also gzipped. What its fields say "
        "belongs to all of its rows."
    )
    columns: dict[str, Column] = Field(
        description="Field → heading of its column, or its number from 1 where the list has no "
        "headings, or (`.mat`) the name of its variable. Fields: `path`; `label` (a number or a "
        "name) and `class` (its name); `split`; `group`; `id`, which joins all tables that have "
        "it (`.mat` without it: the number of the row from 1); `x1`, `y1`, `x2`, `y2`, a box in "
        "pixels with its last column and row, and `width`, `height` of the picture that it counts "
        "in; `pixels`: this and all columns that follow, by row, column and channel. Others are "
        "for `pictures` and `group`."
    )
    path: Template | None = Field(
        default=None,
        description="Template that the column `path` fits, whose fields its row gets, for example "
        "`{class}/{}`. Default: it says nothing.",
    )
    separator: Literal["comma", "semicolon", "tab", "space", "line"] | None = Field(
        default=None,
        description="What is between columns; `line`: there is one column. Default: what the first "
        "line has most of.",
    )
    split: Part | None = Field(default=None, description="Split of all rows. Default: not said.")
    skip: int = Field(
        default=0, ge=0, description="Lines before the first that counts. Default: 0."
    )

    def fields(self) -> set[str]:
        """Return all fields that a row has."""
        found = {*self.columns, *template_fields(self.path or "")}
        found.update(*(template_fields(file) for file in self.file))
        return (found | ({"split"} if self.split else set())) - {""}

    def problems(self) -> Iterator[Problem]:
        """Check that each field is said once and that a box is whole."""
        if (box := BOX & set(self.columns)) and box != BOX:
            yield Problem(("columns",), f"has {', '.join(sorted(box))} of a box", "give all four")
        if len(SIZE & set(self.columns)) == 1:
            yield Problem(("columns",), "has one side of the picture", "give width and height")
        if self.path is not None and "path" not in self.columns:
            yield Problem(("path",), "there is no column path", "add it to columns, or remove this")
        if self.split is not None and "split" in self.columns:
            yield Problem(("split",), "columns has it too", "leave one of them")


class Tables(Layout):
    """Pictures that lists name, with a label in a column."""

    tables: NonEmpty[Table] = Field(
        description="The lists. Those with an `id` must all be there; of others, one is enough."
    )
    pictures: PicturePaths | None = Field(
        default=("{path}",),
        description="Where the picture of a row lies, from its fields; `{folder}` is the list's "
        "own, `{id:05}` a number with leading zeros. Of several, the first that is there. `null`: "
        "the list has the pixels. Default: `{path}`.",
    )
    label_from: int = Field(
        default=0,
        ge=0,
        le=1,
        description="First label, where labels are numbers: 0 or 1. Default: 0.",
    )
    group: Group | None = Field(
        default=None,
        description="Group of a row, from its fields, for example `{label}/{track}`; rows of "
        "tables without them have none. Default: the column `group`.",
    )
    absent: Literal["error", "leave_out"] = Field(
        default="error",
        description="What to do about listed pictures that are not there: `leave_out` reads what "
        "is there, and says how many were not; classes that are named and have no picture are left "
        "out too, unless `class_count` or `classes` fixes them. Default: `error`.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that rows have what pictures, labels and groups are made from."""
        known = set[str]().union({"folder"}, *(table.fields() for table in self.tables))
        known |= {"id"} if any(table.file[0].endswith(".mat") for table in self.tables) else set()
        joined = sum("id" in table.fields() for table in self.tables)
        if self.pictures is None and joined > 1:
            yield Problem(("tables",), "rows of pixels are joined with others", "leave one id")
        if not known & {"label", "class"}:
            yield Problem(("tables",), "no column has labels", "add label or class")
        if (self.pictures is None) != ("pixels" in known):
            what = "of rows of pixels is null" if self.pictures else "null needs a column pixels"
            yield Problem(("pictures",), what, "change it, or columns")
        made = [("pictures", name) for one in self.pictures or () for name in picture_fields(one)]
        made += [("group", name) for name in template_fields(self.group or "")]
        for key, name in made:
            if name not in known:
                fix = f"use of {', '.join(sorted(known))}"
                yield Problem((key,), f"no table has {{{name}}}", fix)


class LabelMaps(Layout):
    """Pictures, each with a map of the class of every pixel."""

    pictures: Template = Field(
        description="Template of the pictures, with `{name}` and, if there are some, `{split}`."
    )
    maps: Template = Field(description="Template of the class maps, with the same `{name}`.")
    values: dict[Byte, Line] = Field(
        description="Value in a map → class; several values may be of one class. Classes are "
        "numbered in this order."
    )
    void: Void = Field(
        default=(),
        description="Values of pixels without a class; `others`: all that `values` does not name. "
        "Any other value is refused. Default: none.",
    )

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers."""
        return tuple(dict.fromkeys(self.values.values()))

    def problems(self) -> Iterator[Problem]:
        """Check that the templates pair files, and that a value has one meaning."""
        for key in ("pictures", "maps"):
            if "name" not in template_fields(getattr(self, key)):
                what = "has no {name}, which joins a picture and its class map"
                yield Problem((key,), what, "write for example train/{name}.png")
        splits = ["split" in template_fields(text) for text in (self.pictures, self.maps)]
        if splits[0] != splits[1]:
            yield Problem(("maps",), "only one template has {split}", "give it in both or in none")
        if both := sorted(set(self.values).intersection(self.void or ())):
            yield Problem(("void",), f"{both[0]} is also in values", "leave one of them")
        if not self.values:
            yield Problem(("values",), "names no class", "add one")
        if len(self.class_names()) > MOST_MAP_CLASSES:
            what = f"names {len(self.class_names())} classes, and eight bits hold at most "
            yield Problem(("values",), f"{what}{MOST_MAP_CLASSES}", "merge some")


class ArrayPair(Strict):
    """Files of one split."""

    x: str = Field(description="File of the inputs, or its key in `archive`.")
    y: str = Field(description="File of the labels, or its key in `archive`.")


class ArrayFiles(Layout):
    """Part of the layouts of two arrays a split."""

    files: dict[Part, ArrayPair] = Field(
        description="Split → its two files or keys. Those of one split are enough."
    )
    label_from: int = Field(default=0, ge=0, description="First label: 0 or 1. Default: 0.")

    def problems(self) -> Iterator[Problem]:
        """Check that there are files, and that nothing else says what splits are."""
        yield from only_own_splits(self)
        if not self.files:
            yield Problem(("files",), "expected the files of a split, found none", "add them")


class Idx(ArrayFiles):
    """Files of the format of MNIST, for example ``{test: {x: t10k-images-idx3-ubyte, y: …}}``."""


class Arrays(ArrayFiles):
    """NumPy files."""

    archive: str | None = Field(
        default=None, description="The `.npz` that has the keys. Default: files of their own."
    )
    order: Literal["nchw", "nhwc", "nhw", "nf"] = Field(
        default="nchw",
        description="Axes of `x`: pictures by channel first or last, grey pictures, or features. "
        "Default: `nchw`.",
    )
    values: Literal["bytes", "unit"] = Field(
        default="bytes",
        description="Values of `x`: whole numbers of 0 to 255, or 0 to 1. Default: `bytes`.",
    )


class Torchvision(Layout):
    """Set whose files torchvision alone can read."""

    class_: Literal["CIFAR10", "CIFAR100"] = Field(
        alias="class", description="Class of `torchvision.datasets`: `CIFAR10` or `CIFAR100`."
    )

    def problems(self) -> Iterator[Problem]:
        """Check that nothing else says what splits are."""
        yield from only_own_splits(self)


class LayoutEntry(Strict):
    """One layout, under its own name; the others are left out."""

    class_folders: ClassFolders | None = Field(
        default=None, description="Pictures in one folder for each class."
    )
    tables: Tables | None = Field(
        default=None,
        description="Pictures (or rows of pixels) and labels in one or several lists: text, CSV, "
        "or index files of MATLAB.",
    )
    label_maps: LabelMaps | None = Field(
        default=None, description="Pairs of a picture and a class map (PNG)."
    )
    idx: Idx | None = Field(default=None, description="IDX files of bytes, plain or gzipped.")
    arrays: Arrays | None = Field(
        default=None, description="`.npy` files, or one `.npz`; no pickles."
    )
    torchvision: Torchvision | None = Field(
        default=None,
        description="Files in torchvision's own form, read by it after it checked their MD5.",
    )
    comparisons: Comparisons | None = Field(
        default=None, description="Lists of pairs or triplets, one a line, separated by commas."
    )
    ranked_features: RankedFeatures | None = Field(
        default=None,
        description="MATLAB file with features of items, the group of each, and the rank of each "
        "group in each attribute; pairs of different rank are drawn by hash.",
    )

    @property
    def kind(self) -> str:
        """Name of the layout."""
        return next(iter(self._given()))

    @property
    def layout(self) -> Layout:
        """The layout itself."""
        return next(iter(self._given().values()))

    def _given(self) -> dict[str, Layout]:
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: layout for name, layout in found.items() if layout is not None}

    def problems(self) -> Iterator[Problem]:
        """Check that there is one."""
        if len(found := list(self._given())) != 1:
            what = f"expected one layout, found {' and '.join(found) or 'none'}"
            yield Problem((), what, f"give one of {', '.join(type(self).model_fields)}")


TASKS_OF_LAYOUT: Mapping[str, tuple[Task, ...]] = {
    "class_folders": ("classification", "ranking"),
    "tables": ("classification", "ranking"),
    "label_maps": ("segmentation",),
    "idx": ("classification",),
    "arrays": ("classification", "segmentation"),
    "torchvision": ("classification",),
    "comparisons": ("ranking",),
    "ranked_features": ("ranking",),
}
"""Layout → tasks that it can give examples for; ranking of labelled pictures needs ``compare``."""

LABELLED = ("class_folders", "tables")
"""Layouts of pictures with a class, which ``compare`` can draw pairs from."""
