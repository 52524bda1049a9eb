"""How fast a folder of pictures is read: issue 15 allows 10 s for 10,000 PNGs on two CPUs."""

import io
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from harness.config.dataset import Picture
from harness.datasets.files.source_files import find_files
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.formats import is_picture
from harness.datasets.remarks import Remarks
from harness.datasets.walk import LARGEST
from tests.support.archives import write_archive
from tests.support.sources import Files, read_pictures, write_folder

COUNT = 10_000
FORM = Picture(channels=3, size=(32, 32))


@pytest.fixture(scope="module")
def files() -> Files:
    return dict(made())


def made() -> Iterator[tuple[str, bytes]]:
    """Pictures of 32 x 32 with noise, which PNG cannot pack away: 3 kB each."""
    chance = np.random.default_rng(0)
    for number in range(COUNT):
        buffer = io.BytesIO()
        pixels = chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        yield f"train/{number % 10}/{number:05d}.png", buffer.getvalue()


@pytest.mark.parametrize("packed", ["", "tar", "zip"])
def test_10_000_pngs(benchmark, tmp_path, files, packed) -> None:
    """CPU time of all threads, 1.5 to 2.7 s: two CPUs take longer only while others use them."""
    write = write_archive if packed else write_folder
    source = write(tmp_path / (f"a.{packed}" if packed else "folder"), files)

    def read() -> int:
        mistakes = Mistakes(str(source))
        found = find_files(source, is_picture, LARGEST, mistakes)
        count = sum(1 for _ in read_pictures(found, FORM, mistakes, Remarks()))
        mistakes.check()
        return count

    begun = time.process_time()
    assert benchmark.pedantic(read, rounds=1) == COUNT
    assert time.process_time() - begun < 10
