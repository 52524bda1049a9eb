"""Opening of untrusted image files: what is damaged, too large, or something else is one line."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.common.errors import UserError
from harness.common.text import error_reason
from harness.config.dataset import Size
from harness.datasets.pictures.formats import identify
from harness.datasets.pictures.pillow_warnings import hear_warnings
from harness.datasets.pictures.resizing import both_sides

if TYPE_CHECKING:
    from PIL.Image import Image

MEGAPIXELS = 80
"""Limit of a picture's size: a smaller file can hold more, and unpack to all of the memory."""
TOO_LARGE = f"give pictures of at most {MEGAPIXELS} megapixels"
_ORIENTATION = 0x0112
"""Tag of EXIF: 1 is upright, 2 to 8 are turned or mirrored; cameras also write 0, unknown."""
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
           MemoryError, struct.error, zlib.error)  # fmt: skip
"""What Pillow raises for damaged files: SyntaxError for a PNG, the others in metadata."""


@contextmanager
def open_image(
    blob: bytes, where: str, formats: tuple[str, ...], remarks: list[str]
) -> Iterator[Image]:
    """Open an image of one frame for decoding within the block; damage is a ``UserError``.

    Pillow's warnings, of metadata that it skips, become a remark after the block.
    """
    from PIL import Image

    try:
        with (
            hear_warnings() as heard,
            Image.open(io.BytesIO(blob), formats=formats) as image,
        ):
            if image.width * image.height > MEGAPIXELS * 10**6:
                what = f"is {image.width:,}x{image.height:,} pixels"
                raise UserError(where, what, TOO_LARGE)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UserError(where, f"holds {frames} frames", "give one picture a file")
            yield image
        remarks += ["pictures with damaged metadata, ignored"] if heard else []
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        what = f"unpacks to {int(pixels[0]):,} pixels" if pixels else "unpacks to too much"
        raise UserError(where, what, TOO_LARGE) from error
    except _DAMAGE as error:
        raise _damage_error(blob, where, formats, error) from error


def _damage_error(
    blob: bytes, where: str, formats: tuple[str, ...], error: BaseException
) -> UserError:
    """Return the error for a file that Pillow cannot read; it says what the file is instead."""
    if not blob:
        return UserError(where, "is empty", "replace it")
    found, fix = identify(blob)
    accepted = " or ".join(filter(None, (", ".join(formats[:-1]), formats[-1])))
    if found and found not in formats:
        return UserError(where, f"is a {found}, not {accepted}", fix.format(accepted))
    what = f"is not a whole {found or accepted} ({error_reason(error)})"
    return UserError(where, what, "replace it")


def is_turned(image: Image) -> bool:
    """Return whether a picture is turned or mirrored by its EXIF orientation."""
    return image.getexif().get(_ORIENTATION) in range(2, 9)


def turned_error(where: str) -> UserError:
    """Return the error for a turned picture or class map of a pair."""
    what = "is turned by its EXIF orientation, but it is one of a picture and its class map"
    return UserError(where, what, "store both upright, without EXIF")


def check_size(image: Image, where: str, size: Size | None) -> None:
    """Raise a ``UserError`` for a picture of another size, unless any will do."""
    if size is not None and image.size != (wanted := both_sides(size)):
        what = f"is {image.width}x{image.height} pixels"
        raise UserError(where, what, f"give images of {wanted[0]}x{wanted[1]}")
