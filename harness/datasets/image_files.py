"""Reader of untrusted image files and tar archives: nothing is unpacked to disk."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

BROKEN = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError)
"""Exceptions that reading a damaged archive may raise."""


def list_archives(folder: Path) -> list[Path]:
    """Return the tar archives in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if ".tar" in path.suffixes)


def read_tar(
    archive: Path, wanted: Callable[[str], object], largest: int
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files of an archive that are wanted, in its order.

    Args:
        archive: the tar file, compressed or not.
        wanted: whether a file of this name is to be read.
        largest: limit of a file's size in bytes.

    Raises:
        UserError: a wanted file has more bytes than ``largest``, or the archive is broken.
    """
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                # Links and devices are never followed; a member's name is only ever matched.
                if not member.isreg() or not wanted(member.name):
                    continue
                if member.size > largest:
                    where = f"{archive}: {member.name}"
                    raise UserError(where, f"{member.size:,} bytes", "give small images")
                file = tar.extractfile(member)
                yield member.name, file.read() if file is not None else b""
    except BROKEN as error:
        raise unreadable_error(archive, error) from error


@contextmanager
def open_image(
    blob: bytes, where: str, size: tuple[int, int] | None, formats: tuple[str, ...]
) -> Iterator[Image]:
    """Open an image for decoding within the block.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        size: width and height that it must have; ``None`` for any.
        formats: accepted formats, by Pillow's names.

    Raises:
        UserError: the image has another size, none of these formats, or is truncated.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(blob), formats=formats) as image:
            if size is not None and image.size != size:
                what = f"is {image.width}x{image.height} pixels"
                raise UserError(where, what, f"give images of {size[0]}x{size[1]}")
            yield image
    # Pillow raises SyntaxError for a broken PNG.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow names the object that it read from, an address in memory
        reason = re.sub(r" ?<_io\.\S+ object at 0x[0-9a-f]+>", "", str(error))
        what = f"is not a whole {' or '.join(formats)} ({reason})"
        raise UserError(where, what, "replace it") from error


def read_rgb(
    blob: bytes, where: str, size: tuple[int, int], formats: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Read an image of any size and mode as uint8 ``[3, H, W]``.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        size: width and height of the result. Resizing is bilinear, without cropping.
        formats: accepted formats, by Pillow's names.

    Raises:
        UserError: as ``open_image``.
    """
    from PIL import Image

    with open_image(blob, where, None, formats) as image:
        small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        return np.asarray(small).transpose(2, 0, 1)


def unreadable_error(path: Path, error: Exception) -> UserError:
    """Return the error for a file that cannot be read or decoded."""
    reason = " ".join(str(error).split())
    return UserError(str(path), f"cannot be read ({reason})", "give a whole, readable file")
