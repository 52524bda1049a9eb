"""Sources of data sets, as a person may have them: made for a test, or the real ones beside."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from harness import datasets
from harness.common.keys import ROOT
from harness.config.dataset import DatasetManifest, Picture, check_datasets, load_dataset
from harness.datasets import Datasets, read
from harness.datasets.base import Split, Splits
from harness.datasets.files.source_files import SourceFile
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.parallel import decode_files
from harness.datasets.pictures.reader import ReadPicture, read_picture
from harness.datasets.remarks import Remarks
from tests.support.errors import raises_error

SHARED = Path(os.environ.get("GAUNTLET_SHARED", ROOT.parent / "shared" / "data"))

DATA = ROOT / "benchmarks" / "data"
"""YAML files of this checkout's data sets."""

Files = dict[str, bytes]
"""Name below a folder → content."""


def shared(name: str) -> Path:
    """A folder of real data; without it the test is skipped, as nothing else can stand for them."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there: set GAUNTLET_SHARED to a folder that has it")
    return SHARED / name


def parts(splits: Splits) -> dict[str, Split]:
    return {"train": splits.train, "val": splits.val, "test": splits.test}


def write_folder(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob)
    return folder


def write_tar(path: Path, files: Files, extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
        for member in extra:
            tar.addfile(member)
        for name, blob in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    return path


def fetch(name: str, root: Path, source: Path | None) -> Splits:
    """Read a data set of this checkout from a source, store it, and load it."""
    read.fetch(description(name), root, source)
    return datasets.load(name, root)


def all_sets(root: Path) -> Datasets:
    """Return every data set of this checkout, with another folder of fetched ones."""
    found, errors = check_datasets(ROOT)
    assert errors == []
    return Datasets(root, found)


def key(name: str, root: Path) -> str:
    """Return the digest of a fetched set of this checkout that stage keys hold."""
    return Datasets(root, [description(name)]).key_digest(name)


def copy_description(name: str, root: Path) -> None:
    """Copy the YAML file of a data set of this checkout to another one."""
    folder = root / "benchmarks" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(DATA / f"{name}.yaml", folder)


def description(name: str) -> DatasetManifest:
    """Return the YAML file of a data set of this checkout."""
    return load_dataset(DATA / f"{name}.yaml")


def manifest(root: Path, name: str) -> dict:
    return json.loads((root / name / "manifest.json").read_text())


def refused(
    name: str,
    tmp_path: Path,
    files: Files,
    code: str,
    where: str = "<tmp>/source",
    **values: object,
) -> None:
    """A broken source gets its one line; nothing is left behind."""
    source = write_folder(tmp_path / "source", files)
    with raises_error(code, where=where, **values):
        fetch(name, tmp_path / "root", source)
    assert list((tmp_path / "root").iterdir()) == []


def image(name: str, size: tuple[int, int] = (20, 30), form: str = "PNG") -> bytes:
    """A flat picture of a colour of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color(name)).save(buffer, form)
    return buffer.getvalue()


def color(name: str) -> tuple[int, int, int]:
    """Of ``image``."""
    code = sum(map(ord, name)) * 37
    return code % 256, code // 3 % 256, code // 7 % 256


def groups(split: Split) -> list[tuple]:
    """What each row compares, whichever stands first."""
    return [(*row[:-4], *sorted(row[-4:-2]), row[-1]) for row in split.y.tolist()]


def read_pictures(
    files: Iterable[SourceFile], form: Picture, mistakes: Mistakes, remarks: Remarks
) -> Iterator[tuple[SourceFile, ReadPicture]]:
    """Each file that can be read, with its picture, as the layouts read them."""
    read = decode_files(files, lambda file: read_picture(file.read(), file.where, form), mistakes)
    for file, picture in read:
        remarks.add(picture.remarks)
        yield file, picture
