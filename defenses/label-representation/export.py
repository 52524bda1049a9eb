"""Write the codebooks of all variants, as arrays and pictures, with classes and statistics.

Usage: ``python defenses/label-representation/export.py FOLDER CLASS,CLASS,… [FILES]``
"""

from __future__ import annotations

import csv
import importlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.config.manifest_file import load_manifest
from harness.runtime.contracts import Spec

HERE = Path(__file__).parent


def export(folder: Path, classes: tuple[str, ...], files: Path | None) -> list[str]:
    """Write ``VARIANT.npy`` (float32 ``[K, …]``), ``VARIANT.png``, and tables of all.

    ``classes.txt`` has the order of classes, ``statistics.csv`` a line for each codebook,
    ``histograms.csv`` how many of a class's values lie in each of 20 equal steps.

    Args:
        folder: where to; it is made.
        classes: names of the classes, in the data set's order.
        files: what the labels are made of that cannot be drawn, or ``None``.

    Returns:
        One line for each variant that has no codebook, with the reason.
    """
    sys.path.insert(0, str(HERE.parent))
    defense = importlib.import_module(f"{HERE.name}.defense")
    describe = importlib.import_module(f"{HERE.name}.statistics").describe
    manifest, spec = load_manifest(HERE), Spec("classification", len(classes), (), classes=classes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    rows, bars, left = [], [], []
    presets = {name: (name, {}) for name in manifest.variants}
    presets |= {label: (None, {"label": label}) for label in defense.FROM_FILES}
    for variant, preset in presets.items():
        made = defense.LabelRepresentation(**manifest.resolve(*preset))
        made.files = files if made.label in defense.FROM_FILES else None
        if made.label == defense.CATEGORY:
            continue
        try:
            codebook = made.codebook(spec)
        except ValueError as error:
            left.append(f"{variant}: {error}")
            continue
        np.save(folder / f"{variant}.npy", codebook.astype(np.float32))
        draw(codebook).save(folder / f"{variant}.png")
        bars += histogram(variant, codebook, classes)
        shape = "×".join(map(str, codebook.shape[1:]))
        figures = {key: round(value, 4) for key, value in asdict(describe(codebook)).items()}
        rows.append({"label": variant, "shape": shape} | figures)
    for name, table in (("statistics", rows), ("histograms", bars)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    return left


def draw(codebook: NDArray[np.float64]) -> Image.Image:
    """Return the labels side by side in grey, the least value of all black, the largest white.

    A vector is a column of stripes.
    """
    low, high = codebook.min(), codebook.max()
    grey = ((codebook - low) / (high - low) * 255).round().astype(np.uint8)
    if grey.ndim == 2:
        stripes = grey.repeat(max(1, 64 // grey.shape[1]), axis=1)
        grey = stripes[:, :, None].repeat(16, axis=2)
    framed = np.pad(grey, ((0, 0), (1, 1), (1, 1)), constant_values=255)
    return Image.fromarray(np.concatenate(list(framed), axis=1))


def histogram(
    variant: str, codebook: NDArray[np.float64], classes: tuple[str, ...]
) -> list[dict[str, str | int | float]]:
    """Return how many of each class's values lie in each of 20 steps from least to largest."""
    edges = np.linspace(codebook.min(), codebook.max(), 21)
    return [
        {"label": variant, "class": name, "from": round(low, 4), "to": round(high, 4), "cells": n}
        for name, label in zip(classes, codebook, strict=True)
        for low, high, n in zip(
            edges[:-1].tolist(), edges[1:].tolist(), np.histogram(label, edges)[0].tolist(),
            strict=True,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    without = export(
        Path(sys.argv[1]),
        tuple(sys.argv[2].split(",")),
        Path(sys.argv[3]) if len(sys.argv) == 4 else None,
    )
    sys.stderr.write("".join(f"{line}\n" for line in without))
