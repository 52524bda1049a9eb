"""Comparisons of what a network answered at different times, and shares of lost gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.judge import flags
from harness.judge.draw_comparison import DrawDifference, compare_draws
from harness.results.handed import Played
from harness.results.smoothed import load_draws
from harness.storage.store import Store

Array = NDArray[Any]


def different(
    attacks: Sequence[Played], store: Store, after: Array, task: str, *, random: bool
) -> float | list[DrawDifference] | None:
    """Return the share of inputs that the defence answered otherwise to the attack than to us.

    Of a random network, return how far the two sets of draws are apart.

    Args:
        attacks: the attack stages of the cell.
        store: the artefacts.
        after: what the cell is judged by, ``[N, …]``, or of several draws ``[D, N, …]``.
        task: its task.
        random: whether the network draws.
    """
    axis = 1 if random else 0  # of the examples
    pairs = list[tuple[Array, Array]]()
    for one in attacks:
        path = store.part(one.key, "shown") / "outputs.npy"
        if not path.is_file():
            continue  # it holds no network that answers it, or no example was left for it
        judged = after if one.rows is None else np.take(after, one.rows, axis=axis)
        if one.after is not None:
            judged = load_draws(store, one.after)
        pairs.append((load_array(path), judged))
    if not pairs:
        return None
    shown, judged = pairs[0]
    if len(pairs) > 1:
        shown, judged = (np.concatenate(each, axis=axis) for each in zip(*pairs, strict=True))
    if random:
        return compare_draws(shown, judged, task)
    # what is close to the truth is compared with the spread of the true outputs
    return flags.difference(judged, shown, task)


def lost_gradients(attacks: Sequence[Played], store: Store) -> float | None:
    """Return the share of the attacks' backward passes whose gradient was zero or not finite."""
    receipts = [store.receipt(one.key) for one in attacks]
    passes = sum((Counter(receipt.passes) for receipt in receipts if receipt), Counter[str]())
    lost = passes["zero_gradients"] + passes["nonfinite_gradients"]
    return lost / passes["backward"] if passes["backward"] else None


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
    # of a smoothed network the sample is of single copies, as votes differ with the noise
    path = folder / "first.npy"
    first = np.array(load_array(path)) if path.is_file() else outputs[role]
    return flags.batch_dependence(first, again, rows, task)


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
