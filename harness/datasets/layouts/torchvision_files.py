"""Layout ``torchvision``: the batches of CIFAR, which are pickles.

Torchvision unpickles only files whose MD5 it knows.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.common.errors import UserError
from harness.common.keys import file_digest
from harness.config.dataset_fields import Part
from harness.config.dataset_layouts import Torchvision
from harness.datasets.examples import Found, Source
from harness.datasets.files.archives import BROKEN, refuse_link, unreadable_error
from harness.datasets.layouts.array_rows import Rows, find_rows

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

LARGEST = 1 << 30
"""Limit of what an archive unpacks to, in bytes; that of CIFAR-10 has 186 MB."""


def find(layout: Torchvision, source: Source) -> Found | None:
    """Return the pictures of the folder or of the archive; ``None`` without both.

    Nothing is extracted outside a temporary folder.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, layout.class_)
    for place in (source.folder, *(source.folder / name for name in layout.below)):
        batches, archive = place / kind.base_folder, place / kind.filename
        if batches.is_dir():
            files = {}
            for path in sorted(batches.iterdir()):
                refuse_link(path)
                files[str(path.relative_to(source.folder))] = file_digest(path)
            return _read(kind, place, source, files)
        if archive.is_file():
            refuse_link(archive)
            with tempfile.TemporaryDirectory() as scratch:
                _extract(archive, Path(scratch))
                files = {str(archive.relative_to(source.folder)): file_digest(archive)}
                return _read(kind, Path(scratch), source, files)
    return None


def _read(kind: type[CIFAR10], folder: Path, source: Source, files: dict[str, str]) -> Found | None:
    where = str(folder / kind.base_folder)
    try:
        sets: dict[Part, CIFAR10] = {
            "train": kind(folder, train=True), "test": kind(folder, train=False)
        }  # fmt: skip
    except RuntimeError as error:
        what = "a file is missing, or its MD5 is not the published one"
        raise UserError(where, what, "give the folder of a complete download") from error
    parts = {
        part: Rows(one.data.transpose(0, 3, 1, 2), np.array(one.targets), where, where)
        for part, one in sets.items()
    }
    return find_rows(source, parts, files)


def _extract(archive: Path, target: Path) -> None:
    """Unpack the regular files of an archive; the filter refuses names outside the target."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isreg()]
            if sum(member.size for member in members) > LARGEST:
                raise UserError(str(archive), "unpacks to over 1 GiB", "give the original file")
            tar.extractall(target, members=members, filter="data")
    except BROKEN as error:
        raise unreadable_error(archive, error) from error
