"""Images that comparison lists name: found in a folder, brought to one size, stored row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.datasets.pictures import rgb, unreadable
from harness.datasets.stored import rows

SIZE = (224, 224)
"""Width and height of a stored image, whatever the file's: nothing is cut off."""


def write(
    folder: Path,
    places: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    out: Path,
    name: str,
) -> dict[str, str]:
    """Store each part's images as ``<part>_x.npy``, uint8 ``[N, 3, 224, 224]``, in its order.

    Args:
        folder: the source. places: where in it images may lie; the first that is there counts, and
            ``imgs`` where none is.
        parts: part → file names. name: the data set's, for the meter.

    Returns:
        The folder that was read → one sha256 over its files.

    Raises:
        UserError: images are missing (one line for all), or one is not an image.
    """
    wanted = sorted({file for files in parts.values() for file in files})
    place = next((one for one in places if (folder / one).is_dir()), "imgs")
    paths = _paths(folder / place, wanted)
    marks = []
    with ExitStack() as stack, Meter(f"{name}: images") as meter:
        puts = {
            part: stack.enter_context(rows(out / f"{part}_x.npy", (len(files), 3, *SIZE[::-1])))
            for part, files in parts.items()
        }
        row_of = {part: {file: row for row, file in enumerate(parts[part])} for part in parts}
        for done, file in enumerate(wanted, start=1):
            blob = _read(paths[file])
            pixels = rgb(blob, str(paths[file]), SIZE, ("JPEG", "PNG"))
            for part, known in row_of.items():
                if file in known:
                    puts[part](known[file], pixels)
            marks.append(f"{file} {hashlib.sha256(blob).hexdigest()}")
            meter.update(done, len(wanted), file)
    return {f"{place}/": hashlib.sha256("\n".join(marks).encode()).hexdigest()}


def _paths(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Where each image is; how a name is cased does not matter, for copies differ in it."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    known = {path.name.lower(): path for path in reversed(there)}
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
        raise unreadable(path, error) from error
