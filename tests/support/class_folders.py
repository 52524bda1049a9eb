"""Small folders of PNGs by class, and manifests of data sets that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CARD = {
    "title": "Squares",
    "license": "MIT",
    "citation": "nobody, 2026",
    "source": "made by a test",
}


def picture(label: int, number: int, side: int = 8) -> np.ndarray:
    """A grey picture whose class is the bright band; no two of one class are equal."""
    pixels = np.random.default_rng([label, number]).integers(0, 60, (side, side), dtype=np.uint8)
    pixels[(2 * label) % side] = 250
    return pixels


def class_folders(
    folder: Path, parts: dict[str, int], classes: tuple[str, ...] = ("0", "1", "2"), side: int = 8
) -> Path:
    """Write ``<part>/<class>/<number>.png``, so many of each class; a part ``""`` is no folder."""
    number = 0
    for part, count in parts.items():
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                number += 1
                path = folder / part / name / f"{number:04}.png"
                Image.fromarray(picture(label, number, side)).save(path)
    return folder


def data_manifest(path: Path, **fields: Any) -> Path:
    """Write the manifest of grey pictures in class folders; any field may be another."""
    found = {
        "schema": "dataset/1",
        "kind": "dataset",
        "name": path.stem,
        **CARD,
        "task": "classification",
        "picture": {"channels": 1, "size": 8},
        "layouts": [{"class_folders": {}}],
    } | fields
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return path
