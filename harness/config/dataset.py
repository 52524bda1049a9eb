"""Model of a data set's manifest (``schema: dataset/1``), checked once and then trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from harness.common.errors import UserError
from harness.config.dataset_fields import Part
from harness.config.dataset_layouts import LABELLED, TASKS_OF_LAYOUT, LayoutEntry
from harness.config.field_types import (
    MOST_SIDE,
    AnyValue,
    Count,
    Line,
    Name,
    NonEmpty,
    Set,
    Side,
    Task,
)
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import Document, quote
from harness.config.validation import name_problems, read_all, read_model

MANIFEST = "dataset.yaml"
"""File in the folder of a data set that has one; others are ``<name>.yaml``."""
FOLDER = "benchmarks/data"

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _share(found: object) -> float | int:
    share = isinstance(found, float) and 0 < found < 1
    if isinstance(found, int | float) and (share or (type(found) is int and found >= 1)):
        return found
    what = f"expected a share below 1, or a number of examples, found {quote(found)}"
    raise field_error(what, "write for example 0.1, or 20")


Share: TypeAlias = Annotated[
    float | int,
    PlainValidator(_share),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
"""Share of the examples of each class, below 1; or their number."""


def _size(found: object) -> tuple[int, int] | int:
    sides: list[Any] = list(found) if isinstance(found, list | tuple) else [found]
    if len(sides) not in (1, 2) or not all(
        type(one) is int and 1 <= one <= MOST_SIDE for one in sides
    ):
        what = f"expected pixels of 1 to {MOST_SIDE}, found {quote(found)}"
        raise field_error(what, "write one side, or [width, height]")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


_SIDE_SCHEMA = {"type": "integer", "minimum": 1, "maximum": MOST_SIDE}
Size: TypeAlias = Annotated[
    tuple[int, int] | int,
    PlainValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [
                _SIDE_SCHEMA,
                {"type": "array", "items": _SIDE_SCHEMA, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]
"""Side of a square, or width and height, in pixels."""


class Picture(Strict):
    """Form in which pictures are stored."""

    channels: Literal[1, 3] = Field(
        default=3, description="Colours: 3 for RGB, 1 for grey. Default: 3."
    )
    size: Size | None = Field(
        default=None,
        description="Side, or width and height, that every file must have. Default: any; without "
        "`resize` all must be equal.",
    )
    resize: Size | None = Field(
        default=None,
        description="`[width, height]`: resized to it, without a crop. One number: the short side "
        "is resized to it, and the middle square is kept. Bilinear; class maps by nearest "
        "neighbour. Default: as it is.",
    )
    crop: Side | None = Field(
        default=None,
        description="Side of the middle square that networks get, of what is stored; training may "
        "crop at random. Default: all that is stored.",
    )
    lossless: bool = Field(
        default=False,
        description="`true`: published without loss, so that a copy in JPEG is named. Default: "
        "`false`.",
    )
    boxes: bool = Field(
        default=False,
        description="`true`: each picture is cut to its row's box first. Default: `false`.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that what is cropped is there."""
        size = self.resize or self.size
        smallest = min(size) if isinstance(size, tuple) else size
        if self.crop is not None and smallest is not None and self.crop > smallest:
            what = f"crop {self.crop} of pictures of {smallest} pixels"
            yield Problem(("crop",), what, f"give at most {smallest}")


class SplitRules(Strict):
    """Splits that the source does not give, cut from training by hash."""

    val: Share | None = Field(
        default=None,
        description="Share of the training examples of each class that becomes validation, where "
        "the source has none; a whole number: so many of each class. Where examples have groups, "
        "groups are counted. Default: none.",
    )
    test: Share | None = Field(
        default=None,
        description="Share or number of each class that becomes the test split, likewise. "
        "Default: none.",
    )


class Compare(Strict):
    """Pairs drawn from labelled pictures, for ranking."""

    attribute: Line = Field(description="What is compared, for example `speed limit`.")
    values: dict[str, int] = Field(
        description="Class, as the source or `classes` names it → value; +1 means that the first "
        "picture's is larger. Pictures of other classes are left out."
    )
    pairs: dict[Part, Count] = Field(description="Split → number of pairs, drawn by hash.")


class Published(Strict):
    """Contents of the set as it was published, to tell a part or another copy from it."""

    train: int = Field(default=0, ge=0, description="Training examples. Default: 0.")
    val: int = Field(default=0, ge=0, description="Validation examples. Default: 0.")
    test: int = Field(default=0, ge=0, description="Test examples. Default: 0.")
    total: int = Field(
        default=0,
        ge=0,
        description="Examples of all splits together, where shares are cut by group and nobody "
        "says how many examples that gives. Default: splits are compared.",
    )
    sha256: dict[Part, Sha256] = Field(
        default_factory=dict,
        description="Split → digest of its stored examples in any order, which `manifest.json` of "
        "a stored set says under `contents`. Default: counts are compared alone.",
    )


class Download(Strict):
    """Download by torchvision, where the terms allow it."""

    torchvision: str = Field(description="Class of `torchvision.datasets`, for example `GTSRB`.")
    splits: Set[AnyValue] = Field(
        default=(),
        description="Values of its argument `split`, or of `train` (`true`, `false`). Default: it "
        "has neither.",
    )


