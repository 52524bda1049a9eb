"""Layouts of data sets: where a source folder has its examples, and what their names say.

A *template* is a path below the source with fields in braces: ``{split}/{class}/{name}.png``. A
field stands for one folder or a part of a name. ``split``, ``class`` and ``name`` have a meaning;
others may be used in ``group`` and ``pictures``, and ``{}`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from harness.config.field_types import Count, List, NonEmpty, NonEmptySet, Task
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import quote

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

_FIELD = re.compile(r"\{([A-Za-z_]*)\}")
PICTURE_FIELD = re.compile(r"\{([A-Za-z][A-Za-z_0-9]*)(?::0([1-9]))?\}")
"""Field of a picture's place: its name, and the digits of a number."""

BOX, SIZE = {"x1", "y1", "x2", "y2"}, {"width", "height"}
"""Columns of a box, and of the picture that it counts in."""


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


def picture_fields(template: str) -> list[str]:
    """Return the names of the fields of a picture's place.

    >>> picture_fields("jpg/image_{id:05}.jpg")
    ['id']
    """
    return [name for name, _ in PICTURE_FIELD.findall(template)]


def _templates(found: object) -> tuple[str, ...]:
    texts = _texts(found)
    if not texts:
        raise field_error("expected a path below the source, found []", "add one")
    return tuple(_template(text) for text in texts)


def _picture_paths(found: object) -> tuple[str, ...]:
    texts = _texts(found)
    _templates([PICTURE_FIELD.sub(r"{\1}", text) for text in texts])
    return texts


def _texts(found: object) -> tuple[str, ...]:
    listed = found if isinstance(found, list | tuple) else [found]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise field_error(f"expected texts, found {quote(found)}", "write a text or a list of them")
    return tuple(str(one) for one in listed)


def _number(found: object) -> object:
    return int(found) if isinstance(found, str) and re.fullmatch(r"-?[0-9]{1,9}", found) else found


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


MOST_MAP_CLASSES = 254
"""Most classes of class maps: 255 is for pixels without one, 254 may be an output for void."""

_TEXT_OR_NUMBER = {"type": ["string", "integer"]}
Template: TypeAlias = Annotated[str, AfterValidator(_template)]
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(_texts),
    WithJsonSchema({"anyOf": [_TEXT_OR_NUMBER, {"type": "array", "items": _TEXT_OR_NUMBER}]}),
]
NumberKey: TypeAlias = Annotated[int, BeforeValidator(_number)]
"""Whole number as a key, which the YAML reader returns as text."""
Byte: TypeAlias = Annotated[NumberKey, Field(ge=0, le=255)]
_TEXTS = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)
Templates: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_templates), _TEXTS]
PicturePaths: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_picture_paths), _TEXTS]
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
    ignore: List[Template] = Field(
        default=(),
        description="Templates of pictures that belong to the set and are no examples. Of others "
        "that the layout does not name, a note gives the number. Default: none.",
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
    group: str | None = Field(
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
    values: dict[Byte, str] = Field(
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
        yield from _only_own_splits(self)
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
        yield from _only_own_splits(self)


def _only_own_splits(layout: Layout) -> Iterator[Problem]:
    for key in ("parts", "ignore"):
        if getattr(layout, key):
            yield Problem((key,), "means nothing in this layout", "remove it")


PAIR, TRIPLET = {"u", "v"}, {"a", "p", "q"}
"""Columns of the items of a comparison."""


class Comparisons(Layout):
    """Lists of pairs or triplets, with items as pictures or as numbers."""

    columns: NonEmptySet[
        Literal["u", "v", "a", "p", "q", "label", "attribute", "pair", "strength", "weight"]
    ] = Field(
        description="Columns in order: items `u` and `v` of a pair, or `a`, `p` and `q` of a "
        "triplet (`a` is nearer to `p` than to `q`); `label` (1: `u` has more, -1: `v`; without "
        "the column 1), `attribute` (number from 0), `pair` (id), `strength` (votes), `weight` "
        "(1)."
    )
    lists: NonEmpty[dict[Part, Template]] = Field(
        description="Split → its list; of several alternatives, the first whose files are all "
        "there is read."
    )
    pictures: NonEmpty[Template] = Field(
        default=("imgs/{item}", "images/{item}"),
        description="Templates of the items' pictures, where `{item}` is what a list calls it, in "
        'any case. Default: `["imgs/{item}", "images/{item}"]`.',
    )
    items: Count | None = Field(
        default=None,
        description="Number of items that are known by number, from 0, without pictures. Default: "
        "items have pictures.",
    )
    dimensions: Count | None = Field(
        default=None,
        description="Dimensions of the embedding that triplets ask for. Default: none; pairs ask "
        "for one score for each attribute.",
    )
    vote: bool = Field(
        default=False,
        description="`true`: of repeated comparisons, the majority's counts once, and none where "
        "votes tie. Default: `false`.",
    )

    @property
    def arity(self) -> int:
        """Number of items in a row: 2 or 3."""
        return 3 if set(self.columns) >= TRIPLET else 2

    def problems(self) -> Iterator[Problem]:
        """Check that a row compares items, and that there are lists and pictures of them."""
        if set(self.columns) & (PAIR | TRIPLET) not in (PAIR, TRIPLET):
            fix = "name u and v for pairs, or a, p and q for triplets"
            yield Problem(("columns",), "its items are neither a pair nor a triplet", fix)
        elif (self.dimensions is not None) != (self.arity == 3):
            what = "triplets need it" if self.arity == 3 else "means nothing for pairs"
            fix = "add it" if self.arity == 3 else "remove it"
            yield Problem(("dimensions",), what, fix)
        for place, files in enumerate(self.lists):
            if not files or any(template_fields(file) for file in files.values()):
                what, fix = "expected files by split, without fields", "write {train: train.txt}"
                yield Problem(("lists", place), what, fix)
        for place, template in enumerate(self.pictures):
            if "item" not in template_fields(template):
                yield Problem(("pictures", place), "has no {item}", "write imgs/{item}")


class RankedFeatures(Layout):
    """Features of items and the ranks of their groups, from which pairs are drawn.

    Attributes are named by ``classes``. Pairs are drawn by hash; validation has other pairs of the
    same items as training. Features are scaled to [0, 1] by their range in training.
    """

    file: Template = Field(description="The MATLAB file.")
    features: str = Field(description="Variable with the features, `[items, features]`.")
    labels: str = Field(description="Variable with the group of each item, from 1.")
    ranks: str = Field(
        description="Variable with whole numbers, `[attributes, groups]`; larger is more."
    )
    train: str = Field(description="Variable that is not 0 for items of the training set.")
    pairs: dict[Part, Count] = Field(description="Split → pairs drawn for each attribute.")
    feature_count: Count | None = Field(
        default=None,
        description="Number of features, to plan without the file; another is refused. Default: "
        "that of the file.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that the variables are different ones, and that there are pairs."""
        names = (self.features, self.labels, self.ranks, self.train)
        if len(set(names)) < len(names):
            yield Problem((), "names one variable twice", "name four different ones")
        if not self.pairs:
            yield Problem(("pairs",), "expected numbers by split, found {}", "write {train: 300}")


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
