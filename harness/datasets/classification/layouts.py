"""Readers of the forms in which people hold CIFAR-10 and Fashion-MNIST.

A reader gets a folder and answers ``None`` if its layout is not there; if it is there but broken,
it raises a ``UserError`` that names the file. Nothing is ever extracted outside a temporary folder.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.text import suggest
from harness.datasets.pictures import BROKEN, archives, opened, tar_images, unreadable
from harness.datasets.stored import sha256_of

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

LARGEST_FILE = 1 << 20
"""Bytes of one small image; more is not what it says it is."""
LARGEST_SET = 1 << 30
"""Bytes of a whole set unpacked (CIFAR-10 has 177 MB)."""
_IMAGE = re.compile(
    r"(?:\./)?(?P<part>train|test)/(?P<label>[^/]+)/(?P<file>[^/]+\.(?:png|jpe?g))", re.IGNORECASE
)
_BATCHES, _BATCHES_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@dataclass(frozen=True)
class Form:
    """What images and labels of a set must look like."""

    name: str
    classes: tuple[str, ...]
    channels: int
    side: int

    def label(self, text: str, where: str) -> int:
        """A class by its name or number."""
        known = {name: index for index, name in enumerate(self.classes)}
        known |= {str(index): index for index in range(len(self.classes))}
        if text not in known:
            hint = suggest(text, self.classes, "use one of")
            raise UserError(where, f"{text!r} is not a class of {self.name}", hint)
        return known[text]


@dataclass(frozen=True)
class Found:
    """What a reader made of a folder.

    Attributes:
        train_x, test_x: uint8 ``[N, C, H, W]``. train_y, test_y: int64 ``[N]``.
        files: file read → its sha256 (for a folder of images, one over all of them).
        lossy: some images were JPEG. note: what a reader of results has to know, or empty.
    """

    train_x: Pixels
    train_y: Labels
    test_x: Pixels
    test_y: Labels
    files: dict[str, str]
    lossy: bool = False
    note: str = ""


def batches(folder: Path, form: Form) -> Found | None:
    """Torchvision's CIFAR-10: ``cifar-10-batches-py/``, or the archive that it downloads."""
    archive = folder / _BATCHES_ARCHIVE
    if (folder / _BATCHES).is_dir():
        files = {
            str(path.relative_to(folder)): sha256_of(path)
            for path in sorted((folder / _BATCHES).glob("*_batch*"))
        }
        return _batches(folder, files)
    if not archive.is_file():
        return None
    with tempfile.TemporaryDirectory() as scratch:
        _extract(archive, Path(scratch))
        return _batches(Path(scratch), {archive.name: sha256_of(archive)})


def _batches(folder: Path, files: dict[str, str]) -> Found:
    from torchvision.datasets import CIFAR10

    # Torchvision unpickles only files whose MD5 it knows.
    try:
        train, test = CIFAR10(folder, train=True), CIFAR10(folder, train=False)
    except RuntimeError as error:
        raise UserError(
            str(folder / _BATCHES),
            "a file is missing, or its MD5 is not the published one",
            "give the folder of a complete download",
        ) from error
    return Found(
        train_x=np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)),
        train_y=np.array(train.targets, dtype=np.int64),
        test_x=np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)),
        test_y=np.array(test.targets, dtype=np.int64),
        files=files,
    )


def _extract(archive: Path, target: Path) -> None:
    """Unpack the regular files of an archive, and nothing that leaves the target."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isreg()]
            if sum(member.size for member in members) > LARGEST_SET:
                raise UserError(str(archive), "unpacks to over 1 GiB", "give the original file")
            tar.extractall(target, members=members, filter="data")
    except BROKEN as error:
        raise unreadable(archive, error) from error


def idx(folder: Path, form: Form) -> Found | None:
    """Fashion-MNIST's IDX files, here or in ``FashionMNIST/raw``, plain or gzipped.

    ``train-first10k-images-…`` stands in for the training images: it has the first of them, and
    the labels after those are left out. Everywhere else images and labels must be equally many.
    """
    names = {
        "train_x": ("train-images-idx3-ubyte", "train-first10k-images-idx3-ubyte"),
        "train_y": ("train-labels-idx1-ubyte",),
        "test_x": ("t10k-images-idx3-ubyte",),
        "test_y": ("t10k-labels-idx1-ubyte",),
    }
    paths = {key: _first_idx(folder, options) for key, options in names.items()}
    if not any(paths.values()):
        return None
    for key, path in paths.items():
        if path is None:
            what = f"has no {' or '.join(names[key])} (.gz)"
            raise UserError(str(folder), what, "put the missing file beside the others")
    found = {key: path for key, path in paths.items() if path is not None}
    arrays = {key: _read_idx(path) for key, path in found.items()}
    note = ""
    if "first10k" in found["train_x"].name:
        count, total = len(arrays["train_x"]), len(arrays["train_y"])
        arrays["train_y"] = arrays["train_y"][:count]
        note = f"only the first {count:,} of {total:,} training images"
    for part in ("train", "test"):
        _check_idx(found[f"{part}_x"], arrays[f"{part}_x"], arrays[f"{part}_y"], form)
    return Found(
        train_x=arrays["train_x"][:, np.newaxis],
        train_y=arrays["train_y"].astype(np.int64),
        test_x=arrays["test_x"][:, np.newaxis],
        test_y=arrays["test_y"].astype(np.int64),
        files={str(path.relative_to(folder)): sha256_of(path) for path in found.values()},
        note=note,
    )


def _first_idx(folder: Path, options: tuple[str, ...]) -> Path | None:
    for name in options:
        for place in (folder, folder / "FashionMNIST" / "raw"):
            for path in (place / f"{name}.gz", place / name):
                if path.is_file():
                    return path
    return None


def _read_idx(path: Path) -> Pixels:
    """An array of bytes: magic 0, 0, 8, dimensions; each length as big-endian uint32; the data."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(LARGEST_SET)
    except BROKEN as error:
        raise unreadable(path, error) from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise UserError(str(path), "is not an IDX file of bytes", "give the original file")
    start = 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4:start], dtype=">u4").tolist())
    data = np.frombuffer(raw, dtype=np.uint8, offset=min(start, len(raw)))
    if len(shape) != raw[3] or len(data) != int(np.prod(shape, dtype=object)):
        what = f"says that it holds {shape} bytes, but {len(data):,} are there"
        raise UserError(str(path), what, "give the original file: this one is cut short or damaged")
    return data.reshape(shape)


