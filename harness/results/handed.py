"""Attack stages of a cell: one, or several in order, each with the examples that it was handed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.results.record_parts import HandedOver
from harness.storage.store import Store

Array = NDArray[Any]


@dataclass(frozen=True)
class Played:
    """Attack stage of a cell.

    Attributes:
        key: the stage.
        rows: places of its examples in the eval subset, or ``None`` for all.
        after: key of the stage that predicted its inputs; ``None`` of the last one, whose examples
            are judged by the predictions on all inputs joined.
    """

    key: str
    rows: Array | None = None
    after: str | None = None


def played(stages: Mapping[str, str], store: Store) -> list[Played]:
    """Return the attack stages of a cell, in order; none where nothing attacks test inputs."""
    if "attack_1" not in stages:
        return [Played(stages["attack"])] if "attack" in stages else []
    found = list[Played]()
    for number in itertools.takewhile(lambda n: f"attack_{n}" in stages, itertools.count(1)):
        rows = None
        if number > 1:
            folder = store.part(stages[f"survivors_{number}"], "rows")
            rows = np.array(load_array(folder / "rows.npy"))
        found.append(Played(stages[f"attack_{number}"], rows, stages.get(f"after_{number}")))
    return found


def decisive(attacks: Sequence[Played], store: Store, after: Array) -> Array:
    """Return the outputs that each example is judged by, ``[N, K]`` or ``[D, N, K]``.

    An example that an attack was the last to get is judged by the prediction for which it was not
    handed on: a network that answered otherwise later would have hidden it from stronger attacks.

    Args:
        attacks: the attack stages of a cell.
        store: the artefacts.
        after: outputs on the inputs of all attacks joined.
    """
    if len(attacks) < 2:
        return after
    result = after.copy()
    for one, later in itertools.pairwise(attacks):
        assert one.after is not None
        assert later.rows is not None
        outputs = load_array(store.part(one.after, "outputs") / "outputs.npy")
        rows = np.arange(after.shape[-2]) if one.rows is None else one.rows
        last = ~np.isin(rows, later.rows)
        result[..., rows[last], :] = outputs[..., last, :]
    return result


def steps(
    attacks: Sequence[Played], labels: Mapping[str, str], outcomes: Mapping[str, Array]
) -> list[HandedOver] | None:
    """Return how many examples each attack in order was run on, and how many it broke.

    Where there is one attack, without a label here, return ``None``.

    Args:
        attacks: the attacks.
        labels: label → module of each.
        outcomes: outcome bits of the cell, ``eligible`` and ``success``, bool ``[N]``.
    """
    if not labels:
        return None
    eligible, success = outcomes["eligible"], outcomes["success"]
    given = [len(eligible) if one.rows is None else len(one.rows) for one in attacks]
    standing = [int(eligible.sum()), *given[1:], int((eligible & ~success).sum())]
    return [
        HandedOver(attack=label, module=module, examples=count, broken=before - after)
        for (label, module), count, (before, after) in zip(
            labels.items(), given, itertools.pairwise(standing), strict=True
        )
    ]


def count_queries(store: Store, attacks: Sequence[Played]) -> tuple[dict[str, float], int]:
    """Return the oracle's counts: largest and median queries per example, and refused queries.

    Of attacks in order, each counts on from the one before.
    """
    counts, refused = np.zeros(0, np.int64), 0
    for one in attacks:
        found = np.array(load_array(store.part(one.key, "oracle") / "counts.npy"))
        if one.rows is None:
            counts = found
        else:
            counts[one.rows] = found
        receipt = store.receipt(one.key)
        refused += (receipt.refused_queries if receipt else None) or 0
    return {"max": int(counts.max()), "median": float(np.median(counts))}, refused
