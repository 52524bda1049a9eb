"""Names of a source's files, and the few of them whose content a guess needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.files.source_files import find_files
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.formats import is_picture
from harness.datasets.pictures.reader import read_picture

Json = dict[str, Any]

SAMPLE = 60
"""Pictures that are looked at; ``gauntlet check`` reads all."""
LARGEST = 1 << 28
"""Limit in bytes of a file that a guess reads."""
WORDS: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "t10k"),
}
"""Split → words for it in names of folders, files and arrays."""


@dataclass(frozen=True)
class Guess:
    """What a folder seems to be.

    Attributes:
        task: the task.
        layout: name of the layout and its keys, as in a manifest.
        fields: further keys of the manifest.
        said: a line for each thing that was guessed.
        share: share of the pictures that it explains; of arrays 1.
        of_files: whether it reads files of pictures; else values in lists or arrays.
    """

    task: str
    layout: Json
    fields: Json
    said: tuple[str, ...]
    share: float = 1.0
    of_files: bool = True


@dataclass(frozen=True)
class Survey:
    """Files of a source.

    Attributes:
        source: a folder or an archive.
        names: names of all files, in the folder and in its archives, sorted.
    """

    source: Path
    names: Sequence[str]
    _known: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def pictures(self) -> list[str]:
        """Names of the pictures."""
        return [name for name in self.names if is_picture(name)]

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the content of some files, as far as they can be read, in one pass."""
        if missing := frozenset(names) - self._known.keys():
            files = find_files(self.source, missing.__contains__, LARGEST, _ignored())
            self._known.update((file.name, file.read()) for file in files)
        return {name: self._known[name] for name in names if name in self._known}

    def sample(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files that are spread evenly over the names."""
        step = max(1, len(names) // SAMPLE)
        return self.read(names[::step][:SAMPLE])


def survey(source: Path) -> Survey:
    """Return the files of a source; what is wrong with them is left to the reader.

    Raises:
        UserError: the folder or an archive cannot be read.
    """
    names: set[str] = set()
    for _ in find_files(source, names.add, LARGEST, _ignored()):
        pass  # names.add returns None, so that no file is wanted
    return Survey(source, sorted(names))


def _ignored() -> Mistakes:
    return Mistakes("")


def part_of(text: str) -> Part | None:
    """Return the split that a name is of.

    >>> part_of("Final_Training"), part_of("x_test"), part_of("contest")
    ('train', 'test', None)
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    return next((part for part in PARTS if set(words) & set(WORDS[part])), None)


def split_fields(found: Collection[Part]) -> tuple[Json, list[str]]:
    """Return the shares to cut where a source has some splits, and what was decided.

    Args:
        found: splits that the source gives; empty: all examples are of no split.
    """
    if not found:
        said = "splits: none found; a fifth of each class is cut for test, a tenth for validation"
        return {"splits": {"val": 0.1, "test": 0.2}}, [said]
    given = ", ".join(part for part in PARTS if part in found)
    if "train" not in found:
        return {}, [f"splits: {given} alone, for victims that come with weights"]
    lacking = {"val": 0.1, "test": 0.2}
    shares = {part: share for part, share in lacking.items() if part not in found}
    cut = {"val": "a tenth for validation", "test": "a fifth for test"}
    what = " and ".join(cut[part] for part in shares)
    said = f"splits: {given}" + (
        f"; {what} {'are' if len(shares) > 1 else 'is'} cut from train" if what else ""
    )
    return ({"splits": shares} if shares else {}), [said]


def part_names(texts: Iterable[str]) -> dict[Part, list[str]]:
    """Return split → what a source calls it; a source without test is tested on validation."""
    found: dict[Part, list[str]] = {}
    for text in sorted(set(texts)):
        if (part := part_of(text)) is not None:
            found.setdefault(part, []).append(text)
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return {part: found[part] for part in PARTS if part in found}


def named_parts(parts: Mapping[Part, Sequence[str]]) -> Json:
    """Return the key ``parts`` of a layout, unless the source's words are the usual ones."""
    usual = all([one.lower() for one in texts] == [part] for part, texts in parts.items())
    short = {part: texts[0] if len(texts) == 1 else list(texts) for part, texts in parts.items()}
    return {} if usual else {"parts": short}


def picture_fields(files: Survey, names: Sequence[str]) -> tuple[Json, list[str]]:
    """Return the key ``picture`` of some pictures, and what was seen."""
    shapes: set[tuple[int, int]] = set()
    grey, broken = True, 0
    blobs = files.sample(names)
    for name, blob in blobs.items():
        try:
            pixels = read_picture(blob, name, Picture(channels=3)).pixels
        except UserError:
            broken += 1
            continue
        shapes.add((pixels.shape[2], pixels.shape[1]))
        grey = grey and bool((pixels == pixels[:1]).all())
    if not shapes:
        return {}, [f"pictures: none of {len(blobs)} that were tried can be read"]
    channels, colour = (1, "grey") if grey else (3, "RGB")
    sides = sorted(min(shape) for shape in shapes)
    if len(shapes) == 1:
        fields, said = sized_picture(channels, *next(iter(shapes)))
    else:
        resize = _usual(sides[len(sides) // 2])
        fields = {"picture": {"channels": channels, "resize": resize}}
        said = f"{colour}, short sides of {sides[0]} to {sides[-1]} pixels, resized to {resize} "
        said += "and cropped to the middle square"
    said += f" ({len(blobs)} of {len(names):,} were looked at"
    said += f", {broken} cannot be read)" if broken else ")"
    return fields, [f"pictures: {said}"]


def sized_picture(channels: int, width: int, height: int) -> tuple[Json, str]:
    """Return the key ``picture`` of pictures of one size, and the form in words."""
    size = width if width == height else [width, height]
    colour = "RGB" if channels == 3 else "grey"
    return {"picture": {"channels": channels, "size": size}}, f"{width}x{height} {colour}"


def _usual(side: int) -> int:
    """Return the largest usual side that is not above a given one."""
    usual = (16, 28, 32, 48, 64, 96, 128, 160, 224, 256)
    return max((one for one in usual if one <= side), default=side)


def counted_classes(names: Collection[str], origin: str) -> tuple[Json, str]:
    """Return the key ``class_count``, and where it comes from."""
    return {"class_count": len(names)}, f"classes: {len(names):,}, from {origin}"
