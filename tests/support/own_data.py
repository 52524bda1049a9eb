"""Own data sets of tests: a YAML file as a dictionary, and small pictures in class folders."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from harness import datasets
from harness.config.dataset import DatasetManifest, load_dataset
from harness.datasets import Splits, read
from tests.support.sources import write_folder

Json = dict[str, object]

CARD: Json = {
    "schema": "dataset/1",
    "kind": "dataset",
    "name": "own",
    "title": "Squares",
    "license": "MIT",
    "citation": "made for a test",
    "source": "a test",
    "task": "classification",
    "layouts": [{"class_folders": {}}],
}


def describe(where: Path, /, **changes: object) -> DatasetManifest:
    """Write a data set's YAML file (JSON is YAML), and read it."""
    fields = {key: value for key, value in (CARD | changes).items() if value is not None}
    where.mkdir(parents=True, exist_ok=True)
    path = where / f"{fields['name']}.yaml"
    path.write_text(json.dumps(fields))
    return load_dataset(path)


def picture(value: int, side: int = 8, channels: int = 1, form: str = "PNG") -> bytes:
    """Return a picture with a gradient and one value, which tells it from others."""
    array = np.tile(np.arange(side, dtype=np.uint8) * 3, (side, 1))
    array[0, :2] = value % 256, value // 256
    image = Image.fromarray(array if channels == 1 else np.stack([array] * 3, axis=2))
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def class_folders(
    counts: dict[str, int], classes: tuple[str, ...] = ("cat", "dog"), side: int = 8
) -> dict[str, bytes]:
    """Return pictures of each split (``""``: no folder for it): ``train/cat/003.png``."""
    files, value = {}, 0
    for part, count in counts.items():
        for name in classes:
            for number in range(count):
                value += 1
                path = "/".join(filter(None, (part, name, f"{number:03}.png")))
                files[path] = picture(value, side)
    return files


def read_own(tmp_path: Path, files: dict[str, bytes], **changes: object) -> Splits:
    """Read pictures as an own data set, and load it."""
    source = write_folder(tmp_path / "source", files)
    manifest = describe(tmp_path, **changes)
    read.fetch(manifest, tmp_path / "root", source)
    return datasets.load(manifest.name, tmp_path / "root")
