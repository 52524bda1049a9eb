"""Host stage ``decide``: predictions and certificates from the votes of a smoothed network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.common.files import load_array, save_array, store_rows
from harness.judge.smoothing import certify, predict
from harness.planning.recipe import DecideRecipe

COPIED = {"draws": ("outputs",), "rebatched": ("rows", "first", "outputs", "repeated")}
"""Part → arrays of the votes' artefact that the judge compares."""


def decide(recipe: DecideRecipe, inputs: Mapping[str, Path], out: Path, data_root: Path) -> None:
    """Store logarithms of shares of votes as outputs, and certified classes and radii.

    Outputs for some copies, and for a sample that was asked again, are stored as they are.
    """
    folder = inputs["votes"]
    counts, selection = (
        np.array(load_array(folder / "votes" / f"{name}.npy")) for name in ("counts", "selection")
    )
    logits = predict(counts, recipe.votes, recipe.alpha)
    save_array(out / "outputs" / "outputs.npy", logits.astype(np.float32))
    found = certify(selection, counts, recipe.votes, noise=recipe.noise, alpha=recipe.alpha)
    save_array(out / "certificates" / "classes.npy", found.classes)
    save_array(out / "certificates" / "radii.npy", found.radii)
    setting = np.array([recipe.noise, recipe.votes, recipe.alpha])
    save_array(out / "certificates" / "setting.npy", setting)
    for part, names in COPIED.items():
        for name in names:
            if (path := folder / part / f"{name}.npy").is_file():
                store_rows(out / part / f"{name}.npy", load_array(path), folder)