class DatasetManifest(Strict):
    """Data set, as its YAML file in `benchmarks/data/` describes it."""

    schema_: Literal["dataset/1"] = Field(
        alias="schema", description="Form of this file and its version; always `dataset/1`."
    )
    kind: Literal["dataset"] = Field(description="Always `dataset`.")
    name: Name = Field(description="Name of the data set, equal to its file's or folder's.")
    title: Line = Field(description="Name for people.")
    license: Line = Field(description="Terms of the data.")
    citation: Line = Field(description="Publication to cite.")
    source: Line = Field(description="Where the data come from; best an address.")
    note: Line | None = Field(
        default=None, description="What a reader of its figures should know. Default: nothing."
    )
    task: Task = Field(description="Task that its labels are for.")
    classes: Set[Line] = Field(
        default=(),
        description="Names of the classes in the order of their labels (in ranking: of the "
        "attributes). `label_maps` and `compare` name their own. Default: those of the source, "
        "sorted by name.",
    )
    class_count: Count | None = Field(
        default=None,
        description="Number of classes, where the source names them; another number is refused. "
        "Default: that of `classes`.",
    )
    picture: Picture | None = Field(
        default=None, description="Form of the pictures. Default: RGB, as they are."
    )
    layouts: NonEmpty[LayoutEntry] = Field(
        description="Where the source has its examples: for example `[{class_folders: {}}]`. The "
        "first layout that is there is read."
    )
    splits: SplitRules = Field(
        default=SplitRules(), description="Splits that are cut from training. Default: none."
    )
    compare: Compare | None = Field(
        default=None, description="Pairs to draw from labelled pictures. Default: none."
    )
    published: Published | None = Field(
        default=None,
        description="Numbers of examples in the published set, by split as it is stored here. A "
        "copy that differs is named on pages. Default: your own data, with nothing to compare.",
    )
    download: Download | None = Field(
        default=None, description="How to fetch it. Default: you have it, and say where."
    )
    folder: str | None = Field(
        default=None,
        description="Folder or archive with the source, seen from this file; `--from` wins. "
        "Default: none.",
    )

    def source_folder(self) -> Path | None:
        """Return the folder with the source, if the manifest names one."""
        if self.folder is None or self._document is None:
            return None
        folder = Path(self.folder)
        with contextlib.suppress(RuntimeError):  # the home of a user that is not there
            folder = folder.expanduser()
        return (self._document.path.parent / folder).resolve()

    def read_command(self) -> str:
        """Return the command that reads the set into the data folder.

        A set with a folder of its own may lie anywhere, and be unknown by name. Records and pages
        show the command, so that it has no path of this machine.
        """
        if self.folder is None or self._document is None:
            return f"gauntlet data fetch {self.name}"
        path = self._document.path
        return f"gauntlet check PATH/{path.parent.name if path.name == MANIFEST else path.name}"

    def reading(self) -> Mapping[str, object]:
        """Return all that decides the arrays: not the card, nor where the source lies.

        What is not said is left out, so that a new key of a layout changes no set that lacks it.
        """
        left_out = {"title", "license", "citation", "source", "note", "published", "download",
                    "folder", "schema_"}  # fmt: skip
        return self.model_dump(mode="json", exclude=left_out, exclude_defaults=True, warnings=False)

    def problems(self) -> Iterator[Problem]:
        """Check that the layout fits the task."""
        for place, entry in enumerate(self.layouts):
            tasks = TASKS_OF_LAYOUT[entry.kind]
            if self.task not in tasks:
                fits = [kind for kind, known in TASKS_OF_LAYOUT.items() if self.task in known]
                what = f"{entry.kind} is for {' and '.join(tasks)}, not for {self.task}"
                yield Problem(("layouts", place), what, f"choose of {', '.join(fits)}")
            elif self.task == "ranking" and entry.kind in LABELLED and self.compare is None:
                what = f"{entry.kind} has labels, and ranking needs comparisons"
                yield Problem(("compare",), what, "add compare, with the value of each label")
            elif self.task == "ranking" and entry.kind not in LABELLED and not self.classes:
                what = "ranking needs the names of its attributes"
                yield Problem(("classes",), what, "add them in the order of their numbers")
        if self.compare is not None and self.task != "ranking":
            what = f"means nothing for task: {self.task}"
            yield Problem(("compare",), what, "remove it; it is for ranking")
        if self.picture is not None and self.picture.crop and self.task != "classification":
            what = f"means nothing for task: {self.task}"
            yield Problem(("picture", "crop"), what, "remove it, or give resize")
        shares = [self.splits.val or 0, self.splits.test or 0]
        if sum(share for share in shares if isinstance(share, float)) >= 1:
            yield Problem(("splits",), "shares leave nothing to train on", "give smaller ones")


def load_dataset(path: Path) -> DatasetManifest:
    """Read a data set's manifest, named by its path or by its folder's.

    Raises:
        UserError: it is a link: errors would quote what it leads to.
        UserErrors: everything wrong with it.
    """
    file = path / MANIFEST if path.is_dir() else path
    if file.is_symlink():
        raise UserError(str(file), f"is a link to {file.readlink()}", "put the file itself there")
    return read_model(DatasetManifest, file, "dataset", _name_problems)


def check_datasets(root: Path) -> tuple[list[DatasetManifest], list[UserError]]:
    """Read every data set of a checkout; return the good ones, and every error of the others."""
    folder = root / FOLDER
    paths = [*folder.glob("*.yaml"), *folder.glob(f"*/{MANIFEST}")]
    return read_all(load_dataset, sorted(paths))


def dataset_schema() -> dict[str, Any]:
    """Return the JSON Schema of a data set's manifest for editors."""
    schema = DatasetManifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _name_problems(document: Document) -> Iterable[Problem]:
    path = document.path.resolve()
    yield from name_problems(document, path.parent.name if path.name == MANIFEST else path.stem)
