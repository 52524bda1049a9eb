"""Reader of image sets with one folder for each class, as folders or inside tar archives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets.cache import file_sha256
from harness.datasets.classification.layouts import ImageSet, ImageSetLayout, Labels, Pixels
from harness.datasets.image_files import list_archives, open_image, read_tar

LARGEST_FILE = 1 << 20
"""Limit of one image file in bytes."""

_IMAGE = re.compile(
    r"(?:\./)?(?P<part>train|test)/(?P<label>[^/]+)/(?P<file>[^/]+\.(?:png|jpe?g))", re.IGNORECASE
)


@dataclass(frozen=True)
class _Part:
    """The images of one split from one place.

    Attributes:
        source: the folder or archive, for messages.
        x: uint8 ``[N, C, H, W]``.
        y: int64 ``[N]``.
        lossy: whether some images were JPEG.
        digest: SHA-256 over all files.
    """

    source: str
    x: Pixels
    y: Labels
    lossy: bool
    digest: str


def read_class_folders(folder: Path, layout: ImageSetLayout) -> ImageSet | None:
    """Read ``train/<class>/*.png|jpg`` and ``test/<class>/…``, as folders or inside tar archives.

    Images are ordered by class, then by file name. Archives are read without being unpacked.
    Returns ``None`` where there is no such image.
    """
    parts: dict[str, _Part] = {}
    files: dict[str, str] = {}
    for source in (folder, *list_archives(folder)):
        for name, part in _read_source(source, layout).items():
            if name in parts:
                what = f"{name} images are in {parts[name].source} and in {part.source}"
                raise UserError(str(folder), what, "leave one of them")
            parts[name] = part
            files[part.source] = part.digest if source is folder else file_sha256(source)
    if not parts:
        return None
    for name in ("train", "test"):
        if name not in parts:
            raise UserError(str(folder), f"has no {name}/<class>/ images", "add them")
    train, test = parts["train"], parts["test"]
    lossy = train.lossy or test.lossy
    return ImageSet(
        train_x=train.x,
        train_y=train.y,
        test_x=test.x,
        test_y=test.y,
        files=files,
        lossy=lossy,
        note="from JPEG: do not compare with published figures" if lossy else "",
    )


def _read_source(source: Path, layout: ImageSetLayout) -> dict[str, _Part]:
    """Decode the images of each split in a folder or an archive."""
    images: dict[str, dict[tuple[int, str], tuple[Pixels, bool, bytes]]] = {}
    for name, blob in _image_files(source):
        match = _IMAGE.fullmatch(name)
        if match is None:
            continue
        where = f"{source}: {name}"
        key = layout.label(match["label"], where), match["file"]
        pixels, lossy = _decode(blob, layout, where)
        part = images.setdefault(match["part"].lower(), {})
        if key in part:
            raise UserError(where, "the class holds two images of this name", "leave one of them")
        part[key] = pixels, lossy, hashlib.sha256(blob).digest()
    return {
        name: _stack(f"{name}/" if source.is_dir() else source.name, part)
        for name, part in images.items()
    }


def _stack(source: str, images: dict[tuple[int, str], tuple[Pixels, bool, bytes]]) -> _Part:
    """Stack images that are given by label and file name, ordered by both."""
    keys = sorted(images)
    digest = hashlib.sha256()
    for key in keys:
        digest.update(f"{key[0]}/{key[1]}\n".encode() + images[key][2])
    return _Part(
        source=source,
        x=np.stack([images[key][0] for key in keys]),
        y=np.array([key[0] for key in keys], dtype=np.int64),
        lossy=any(images[key][1] for key in keys),
        digest=digest.hexdigest(),
    )


def _image_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each image in a folder or an archive."""
    if source.is_dir():
        return _folder_files(source)
    return read_tar(source, _IMAGE.fullmatch, LARGEST_FILE)


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for part in ("train", "test"):
        for path in sorted(folder.glob(f"{part}/*/*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and _IMAGE.fullmatch(name):
                yield name, path.read_bytes()


def _decode(blob: bytes, layout: ImageSetLayout, where: str) -> tuple[Pixels, bool]:
    """Return pixels ``[C, H, W]``, and whether the file is a JPEG."""
    side = layout.side
    with open_image(blob, where, (side, side), ("PNG", "JPEG")) as image:
        pixels = np.array(image.convert("RGB" if layout.channels == 3 else "L"))
        lossy = image.format == "JPEG"
    return pixels.reshape(side, side, layout.channels).transpose(2, 0, 1), lossy
