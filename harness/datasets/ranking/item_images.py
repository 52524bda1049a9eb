"""Writer of the images that comparison lists name: resized and stored row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.datasets.cache import open_row_writer
from harness.datasets.image_files import read_rgb, unreadable_error

SIZE = (224, 224)
"""Width and height of a stored image; files are resized without cropping."""


def write_images(
    source: Path,
    folders: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    out: Path,
    name: str,
) -> dict[str, str]:
    """Store the images of each split as ``<split>_x.npy``, uint8 ``[N, 3, 224, 224]``.

    Args:
        source: the source folder.
        folders: its folders that may hold the images; the first that exists is read (default:
            ``imgs``).
        parts: split → file names, in order.
        out: folder for the arrays.
        name: of the data set, for the progress meter.

    Returns:
        Folder that was read → one SHA-256 over its files.

    Raises:
        UserError: images are missing (one line for all), or a file is not an image.
    """
    wanted = sorted({file for files in parts.values() for file in files})
    folder = next((name for name in folders if (source / name).is_dir()), "imgs")
    paths = _find_images(source / folder, wanted)
    digests = []
    with ExitStack() as stack, Meter(f"{name}: images") as meter:
        writers = {
            part: stack.enter_context(
                open_row_writer(out / f"{part}_x.npy", (len(files), 3, *SIZE[::-1]))
            )
            for part, files in parts.items()
        }
        row_of = {part: {file: row for row, file in enumerate(parts[part])} for part in parts}
        for done, file in enumerate(wanted, start=1):
            blob = _read(paths[file])
            pixels = read_rgb(blob, str(paths[file]), SIZE, ("JPEG", "PNG"))
            for part, known in row_of.items():
                if file in known:
                    writers[part](known[file], pixels)
            digests.append(f"{file} {hashlib.sha256(blob).hexdigest()}")
            meter.update(done, len(wanted), file)
    return {f"{folder}/": hashlib.sha256("\n".join(digests).encode()).hexdigest()}


def _find_images(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Return the path of each image, regardless of case: copies differ in it."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    known = {path.name.lower(): path for path in reversed(paths)}
    lacking = [file for file in wanted if file.lower() not in known]
    if lacking:
        raise UserError(
            str(folder),
            f"{len(lacking):,} of {len(wanted):,} images are missing, {lacking[0]} first",
            "put all images that the lists name into this folder",
        )
    return {file: known[file.lower()] for file in wanted}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable_error(path, error) from error
