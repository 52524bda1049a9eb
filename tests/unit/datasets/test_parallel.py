"""Pictures are decoded by threads, in order, a few at a time, and each hears its own warnings."""

from __future__ import annotations

import io
import threading
import warnings
from itertools import count

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.datasets.files.source_files import SourceFile
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.parallel import HEAVY, map_ordered
from harness.datasets.pictures.pillow_warnings import hear_warnings
from harness.datasets.remarks import Remarks
from tests.support.sources import read_pictures


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_are_in_order_however_long_they_take(workers):
    delay = threading.Event()

    def slow(item: int) -> int:
        delay.wait(0.01 if item % 3 == 0 else 0)
        return item * item

    assert list(map_ordered(slow, range(40), workers)) == [item**2 for item in range(40)]


def test_only_a_few_items_are_ahead_and_the_rest_is_never_asked_for():
    taken = []
    items = (taken.append(item) or item for item in count())
    for done, result in enumerate(map_ordered(abs, items, 3)):
        assert result == done
        assert len(taken) - done <= 3 * 2 + 1
        if done == 50:
            break
    del items


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_in_its_turn(workers):
    done = []
    results = map_ordered(lambda item: 9 // (5 - item), range(9), workers)
    with pytest.raises(ZeroDivisionError):
        done.extend(results)
    assert done == [1, 2, 3, 4, 9]


def test_light_items_stay_in_the_caller_s_thread():
    here = threading.get_ident()
    threads = list(
        map_ordered(lambda _: threading.get_ident(), range(20), 2, heavy=lambda item: item % 2 == 1)
    )
    assert set(threads[::2]) == {here}
    assert here not in threads[1::2]


def picture_file(number: int, side: int) -> SourceFile:
    chance = np.random.default_rng(number)
    buffer = io.BytesIO()
    pixels = chance.integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    blob = buffer.getvalue() if number % 10 != 7 else b""
    return SourceFile(f"{number}.png", f"{number}.png", None, blob, len(blob))


def test_pictures_come_in_order_with_their_mistakes_and_remarks():
    files = [picture_file(number, (8, 90)[number % 2]) for number in range(40)]
    sizes = [file.size for file in files if file.size]
    assert min(sizes) < HEAVY < max(sizes)
    mistakes, remarks = Mistakes("source"), Remarks()
    read = list(read_pictures(files, Picture(channels=1), mistakes, remarks))
    assert [file.name for file, _ in read] == [f"{n}.png" for n in range(40) if n % 10 != 7]
    assert read[2][1].pixels.shape == (1, 8, 8)
    assert len({picture.pixels.tobytes() for _, picture in read}) == 36
    assert remarks.note() == "coloured pictures, reduced to their luma: 36"
    with pytest.raises(UserError) as caught:
        mistakes.check()
    assert [error.where for error in caught.value.errors] == [f"{n}.png" for n in range(7, 40, 10)]


def test_a_thread_hears_its_own_warnings_alone():
    def warn(item: int) -> list[str]:
        with hear_warnings() as heard:
            if item % 4:
                # the module counts: Pillow's own warnings are heard, however often they come
                exec(
                    "import warnings; warnings.warn('metadata', stacklevel=1)",
                    {"__name__": TiffImagePlugin.__name__},
                )
            return heard

    heard = list(map_ordered(warn, range(400), 4))
    assert [len(one) for one in heard] == [int(bool(item % 4)) for item in range(400)]


def test_warnings_of_others_go_where_they_went():
    with hear_warnings() as heard:
        pass
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)
    assert heard == []
