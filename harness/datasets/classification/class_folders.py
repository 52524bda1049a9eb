"""Reader of image sets with one folder for each class, as folders or inside tar archives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets.cache import file_sha256
from harness.datasets.classification.layouts import ImageSet, ImageSetLayout, Labels, Pixels
from harness.datasets.image_files import Picture, PictureForm, read_picture
from harness.datasets.mistakes import Mistakes
from harness.datasets.remarks import Remarks
from harness.datasets.source_files import find_files

LARGEST_FILE = 1 << 20
"""Limit of one image file in bytes."""

_IMAGE = re.compile(
    r"(?:\./)?(?P<part>train|test)/(?P<label>[^/]+)/(?P<file>[^/]+\.(?:png|jpe?g))", re.IGNORECASE
)

Images = dict[tuple[int, str], tuple[Picture, str, bytes]]
"""Label and file name → picture, name in the source, SHA-256 of the file."""


@dataclass(frozen=True)
class _Part:
    """The images of one split from one place.

    Attributes:
        x: uint8 ``[N, C, H, W]``.
        y: int64 ``[N]``.
        names: name of each image in the source.
        lossy: whether some images were JPEG.
        digest: SHA-256 over all files.
    """

    x: Pixels
    y: Labels
    names: tuple[str, ...]
    lossy: bool
    digest: str


def read_class_folders(folder: Path, layout: ImageSetLayout) -> ImageSet | None:
    """Read ``train/<class>/*.png|jpg`` and ``test/<class>/…``, as folders or inside tar archives.

    Images are ordered by class, then by file name. Archives are read without being unpacked.
    Returns ``None`` where there is no such image.

    Raises:
        UserError: all mistakes of the source at once: the first 20 and their count.
    """
    mistakes, remarks = Mistakes(str(folder)), Remarks()
    found = _read_images(folder, layout, mistakes, remarks)
    if not found and not mistakes.count:
        return None
    _check_parts(folder, found, mistakes)
    mistakes.check()
    parts = {name: _stack(images) for (name, _), images in found.items()}
    files = dict(
        (f"{name}/", parts[name].digest)
        if archive is None
        else (archive.name, file_sha256(archive))
        for name, archive in found
    )
    train, test = parts["train"], parts["test"]
    lossy = train.lossy or test.lossy
    if lossy:
        remarks.say("from JPEG: do not compare with published figures")
    return ImageSet(
        train_x=train.x,
        train_y=train.y,
        test_x=test.x,
        test_y=test.y,
        files=files,
        lossy=lossy,
        note=remarks.note(),
        names={name: part.names for name, part in parts.items()},
    )


def _read_images(
    folder: Path, layout: ImageSetLayout, mistakes: Mistakes, remarks: Remarks
) -> dict[tuple[str, Path | None], Images]:
    """Decode the images of each split in the folder and in each archive."""
    found: dict[tuple[str, Path | None], Images] = {}
    form = PictureForm(layout.channels, ("PNG", "JPEG"), size=(layout.side, layout.side))
    unknown: set[str] = set()
    for file in find_files(folder, ("train", "test"), _IMAGE.fullmatch, LARGEST_FILE, mistakes):
        match = _IMAGE.fullmatch(file.name)
        assert match is not None  # find_files yields matching names only
        if match["label"] in unknown:
            continue
        with mistakes.gather():
            try:
                key = layout.label(match["label"], file.where), match["file"]
            except UserError:
                unknown.add(match["label"])  # once a class, not once an image
                raise
            images = found.setdefault((match["part"].lower(), file.archive), {})
            if key in images:
                what = "the class holds two images of this name"
                raise UserError(file.where, what, "leave one of them")
            blob = file.read()
            picture = read_picture(blob, file.where, form)
            remarks.add(picture.remarks)
            images[key] = picture, file.name, hashlib.sha256(blob).digest()
    return found


def _check_parts(
    folder: Path, found: Mapping[tuple[str, Path | None], Images], mistakes: Mistakes
) -> None:
    """Check that each split has images, all of them in one place."""
    for part in ("train", "test"):
        places = [archive for name, archive in found if name == part]
        if not places and not mistakes.count:
            mistakes.add(UserError(str(folder), f"has no {part}/<class>/ images", "add them"))
        if len(places) > 1:
            first, second = (f"{part}/" if one is None else one.name for one in places[:2])
            what = f"{part} images are in {first} and in {second}"
            mistakes.add(UserError(str(folder), what, "leave one of them"))


def _stack(images: Images) -> _Part:
    """Stack images that are given by label and file name, ordered by both."""
    keys = sorted(images)
    digest = hashlib.sha256()
    for key in keys:
        digest.update(f"{key[0]}/{key[1]}\n".encode() + images[key][2])
    return _Part(
        x=np.stack([images[key][0].pixels for key in keys]),
        y=np.array([key[0] for key in keys], dtype=np.int64),
        names=tuple(images[key][1] for key in keys),
        lossy=any(images[key][0].format != "PNG" for key in keys),
        digest=digest.hexdigest(),
    )
