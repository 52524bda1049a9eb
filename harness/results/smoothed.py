"""Scores of smoothed networks: what their votes certify, and whether an attack contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.judge import draws, smoothing
from harness.judge.budget import BudgetFields
from harness.judge.outcomes import mean_share
from harness.judge.values import Judged, Metrics
from harness.results import backdoors, codec
from harness.storage.store import Store

Array = NDArray[Any]


@dataclass(frozen=True)
class Votes:
    """Votes of the network of a cell, on clean and on attacked inputs.

    Attributes:
        answers: ``before`` and ``after`` → outputs ``[D, N, K]`` for single noisy copies.
        radii: certified radius of each example in L2, 0 without one, ``[N]``.
        setting: noise, copies and level of the votes.
        y: right classes ``[N]``.
    """

    answers: Mapping[str, Array]
    radii: NDArray[np.float64]
    setting: smoothing.Setting
    y: NDArray[np.int64]

    @classmethod
    def of(cls, stages: Mapping[str, str], store: Store, y: Array) -> Votes | None:
        """Return the votes of a cell, or ``None`` where its network does not vote."""
        if "votes_before" not in stages:
            return None
        answers = {role: load_draws(store, stages[role]) for role in ("before", "after")}
        folder = store.part(stages["before"], "certificates")
        found = smoothing.Certificates(
            *(np.array(load_array(folder / f"{name}.npy")) for name in ("classes", "radii"))
        )
        noise, counted, alpha = load_array(folder / "setting.npy").tolist()
        setting = smoothing.Setting(noise, int(counted), alpha)
        return cls(answers, smoothing.certified_radii(found, y), setting, y)

    def judged(self, judged: Judged) -> Judged:
        """Return a judgement in which rows without an answer are abstentions, not faults."""
        classes = draws.classes_of(self.answers["before"])
        differ = mean_share(draws.pairs_that_differ(classes))
        counts = (f"{n} {when} the attack" for when, n in judged.nonfinite.items())
        said = " and ".join(counts)
        notes = (f"predictions that abstain count as wrong: {said}",) if said else ()
        return replace(
            judged,
            metrics=judged.metrics | {draws.DRAWS_DIFFER: differ},
            nonfinite={},
            notes=(*judged.notes, *notes),
        )

    def figures(self, budget: BudgetFields) -> tuple[Metrics, dict[str, str | int]]:
        """Return the certified figures under a budget, and the radii for the record."""
        eps = budget.get("eps") if budget.get("norm") == "l2" else None
        figures = smoothing.certified_figures(self.radii, eps)
        return figures, {"radii": codec.pack_radii(self.radii)}

    def contradiction(self, stages: Mapping[str, str], store: Store) -> str:
        """Return a sentence where attacked inputs contradict more certificates than chance allows.

        Args:
            stages: role → stage key.
            store: the artefacts.
        """
        if "measure" not in stages:
            return ""
        lengths = backdoors.load_distances(stages["measure"], store).l2
        counts = np.array(load_array(store.part(stages["votes_after"], "votes") / "counts.npy"))
        own = counts[np.arange(len(counts)), self.y]
        few, could = smoothing.too_few(self.radii, lengths, own, self.setting)
        return smoothing.contradiction(few, could, self.setting.alpha)


def load_draws(store: Store, key: str) -> Array:
    """Return a stage's outputs for single noisy copies, ``[D, N, K]``; else its outputs."""
    draws_of, outputs = (store.part(key, name) / "outputs.npy" for name in ("draws", "outputs"))
    return np.array(load_array(draws_of if draws_of.is_file() else outputs))
