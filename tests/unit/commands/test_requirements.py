"""``gauntlet requirements``: one command instead of one failed build for each missing pin."""

import io
import os
import zipfile

import pytest
from rich.console import Console

from harness.commands.requirements import HEADER, requirements
from harness.common.errors import UserError, split
from harness.config.environments import base_pins
from harness.config.environments import requirements as read
from tests.support.errors import raises_error

TORCH, NUMPY = base_pins()["torch"], base_pins()["numpy"]


def wheel(folder, name, *needs, version="1.0"):
    """Write a wheel without code."""
    info = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for entry, text in texts.items():
            file.writestr(f"{info}/{entry}", text)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels, which is all that pip may look at."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    wheel(folder, "numpy", version=NUMPY.partition("==")[2])
    wheel(folder, "library", "numpy>=1", "middle")
    wheel(folder, "middle", "low<2", "new; python_version>='3.12'")
    wheel(folder, "low", version="1.5")
    wheel(folder, "low", version="2.0")
    wheel(folder, "old", "numpy<1.20", "low>=2")
    return folder


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "attacks" / "mine"
    made.mkdir(parents=True)
    return made


def run(folder) -> str:
    shown = io.StringIO()
    requirements(folder, Console(file=shown, width=300))
    return shown.getvalue()


def test_all_pins_are_written_in_one_round(index, folder):
    (folder / "requirements.in").write_text("library  # what the code imports\nnumpy\n")
    assert "requirements.txt: 3 pins" in run(folder)
    text = (folder / "requirements.txt").read_text()
    assert text == HEADER + "library==1.0\nlow==1.5\nmiddle==1.0\n"
    assert sorted(read(folder)) == ["library", "low", "middle"]
    assert sorted(path.name for path in folder.iterdir()) == ["requirements.in", "requirements.txt"]


def test_loose_lines_of_the_pinned_file_are_kept_as_what_is_wanted(index, folder):
    (folder / "requirements.txt").write_text("library>=1\n")
    assert "requirements.in: written from requirements.txt" in run(folder)
    assert (folder / "requirements.in").read_text() == "library>=1\n"
    assert "low==1.5" in (folder / "requirements.txt").read_text()


def test_every_line_that_excludes_the_base_s_version_is_named(folder):
    (folder / "requirements.in").write_text("torch==1.0\nlibrary\nNumPy<2\nx @ file:///x\n")
    with pytest.raises(UserError) as caught:
        run(folder)
    assert [error.where.rpartition(":")[2] for error in split(caught.value)] == ["1", "3", "4"]
    assert not (folder / "requirements.txt").exists()


def test_what_fits_no_base_image_is_named_with_every_cause(index, folder):
    (folder / "requirements.in").write_text("old\n")
    with raises_error("requirements-that-do-not-fit", where="<tmp>/attacks/mine/requirements.in",
                      numpy=NUMPY):  # fmt: skip
        run(folder)


def test_a_library_that_no_index_has_is_named(index, folder):
    (folder / "requirements.in").write_text("nowhere\n")
    with pytest.raises(UserError, match="No matching distribution found for nowhere"):
        run(folder)


def test_without_either_file_the_command_says_what_to_write(folder):
    with raises_error("no-requirements-in", where="<tmp>/attacks/mine"):
        run(folder)
