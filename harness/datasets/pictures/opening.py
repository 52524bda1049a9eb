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
from harness.common.text import one_line
from harness.datasets.pictures.formats import identify
from harness.datasets.pictures.pillow_warnings import hear_warnings

if TYPE_CHECKING:
    from PIL.Image import Image

MEGAPIXELS = 80
"""Limit of a picture's size: a smaller file can hold more, and unpack to all of the memory."""
TOO_LARGE = f"give pictures of at most {MEGAPIXELS} megapixels"
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
    # Pillow names the object that it read from, an address in memory
    reason = re.sub(r" ?<\S+ object at 0x[0-9a-f]+>", "", one_line(str(error)))
    what = f"is not a whole {found or accepted} ({reason or type(error).__name__})"
    return UserError(where, what, "replace it")
