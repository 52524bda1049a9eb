"""Writer of the images that comparison lists name: resized and stored row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.datasets.archives import refuse_link, unreadable_error
from harness.datasets.cache import open_row_writer
from harness.datasets.image_files import PictureForm, read_picture
from harness.datasets.mistakes import Mistakes
from harness.datasets.names import fold, is_ignored
from harness.datasets.remarks import Remarks

SIZE = (224, 224)
"""Width and height of a stored image; files are resized without cropping."""


def write_images(
    source: Path,
    folders: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    out: Path,
    name: str,
    remarks: Remarks,
) -> dict[str, str]:
    """Store the images of each split as ``<split>_x.npy``, uint8 ``[N, 3, 224, 224]``.

    Args:
        source: the source folder.
        folders: its folders that may hold the images; the first that exists is read (default:
            ``imgs``).
        parts: split → file names, in order.
        out: folder for the arrays.
        name: of the data set, for the progress meter.
        remarks: gets what is to be said of the images.

    Returns:
        Folder that was read → one SHA-256 over its files.

    Raises:
        UserError: images are missing (one line for all), or files are not images (all at once).
    """
    wanted = sorted({file for files in parts.values() for file in files})
    folder = next((name for name in folders if (source / name).is_dir()), "imgs")
    paths = _find_images(source / folder, wanted)
    form = PictureForm(3, ("JPEG", "PNG"), resized=SIZE)
    digests = []
    mistakes = Mistakes(str(source / folder))
    with ExitStack() as stack, Meter(f"{name}: images") as meter:
        writers = {
            part: stack.enter_context(
                open_row_writer(out / f"{part}_x.npy", (len(files), 3, *SIZE[::-1]))
            )
            for part, files in parts.items()
        }
        row_of = {part: {file: row for row, file in enumerate(parts[part])} for part in parts}
        for done, file in enumerate(wanted, start=1):
            with mistakes.gather():
                blob = _read(paths[file])
                picture = read_picture(blob, str(paths[file]), form)
                remarks.add(picture.remarks)
                for part, known in row_of.items():
                    if file in known:
                        writers[part](known[file], picture.pixels)
                digests.append(f"{file} {hashlib.sha256(blob).hexdigest()}")
            meter.update(done, len(wanted), file)
    mistakes.check()
    return {f"{folder}/": hashlib.sha256("\n".join(digests).encode()).hexdigest()}


def _find_images(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Return the path of each image: of its exact name, else of the only one but for case.

    Copies differ in case. Links are refused, hidden files ignored.

    Raises:
        UserError: images are missing (one line for all), are links, or several files differ from
            a listed name in case alone.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    exact = {path.name: path for path in paths if not is_ignored(path.name)}
    alike: dict[str, list[Path]] = {}
    for name, path in exact.items():
        alike.setdefault(fold(name), []).append(path)
    lacking = [file for file in wanted if fold(file) not in alike]
    if lacking:
        raise UserError(
            str(folder),
            f"{len(lacking):,} of {len(wanted):,} images are missing, {lacking[0]} first",
            "put all images that the lists name into this folder",
        )
    mistakes, chosen = Mistakes(str(folder)), {}
    for file in wanted:
        candidates = [exact[file]] if file in exact else alike[fold(file)]
        if len(candidates) > 1:
            names = " and ".join(path.name for path in candidates)
            what = f"{names} differ from the listed {file} in case or accents alone"
            mistakes.add(UserError(str(folder), what, "give one of them the listed name"))
        with mistakes.gather():
            refuse_link(candidates[0])
        chosen[file] = candidates[0]
    mistakes.check()
    return chosen


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable_error(path, error) from error
