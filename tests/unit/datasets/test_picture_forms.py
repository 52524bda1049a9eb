"""Forms of pictures: formats, resizing, cropping, boxes, and what TIFF stores."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.datasets.pictures.class_maps import read_class_map
from harness.datasets.pictures.formats import FORMATS, is_picture
from harness.datasets.pictures.reader import read_picture
from tests.support.errors import raises_error

RGB = Picture(channels=3)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    chance = np.random.default_rng(seed)
    return Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8))


def stored(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def shown(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(1, 2, 0)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_pillow_reads_it(name):
    blob = stored(picture(12, 9), name)
    read = read_picture(blob, "a", RGB)
    assert np.array_equal(shown(read.pixels), Image.open(io.BytesIO(blob)).convert("RGB"))
    assert read.size == (12, 9)
    assert read.lossy == (name in ("JPEG", "GIF", "WEBP"))
    assert is_picture(f"a/0{FORMATS[name].suffixes[-1].upper()}")
    if name != "PNG":
        with raises_error("picture-other-format", where="a", name=name):
            read_class_map(blob, "a", None)


def test_webp_without_loss_is_no_loss():
    assert not read_picture(stored(picture(5, 5), "WEBP", lossless=True), "a", RGB).lossy


def test_suffixes_are_those_that_pillow_knows():
    Image.init()
    for name, row in FORMATS.items():
        assert {Image.EXTENSION[suffix] for suffix in row.suffixes} == {name}


@pytest.mark.parametrize(("name", "frames"), [("GIF", 2), ("WEBP", 2), ("TIFF", 2), ("PNG", 2)])
def test_several_frames_are_named(name, frames):
    more = [picture(8, 8, seed) for seed in range(1, frames)]
    blob = stored(picture(8, 8), name, save_all=True, append_images=more)
    with raises_error("picture-frames", where="a", frames=frames):
        read_picture(blob, "a", RGB)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (20, 61), (224, 100)])
@pytest.mark.parametrize("side", [24, 50])
def test_one_side_is_resized_and_cropped_as_torchvision_does(size, side):
    image = picture(*size)
    expected = functional.center_crop(functional.resize(image, side, antialias=True), side)
    form = Picture(channels=3, resize=side)
    assert np.array_equal(shown(read_picture(stored(image), "a", form).pixels), expected)


def test_resizing_to_both_sides_does_not_crop():
    image, form = picture(40, 30), Picture(channels=1, resize=(8, 20))
    expected = image.convert("L").resize((8, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(read_picture(stored(image), "a", form).pixels[0], expected)


def test_a_box_is_cut_out_of_the_upright_picture_before_it_is_resized():
    image = picture(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: 30 wide, 40 high
    box, form = (3, 5, 20, 38), Picture(channels=3, size=(30, 40), resize=(8, 8))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    expected = upright.crop(box).resize((8, 8), Image.Resampling.BILINEAR)
    read = read_picture(stored(image, exif=exif), "a", form, box)
    assert np.array_equal(shown(read.pixels), expected)


@pytest.mark.parametrize(
    "box", [(0, 0, 13, 9), (0, 0, 12, 10), (-1, 0, 5, 5), (5, 0, 5, 5), (6, 3, 9, 2)]
)
def test_a_box_outside_or_empty_is_refused(box):
    with raises_error("picture-box", where="a", box="{}, {} to {}, {}".format(*box)):
        read_picture(stored(picture(12, 9)), "a", RGB, box)


def test_what_does_not_fit_is_one_line():
    blob = stored(picture(12, 9))
    with raises_error("picture-size-declared", where="a"):
        read_picture(blob, "a", Picture(channels=3, size=(9, 12)))
    with raises_error("picture-resize-bomb", where="a"):
        read_picture(stored(Image.new("L", (100_000, 1))), "a", Picture(channels=3, resize=224))


# TIFF stores what the other formats do not


def test_16_bits_of_tiff_are_scaled():
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(">u2"))):
        read = read_picture(stored(image, "TIFF"), "a", Picture(channels=1))
        assert np.array_equal(read.pixels[0], values >> 8)


@pytest.mark.parametrize(
    ("code", "mode", "options"),
    [
        ("tiff-32-bits", "I", {}),
        ("tiff-white-is-0", "I;16", {"tiffinfo": {262: 0}}),
        ("tiff-float", "F", {}),
        ("tiff-lab", "LAB", {}),
    ],
)
def test_a_tiff_of_another_range_is_refused(code, mode, options):
    with raises_error(code, where="a"):
        read_picture(stored(Image.new(mode, (4, 4)), "TIFF", **options), "a", RGB)


def test_mutated_pictures_of_every_format_are_read_or_refused_in_one_line():
    """Any other exception fails this test, and so does a warning of Pillow that goes unheard."""
    chance = np.random.default_rng(0)
    for name in sorted({*FORMATS} - {"PNG", "JPEG"}):  # these two in test_pictures
        whole = stored(picture(16, 16), name)
        read = 0
        for _ in range(300):
            blob = bytearray(whole)
            for at in chance.integers(0, min(len(blob), 200), 2):
                blob[at] = chance.integers(0, 256)
            try:
                read_picture(bytes(blob), "a", RGB)
                read += 1
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
        assert 0 < read < 300, name
