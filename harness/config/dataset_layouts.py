"""Layouts of data sets: where a source folder has its examples, and what their names say.

A *template* is a path below the source with fields in braces: ``{split}/{class}/{name}.png``. A
field stands for one folder or a part of a name. ``split``, ``class`` and ``name`` have a meaning;
others may be used in ``group`` and ``pictures``, and ``{}`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from harness.config.field_types import Count, List, NonEmpty, Task
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import quote

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

_FIELD = re.compile(r"\{([A-Za-z_]*)\}")


def template_fields(template: str) -> list[str]:
    """Return the names of a template's fields; ``""`` stands for ``{}``.

    >>> template_fields("{split}/{class}/{}.png")
    ['split', 'class', '']
    """
    return _FIELD.findall(template)


def _template(text: str) -> str:
    rest = _FIELD.sub("", text)
    if text.startswith("/") or ".." in text.split("/") or re.search(r"[{}\\]", rest):
        what = f"expected a path below the source with fields in braces, found {quote(text)}"
        raise field_error(what, "write for example {split}/{class}/{name}.png")
    return text


def _texts(found: object) -> tuple[str, ...]:
    listed = found if isinstance(found, list | tuple) else [found]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise field_error(f"expected texts, found {quote(found)}", "write a text or a list of them")
    return tuple(str(one) for one in listed)


def _column(found: object) -> str | int:
    if isinstance(found, str) or (type(found) is int and found >= 1):
        return found
    what = f"expected a heading or the number of a column, found {quote(found)}"
    raise field_error(what, "count columns from 1")


def _void(found: object) -> tuple[int, ...] | None:
    if found == "others" or found is None:
        return None
    if isinstance(found, list | tuple) and all(
        type(one) is int and 0 <= one < 256 for one in found
    ):
        return tuple(found)
    what = f"expected values of 0 to 255 or others, found {quote(found)}"
    raise field_error(what, "write for example [11]")


_TEXT_OR_NUMBER = {"type": ["string", "integer"]}
Template: TypeAlias = Annotated[str, AfterValidator(_template)]
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(_texts),
    WithJsonSchema({"anyOf": [_TEXT_OR_NUMBER, {"type": "array", "items": _TEXT_OR_NUMBER}]}),
]
Column: TypeAlias = Annotated[str | int, PlainValidator(_column), WithJsonSchema(_TEXT_OR_NUMBER)]
Void: TypeAlias = Annotated[
    tuple[int, ...] | None,
    PlainValidator(_void),
    WithJsonSchema(
        {"anyOf": [{"const": "others"}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]
"""Values without a class; ``None``: all that have no name."""


class Layout(Strict):
    """Part that all layouts share."""

    below: List[str] = Field(
        default=(),
        description="Folders that may lie around everything in the source, such as "
        "`[CUB_200_2011]`: copies differ. Default: none.",
    )
    parts: dict[Part, Texts] = Field(
        default_factory=dict,
        description="Split → what the source calls it, in `{split}` or a column `split`, for "
        "example `{train: [Training], test: [Test, Extra]}`. Default: `train`, `val` and `test`.",
    )

    def part_names(self) -> Mapping[Part, tuple[str, ...]]:
        """Return what the source calls each split."""
        return self.parts or {part: (part,) for part in PARTS}

    def split_of(self, text: str) -> Part | None:
        """Return the split that the source calls so, in any case; ``None`` if it names none."""
        for part, texts in self.part_names().items():
            if text.lower() in (known.lower() for known in texts):
                return part
        return None


class ClassFolders(Layout):
    """Pictures in folders that are named after their classes."""

    files: NonEmpty[Template] = Field(
        default=("{split}/{class}/{name}",),
        description="Templates of the pictures. `{name}` without an ending after it takes those of "
        "PNG, JPEG, PPM, BMP, GIF, WEBP and TIFF. Default: `[{split}/{class}/{name}]`.",
    )
    group: str | None = Field(
        default=None,
        description="Group of a picture, from fields of its template, for example "
        "`{class}/{track}`: pictures of a group (a person, a sign) are in one split. Default: "
        "each for itself.",
    )


class Table(Strict):
    """List of examples: text in columns, or arrays of a MATLAB file."""

    file: Template = Field(
        description="The file, for example `images.txt` or `Images/{}/GT-{class}.csv`; fields of "
        "its name belong to all of its rows."
    )
    columns: dict[str, Column] = Field(
        description="Field → heading of its column, or its number from 1 where the list has no "
        "headings, or (`.mat`) the name of its variable. Fields: `path`, `label`, `split`, "
        "`group`, `id` (joins several tables), `x1`, `y1`, `x2`, `y2` (a box in pixels, with its "
        "last column and row), `pixels` (this and all columns that follow: height, width, channel),"
        " and others for `pictures` and `group`."
    )
    separator: Literal["comma", "semicolon", "tab", "space"] | None = Field(
        default=None, description="What is between columns. Default: what the first line shows."
    )
    split: Part | None = Field(default=None, description="Split of all rows. Default: not said.")
    skip: int = Field(
        default=0, ge=0, description="Lines before the first that counts. Default: 0."
    )


class Tables(Layout):
    """Pictures that lists name, with a label in a column."""

    tables: NonEmpty[Table] = Field(description="The lists.")
    pictures: Template | None = Field(
        default="{path}",
        description="Where the picture of a row lies, from its fields; `{folder}` is the list's "
        "own, `{id:05}` a number with leading zeros. `null`: the list has the pixels. Default: "
        "`{path}`.",
    )
    label_from: int = Field(
        default=0, description="First label, where labels are numbers: 0 or 1. Default: 0."
    )
    group: str | None = Field(
        default=None, description="Group of a row, from its fields. Default: the column `group`."
    )
    absent: Literal["error", "leave_out"] = Field(
        default="error",
        description="What to do about listed pictures that are not there: `leave_out` reads what "
        "is there, and says how many were not. Default: `error`.",
    )


class LabelMaps(Layout):
    """Pictures, each with a map of the class of every pixel."""

    pictures: Template = Field(
        description="Template of the pictures, with `{name}` and, if there are some, `{split}`."
    )
    maps: Template = Field(description="Template of the class maps, with the same `{name}`.")
    values: dict[int, str] = Field(
        description="Value in a map → class; several values may be of one class. Classes are "
        "numbered in this order."
    )
    void: Void = Field(
        default=(),
        description="Values of pixels without a class; `others`: all that `values` does not name. "
        "Any other value is refused. Default: none.",
    )


class ArrayPair(Strict):
    """Files of one split."""

    x: str = Field(description="File of the inputs, or its key in `archive`.")
    y: str = Field(description="File of the labels, or its key in `archive`.")


class Idx(Layout):
    """Files of the format of MNIST."""

    files: dict[Part, ArrayPair] = Field(
        description="Split → its two files, without `.gz`, for example `{test: {x: "
        "t10k-images-idx3-ubyte, y: t10k-labels-idx1-ubyte}}`."
    )


class Arrays(Layout):
    """NumPy files."""

    files: dict[Part, ArrayPair] = Field(description="Split → its two files or keys.")
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
        description="Values of `x`: 0 to 255, or 0 to 1. Default: `bytes`.",
    )
    label_from: int = Field(default=0, description="First label: 0 or 1. Default: 0.")


class Torchvision(Layout):
    """Set whose files torchvision alone can read."""

    class_: str = Field(alias="class", description="Class of `torchvision.datasets`: `CIFAR10`.")


class Comparisons(Layout):
    """Lists of pairs or triplets, with items as pictures or as numbers."""

    columns: NonEmpty[
        Literal["u", "v", "a", "p", "q", "label", "attribute", "pair", "strength", "weight"]
    ] = Field(
        description="Columns in order: items `u`, `v` of a pair or `a`, `p`, `q` of a triplet (a "
        "is nearer to p than to q), `label` (1: the first has more), `attribute` (number from 0), "
        "`pair` (id), `strength` (votes), `weight` (1)."
    )
    lists: NonEmpty[dict[Part, str]] = Field(
        description="Split → its list; of several alternatives, the first whose files are all "
        "there is read."
    )
    pictures: List[str] = Field(
        default=("imgs", "images"),
        description="Folders that may hold the items' pictures; the first that exists is read. "
        "Default: `[imgs, images]`.",
    )
    items: Count | None = Field(
        default=None,
        description="Number of items that are known by number, without pictures. Default: items "
        "are names of pictures.",
    )
    dimensions: Count | None = Field(
        default=None,
        description="Dimensions of the embedding that triplets ask for. Default: one score for "
        "each attribute.",
    )
    vote: bool = Field(
        default=False,
        description="`true`: of repeated comparisons, the majority's counts once. Default: "
        "`false`.",
    )


class RankedFeatures(Layout):
    """Features of items and the ranks of their groups, from which pairs are drawn."""

    file: str = Field(description="The file.")
    features: str = Field(description="Variable with the features, `[items, features]`.")
    labels: str = Field(description="Variable with the group of each item, from 1.")
    ranks: str = Field(description="Variable with ranks, `[attributes, groups]`.")
    train: str = Field(description="Variable that is not 0 for items of the training set.")
    pairs: dict[Part, Count] = Field(description="Split → pairs drawn for each attribute.")


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
