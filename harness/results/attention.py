"""Attention maps of a cell, read from its artefacts and compared with the boxes of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from harness.common.files import load_array, read_json
from harness.judge.attention import (
    Boxes,
    Looks,
    attention_figures,
    crop_boxes,
    find_places,
    is_flat,
)
from harness.judge.values import Metrics
from harness.storage.store import Store

MAPS = ("maps_before", "maps_after")
"""Roles of the stages that map clean and attacked inputs. No score needs them."""


@dataclass(frozen=True)
class Attention:
    """Where the network of a cell looks.

    Attributes:
        looks: mode → maps of the whole eval subset with their boxes.
        notes: what is to be said beside the figures.
    """

    looks: Mapping[str, Looks] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, Metrics]:
        """Figures of the whole eval subset by mode."""
        return {mode: attention_figures(looks) for mode, looks in self.looks.items()}


def load_attention(stages: Mapping[str, str], store: Store) -> Attention:
    """Read the maps of a cell; without any, the notes say why.

    Args:
        stages: role → stage key of the cell.
        store: the artefacts.

    Raises:
        OSError: an artefact is not on this machine.
    """
    if not set(MAPS) <= stages.keys():
        return Attention()
    for role in MAPS:
        receipt = store.receipt(stages[role])
        if receipt is None or receipt.status != "ok":
            why = "not in the store" if receipt is None else receipt.reason
            return Attention(notes=(f"no attention maps: {why}",))
    before, after = (store.part(stages[role], "maps") for role in MAPS)
    spec = read_json(store.part(stages["slice"], "spec.json"))
    triggers = np.array(load_array(store.part(stages["measure"], "changed") / "boxes.npy"))
    height, width = spec["shape"][1:]
    places = find_places(_objects(stages, store, spec), triggers, (height, width))
    looks = {
        path.stem: Looks(
            np.array(load_array(path)), np.array(load_array(after / path.name)), places
        )
        for path in sorted(before.glob("*.npy"))
    }
    flat = (
        f"{k} of {len(maps)} {mode} maps of {kind} inputs, equal everywhere"
        for mode, one in looks.items()
        for kind, maps in (("clean", one.maps_before), ("attacked", one.maps_after))
        if (k := int(is_flat(maps).sum()))
    )
    dropped = "; ".join((*places.dropped, *flat))
    return Attention(looks, (f"attention leaves out: {dropped}",) if dropped else ())


def _objects(stages: Mapping[str, str], store: Store, spec: Mapping[str, object]) -> Boxes | None:
    """Return the boxes of the objects in pixels that networks see; ``None`` without any."""
    path = store.part(stages["slice"], "boxes") / "boxes.npy"
    if not path.is_file():
        return None
    shape = spec["shape"]
    stored = spec.get("stored") or shape
    return crop_boxes(np.array(load_array(path)), stored, shape)  # type: ignore[arg-type]
