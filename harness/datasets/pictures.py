"""Image files of a person: taken out of tar archives without unpacking, and decoded with care."""

from __future__ import annotations

import io
import lzma
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
"""What reading a damaged archive may raise."""


def archives(folder: Path) -> list[Path]:
    """The tar archives in a folder, by name."""
    return sorted(path for path in folder.iterdir() if ".tar" in path.suffixes)


def tar_images(
    archive: Path, wanted: Callable[[str], object], largest: int
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files whose names are wanted, in the archive's order.

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
        raise unreadable(archive, error) from error


@contextmanager
def opened(
    blob: bytes, where: str, size: tuple[int, int] | None, formats: tuple[str, ...]
) -> Iterator[Image]:
    """An image of this width and height (``None``: of any), to be decoded within the block.

    Raises:
        UserError: it is of another size, of none of these formats, or cut short.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(blob), formats=formats) as image:
            if size is not None and image.size != size:
                what = f"is {image.width}x{image.height} pixels"
                raise UserError(where, what, f"give images of {size[0]}x{size[1]}")
            yield image
    # A broken PNG is a SyntaxError to Pillow.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what = f"is not a whole {' or '.join(formats)} ({error})"
        raise UserError(where, what, "replace it") from error


def rgb(
    blob: bytes, where: str, size: tuple[int, int], formats: tuple[str, ...]
) -> NDArray[np.uint8]:
    """An image of any size and mode as uint8 ``[3, H, W]`` of this width and height.

    Resized by bilinear interpolation, nothing is cut off.

    Raises:
        UserError: as ``opened``.
    """
    from PIL import Image

    with opened(blob, where, None, formats) as image:
        small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        return np.asarray(small).transpose(2, 0, 1)


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that the system or its format will not give."""
    reason = " ".join(str(error).split())
    return UserError(str(path), f"cannot be read ({reason})", "give a whole, readable file")
