"""Overlays of training sets on disk: a few arrays beside the pictures, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from harness.common.files import Array, load_array, read_parts, save_array
from harness.judge.budget import as_seen
from harness.judge.overlay import Overlay
from harness.runtime.crops import centre_crop

FOLDER = "overlay"
"""Folder below edits or a training set; without it there is no overlay."""


def load_overlay(folder: Path) -> Overlay | None:
    """Return the overlay of edits or of a training set, or ``None``.

    Args:
        folder: folder of the edits or of the set.
    """
    if not (folder / FOLDER).is_dir():
        return None
    arrays = {f.name: load_array(folder / FOLDER / f"{f.name}.npy") for f in fields(Overlay)}
    return Overlay(**{name: np.array(array) for name, array in arrays.items()})


def save_overlay(folder: Path, overlay: Overlay | None, ids: Array | None = None) -> None:
    """Store the overlay of a training set, if it has one on any of its pictures.

    Args:
        folder: folder of the set.
        overlay: the overlay, or ``None``.
        ids: ids of the examples that the set still has; ``None`` for all.
    """
    if overlay is None:
        return
    kept = np.ones(len(overlay.ids), bool) if ids is None else np.isin(overlay.ids, ids)
    if not kept.any():
        return
    for name, array in vars(overlay).items():
        part = array[kept] if name in ("ids", "places") else array
        save_array(folder / FOLDER / f"{name}.npy", part)


def overlaid_parts(
    stored: Array, ids: Array, overlay: Overlay, spec: Mapping[str, Any]
) -> Iterator[Array]:
    """Yield stored pictures in parts, as networks see them without augmentation."""
    start = 0
    for part in read_parts(stored):
        seen = as_seen(centre_crop(part, spec["shape"])).astype(np.float32)
        yield np.rint(overlay.put_on(seen, ids[start : start + len(part)]) * 255)
        start += len(part)
