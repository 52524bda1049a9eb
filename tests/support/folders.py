"""Folders that pytest could not remove by itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.common.files import remove_tree


@contextmanager
def deep_folder(folder: Path, levels: int, name: str = "d") -> Iterator[Path]:
    """Make a folder with many levels, and remove it at the end, however the test ends.

    A tree deeper than Python's stack that is left behind makes the clean-up of every later pytest
    session end in a RecursionError.
    """
    try:
        folder.mkdir()
        here = os.open(folder, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(here)
        yield folder
    finally:
        remove_tree(folder)
