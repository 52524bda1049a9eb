"""Health of the gradients of a cell's network, from what its stages measured."""

from __future__ import annotations

from collections.abc import Mapping

from harness.common.files import read_json
from harness.results.records import Number
from harness.runtime.worker.health_names import FIGURES
from harness.storage.store import Store


def load_health(stages: Mapping[str, str], store: Store) -> dict[str, Number] | None:
    """Return name → figure for a cell whose network is probed, else ``None``.

    Args:
        stages: role → stage key of the cell.
        store: the artefacts.

    Returns:
        Figures of the attack's own backward passes and of the network's probe. Those of a stage
        that failed are missing.
    """
    if "probe" not in stages:
        return None
    found: dict[str, Number] = {}
    # of several attacks in order the first, which gets all examples
    for role in ("attack_1" if "attack_1" in stages else "attack", "probe"):
        receipt = store.receipt(stages[role]) if role in stages else None
        if receipt is None or receipt.status != "ok":
            continue
        found |= receipt.health
        path = store.part(stages[role], "probe") / FIGURES
        if role == "probe" and path.is_file():
            found |= read_json(path)
    return found or None
