"""Placeholders that ``gauntlet new`` writes for people to replace, and those that still stand."""

from __future__ import annotations

from harness.common.errors import UserError
from harness.config.dataset import DatasetManifest
from harness.config.manifest import Manifest

PLACEHOLDER = "TODO"
CARD = ("title", "license", "citation", "source")
"""Keys of a data set whose text people write."""
PROVENANCE = ("license", "source", "trained_on")
"""Keys of weights whose text people write."""


def unwritten(manifest: DatasetManifest | Manifest) -> list[UserError]:
    """Return an error for each placeholder in a data set's card, or in a module's weights."""
    texts: dict[tuple[str, ...], str]
    if isinstance(manifest, DatasetManifest):
        texts = {(key,): getattr(manifest, key) for key in CARD}
    else:
        texts = {
            ("weights", name, key): getattr(weights, key) or ""
            for name, weights in manifest.weights.items()
            for key in PROVENANCE
        }
    return [
        UserError(manifest.where(place), f"{PLACEHOLDER} stands there", "write it")
        for place, text in texts.items()
        if PLACEHOLDER in text
    ]
