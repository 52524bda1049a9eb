"""Modules of several files."""

import pytest

from harness.runtime.worker.loader import load_entry

ENTRY = """
from .parts import VALUE


class Idea:
    value = VALUE
"""


def folder(root, name, value):
    made = root / "attacks" / name
    made.mkdir(parents=True)
    (made / "attack.py").write_text(ENTRY)
    (made / "parts.py").write_text(f"VALUE = {value!r}")
    return made


def test_a_module_takes_along_the_other_files_of_its_folder(tmp_path):
    first, second = folder(tmp_path, "a-b", 1), folder(tmp_path, "c", 2)
    assert load_entry(first, "attack.py:Idea").value == 1
    assert load_entry(second, "attack.py:Idea").value == 2


def test_another_checkout_s_folder_of_that_name_brings_its_own_files(tmp_path):
    assert load_entry(folder(tmp_path / "one", "a", 1), "attack.py:Idea").value == 1
    assert load_entry(folder(tmp_path / "two", "a", 2), "attack.py:Idea").value == 2


def test_a_file_that_is_not_there_is_the_module_s_own_error(tmp_path):
    made = folder(tmp_path, "lacks", 1)
    (made / "parts.py").unlink()
    with pytest.raises(ModuleNotFoundError, match="parts"):
        load_entry(made, "attack.py:Idea")
