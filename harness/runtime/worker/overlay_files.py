"""Overlays of training sets as files, read and written where modules run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from harness.runtime.contracts import Overlay
from harness.runtime.worker import arrays

FOLDER = "overlay"
"""Folder below edits or a training set."""


def load_overlay(folder: Path) -> Overlay | None:
    """Return the overlay of a training set, or ``None`` where it has none."""
    if not (folder / FOLDER).is_dir():
        return None
    return Overlay(
        **{f.name: arrays.load_tensor(folder / FOLDER / f"{f.name}.npy") for f in fields(Overlay)}
    )


def save_overlay(folder: Path, overlay: Overlay | None) -> None:
    """Save the overlay of edits, if there is one."""
    if overlay is not None:
        for name, tensor in overlay.tensors().items():
            arrays.save_array(folder / FOLDER / f"{name}.npy", tensor)
