"""Comparisons of what a network answered at different times, and shares of lost gradients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.judge import flags
from harness.judge.draw_comparison import DrawDifference, compare_draws
from harness.storage.store import Store

Array = NDArray[Any]


def different(
    stages: Mapping[str, str], store: Store, after: Array, task: str, *, random: bool
) -> float | list[DrawDifference] | None:
    """Return the share of inputs that the defence answered otherwise to the attack than to us.

    Of a random network, return how far the two sets of draws are apart.
    """
    if "attack" not in stages:
        return None
    path = store.part(stages["attack"], "shown") / "outputs.npy"
    if not path.is_file():
        return None
    if random:
        return compare_draws(load_array(path), after, task)
    # what is close to the truth is compared with the spread of the true outputs
    return flags.difference(after, load_array(path), task)


def lost_gradients(stages: Mapping[str, str], store: Store) -> float | None:
    """Return the share of an attack's backward passes whose gradient was zero or not finite."""
    receipt = store.receipt(stages["attack"]) if "attack" in stages else None
    passes = receipt.passes if receipt else {}
    asked, lost = passes.get("backward", 0), passes.get("zero_gradients", 0)
    return (lost + passes.get("nonfinite_gradients", 0)) / asked if asked else None


def dependent(
    stages: Mapping[str, str], store: Store, outputs: Mapping[str, Array], task: str
) -> float | None:
    """Return the share of a sample's predictions that the network gave otherwise in other batches.

    The sample is of the clean test inputs. Under poisoning these are what ``after`` predicts, and
    ``before`` is the control's network.
    """
    role, folder = sampled(stages, store)
    if folder is None:
        return None
    rows, again = (np.array(load_array(folder / f"{n}.npy")) for n in ("rows", "outputs"))
    return flags.batch_dependence(outputs[role], again, rows, task)


def repeated(stages: Mapping[str, str], store: Store, task: str) -> float | None:
    """Return the share of a sample's predictions that changed when the same batch was asked again.

    The sample is that of ``dependent``.
    """
    _, folder = sampled(stages, store)
    if folder is None or not (folder / "repeated.npy").is_file():
        return None
    first, again = (np.array(load_array(folder / f"{n}.npy")) for n in ("outputs", "repeated"))
    return flags.batch_dependence(first, again, np.arange(len(first)), task)


def sampled(stages: Mapping[str, str], store: Store) -> tuple[str, Path | None]:
    """Return the role whose network predicted a sample again, and the folder with its outputs."""
    for role in ("after", "before"):
        folder = store.part(stages[role], "rebatched")
        if (folder / "rows.npy").is_file():
            return role, folder
    return "before", None
