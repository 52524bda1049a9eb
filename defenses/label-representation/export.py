"""Write the codebooks of all variants, with the order of classes and statistics.

Usage: ``python defenses/label-representation/export.py FOLDER CLASS,CLASS,… [FILES]``
"""

from __future__ import annotations

import csv
import importlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from harness.config.manifest import load_manifest
from harness.runtime.contracts import Spec

HERE = Path(__file__).parent


def export(folder: Path, classes: tuple[str, ...], files: Path | None) -> list[str]:
    """Write ``VARIANT.npy`` (float32 ``[K, …]``), ``classes.txt`` and ``statistics.csv``.

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
    rows, left = [], []
    for variant in manifest.variants:
        made = defense.LabelRepresentation(**manifest.resolve(variant, {}))
        made.files = files if made.label in defense.FROM_FILES else None
        if made.label == defense.CATEGORY:
            continue
        try:
            codebook = made.codebook(spec)
        except ValueError as error:
            left.append(f"{variant}: {error}")
            continue
        np.save(folder / f"{variant}.npy", codebook.astype(np.float32))
        shape = "×".join(map(str, codebook.shape[1:]))
        figures = {key: round(value, 4) for key, value in asdict(describe(codebook)).items()}
        rows.append({"label": variant, "shape": shape} | figures)
    with (folder / "statistics.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return left


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    without = export(
        Path(sys.argv[1]),
        tuple(sys.argv[2].split(",")),
        Path(sys.argv[3]) if len(sys.argv) == 4 else None,
    )
    sys.stderr.write("".join(f"{line}\n" for line in without))