def _check_idx(path: Path, images: Pixels, labels: Pixels, form: Form) -> None:
    if images.ndim != 3 or images.shape[1:] != (form.side, form.side) or labels.ndim != 1:
        what = f"images have shape {images.shape}, labels {labels.shape}"
    elif len(images) != len(labels) or not len(images):
        what = f"{len(images):,} images, but {len(labels):,} labels"
    elif labels.max() >= len(form.classes):
        what = f"label {labels.max()} of {len(form.classes)} classes"
    else:
        return
    raise UserError(str(path), what, "give image and label files that belong together")


def class_folders(folder: Path, form: Form) -> Found | None:
    """``train/<class>/*.png|jpg`` and ``test/<class>/…``, as folders or inside tar archives.

    Images are ordered by class, then by file name. Archives are read without being unpacked.
    """
    parts: dict[str, _Part] = {}
    files: dict[str, str] = {}
    for source in (folder, *archives(folder)):
        held = _collect(source, form)
        for name, part in held.items():
            if name in parts:
                what = f"{name} images are in {parts[name].source} and in {part.source}"
                raise UserError(str(folder), what, "leave one of them")
            parts[name] = part
            files[part.source] = part.digest if source is folder else sha256_of(source)
    if not parts:
        return None
    for name in ("train", "test"):
        if name not in parts:
            raise UserError(str(folder), f"has no {name}/<class>/ images", "add them")
    train, test = parts["train"], parts["test"]
    lossy = train.lossy or test.lossy
    return Found(
        train_x=train.x,
        train_y=train.y,
        test_x=test.x,
        test_y=test.y,
        files=files,
        lossy=lossy,
        note="from JPEG: do not compare with published figures" if lossy else "",
    )


@dataclass(frozen=True)
class _Part:
    """The images of one split from one place."""

    source: str
    x: Pixels
    y: Labels
    lossy: bool
    digest: str


def _collect(source: Path, form: Form) -> dict[str, _Part]:
    """Decode what a folder or an archive holds of each split."""
    held: dict[str, dict[tuple[int, str], tuple[Pixels, bool, bytes]]] = {}
    for name, blob in _images(source):
        match = _IMAGE.fullmatch(name)
        if match is None:
            continue
        where = f"{source}: {name}"
        key = form.label(match["label"], where), match["file"]
        pixels, lossy = _decode(blob, form, where)
        part = held.setdefault(match["part"].lower(), {})
        if key in part:
            raise UserError(where, "the class holds two images of this name", "leave one of them")
        part[key] = pixels, lossy, hashlib.sha256(blob).digest()
    result = {}
    for name, images in held.items():
        keys = sorted(images)
        digest = hashlib.sha256()
        for key in keys:
            digest.update(f"{key[0]}/{key[1]}\n".encode() + images[key][2])
        result[name] = _Part(
            source=f"{name}/" if source.is_dir() else source.name,
            x=np.stack([images[key][0] for key in keys]),
            y=np.array([key[0] for key in keys], dtype=np.int64),
            lossy=any(images[key][1] for key in keys),
            digest=digest.hexdigest(),
        )
    return result


def _images(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        return _folder_images(source)
    return tar_images(source, _IMAGE.fullmatch, LARGEST_FILE)


def _folder_images(folder: Path) -> Iterator[tuple[str, bytes]]:
    for part in ("train", "test"):
        for path in sorted(folder.glob(f"{part}/*/*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and _IMAGE.fullmatch(name):
                yield name, path.read_bytes()


def _decode(blob: bytes, form: Form, where: str) -> tuple[Pixels, bool]:
    """Pixels ``[C, H, W]``, and whether they came through JPEG."""
    side = form.side
    with opened(blob, where, (side, side), ("PNG", "JPEG")) as image:
        pixels = np.array(image.convert("RGB" if form.channels == 3 else "L"))
        lossy = image.format == "JPEG"
    return pixels.reshape(side, side, form.channels).transpose(2, 0, 1), lossy
