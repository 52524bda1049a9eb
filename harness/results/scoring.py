"""Scores one cell from artefacts: budgets first, then metrics. Module code is long gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array, read_json
from harness.config.threat import THREATS, By
from harness.judge import budget as budgets
from harness.judge import flags, metrics
from harness.judge.edits import find_rows
from harness.judge.values import Absent, Judged
from harness.results import codec
from harness.storage.store import Store

Array = NDArray[Any]
Goal = Array | Absent | None


@dataclass
class Score:
    """The judged part of a record.

    Attributes:
        status, reason: ``ok``, or a violation found by the judge.
        by: what a violation is put down to.
    """

    status: str = "ok"
    reason: str | None = None
    by: By | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Any] | None = None
    confusions: dict[str, Any] | None = None
    flips: dict[str, Any] | None = None
    perturbation: dict[str, Any] | None = None
    queries: dict[str, float] | None = None
    flags: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def score(
    info: Mapping[str, Any], stages: Mapping[str, str], store: Store, *, random: bool = False
) -> Score:
    """Judge a cell.

    Args:
        info: the record's ``cell`` part. stages: role → stage key; all are in the store.
        store: where the artefacts lie.
        random: the network's answers vary by design, so two runs are not compared.
    """
    threat = THREATS[info["threat_model"]]
    result = Score()
    if "measure" in stages:
        distances = load_distances(store.part(stages["measure"], "distances"))
        result.perturbation = budgets.summary(distances) | load_common(stages["measure"], store)
        violation = budgets.check_perturbation(distances, dict(info["budget"]))
        if violation is not None:
            return Score("budget_violation", violation, "attack", perturbation=result.perturbation)
    if "queries" in threat.judged:
        result.queries, refused = count_queries(store, stages["attack"])
        allowed = info["budget"]["queries"]
        if result.queries["max"] > allowed:
            most = f"{result.queries['max']:.0f} queries for one example, the limit is {allowed}"
            return Score("budget_violation", most, "attack", queries=result.queries)
        if refused:
            result.notes.append(
                f"the oracle refused {refused} queries over budget; none was answered"
            )
    slice_key = stages["slice"]
    y = np.array(load_array(store.part(slice_key, "y") / "y.npy"))
    ids = np.array(load_array(store.part(slice_key, "y") / "ids.npy"))
    spec = read_json(store.part(slice_key, "spec.json"))
    outputs = {
        role: np.array(load_array(store.part(stages[role], "outputs") / "outputs.npy"))
        for role in ("before", "after", "eight_bit", "control_before", "control_after")
        if role in stages
    }
    judged = JUDGES[info["task"]](outputs, y, spec, goal_of(info, stages, store, outputs), result)
    figures = judged.metrics
    if "edits" in stages:
        found = judge_flips(stages, store, outputs, y)
        figures = figures | found.metrics
        result.flips = codec.pack_flips(found, spec.get("classes", ()))
    result.metrics = {name: value.to_json() for name, value in sorted(figures.items())}
    result.parts = {name: value.to_json() for name, value in sorted(judged.parts.items())}
    result.notes += judged.notes
    if judged.outcomes:
        result.outcomes = codec.pack_outcomes(judged.outcomes, ids)
    result.flags = [
        {"name": flag.name, "text": flag.text}
        for flag in flags.record_flags(
            judged,
            attack=info["attack_module"],
            task=info["task"],
            outputs=int(spec["outputs"]),
            different=None if random else different(stages, store, outputs["after"], info["task"]),
        )
    ]
    return result


def goal_of(
    info: Mapping[str, Any], stages: Mapping[str, str], store: Store, outputs: Mapping[str, Array]
) -> Goal:
    """The targets of a cell, ``None`` when it is untargeted, absent when they mean nothing."""
    if "goal" in stages and foreign_labels(info):
        return Absent("the attacker's classes are not the student's: a target class means nothing")
    if "goal" in stages:
        return np.array(load_array(store.part(stages["goal"], "goal") / "goal.npy"))
    if info["goal"] == "targeted: least_likely":
        return np.asarray(outputs["before"].argmin(axis=1))
    return None


def foreign_labels(info: Mapping[str, Any]) -> bool:
    """Whether the attacker worked with other classes than the student's."""
    threat, data = THREATS[info["threat_model"]], info["data"]
    if threat.delivers:
        return bool(data.get("attacker", data.get("public")) != data["student"])
    public = threat.access == "source" and not info["knowledge"].startswith("surrogate")
    return public and data.get("public") != data["student"]


def judge_classification(
    outputs: Mapping[str, Array],
    y: Array,
    spec: Mapping[str, Any],
    goal: Goal,
    result: Score,
) -> Judged:
    """Right or wrong per example."""
    return metrics.classification(
        outputs["before"],
        outputs["after"],
        y,
        goal=goal,
        control_before=outputs.get("control_before"),
        control_after=outputs.get("control_after"),
    )


def judge_ranking(
    outputs: Mapping[str, Array],
    y: Array,
    spec: Mapping[str, Any],
    goal: Goal,
    result: Score,
) -> Judged:
    """Right or wrong per comparison."""
    return metrics.ranking(outputs["before"], outputs["after"], y)


def judge_segmentation(
    outputs: Mapping[str, Array],
    y: Array,
    spec: Mapping[str, Any],
    goal: Goal,
    result: Score,
) -> Judged:
    """Confusion matrices per image; the record keeps them, so that any figure can be recomputed.

    Beside them, what no confusion with the labels can tell: what each class is called, and where
    predictions went from clean to attacked inputs, pooled.
    """
    classes, void = int(spec["outputs"]), spec["void"]
    before, after = outputs["before"], outputs["after"]
    counts = {
        role: metrics.confusion(outputs[role], y, classes, void)
        for role in ("before", "after", "eight_bit")
        if role in outputs
    }
    result.confusions = {
        "shape": list(counts["before"].shape),
        "classes": [str(name) for name in spec.get("classes", ())],
        "moves": codec.pack_moves(metrics.moves(before, after, y, classes, void)),
    } | {role: codec.pack_counts(array) for role, array in counts.items()}
    changed = metrics.flips(before, after, y, void)
    judged = metrics.segmentation(counts["before"], counts["after"], pixels=changed)
    if "eight_bit" not in counts:
        return judged
    rounded = metrics.segmentation(counts["before"], counts["eight_bit"]).metrics
    more = {f"{name}_8bit": rounded[name] for name in ("miou", "pixel_accuracy")}
    return replace(judged, metrics=judged.metrics | more)


JUDGES = {
    "classification": judge_classification,
    "ranking": judge_ranking,
    "segmentation": judge_segmentation,
}
"""Task → judge."""


def load_distances(folder: Path) -> budgets.Distances:
    """Distances as the ``measure`` stage stored them."""
    return budgets.Distances(
        **{p.stem: np.array(load_array(p)) for p in sorted(folder.glob("*.npy"))}
    )


def load_common(measure: str, store: Store) -> dict[str, float]:
    """The share of the changes that all examples have in common, where there is one."""
    share = float(load_array(store.part(measure, "common") / "share.npy")[0])
    return {"common": share} if np.isfinite(share) else {}


def judge_flips(
    stages: Mapping[str, str], store: Store, outputs: Mapping[str, Array], y: Array
) -> metrics.Flipped:
    """Edited comparisons, seen by the clean ranker and by the one that was trained on them."""
    rows, edits = store.part(stages["rows"], "y"), store.part(stages["edits"], "edits")
    ids, before = (np.array(load_array(rows / f"{name}.npy")) for name in ("ids", "y"))
    after = edited_labels(edits, ids, before)
    clean, attacked = (
        load_array(store.part(stages[role], "outputs") / "outputs.npy")
        for role in ("margins", "fit")
    )
    # the control has no attack: where the defence is none it is the clean ranker itself
    test = metrics.Comparisons(y, outputs["before"], outputs["after"])
    return metrics.judge_flips(metrics.Comparisons(before, clean, attacked), after, test)


def edited_labels(edits: Path, ids: Array, y: Array) -> Array:
    """The labels ``y`` of the examples ``ids`` as an attack's ``edits`` leave them."""
    after = y.copy()
    if (edits / "y.npy").is_file():
        after[find_rows(load_array(edits / "ids.npy"), ids)] = load_array(edits / "y.npy")
    return after


def count_queries(store: Store, attack: str) -> tuple[dict[str, float], int]:
    """Largest and median number of queries per example, counted by the oracle; and refusals."""
    counts = load_array(store.part(attack, "oracle") / "counts.npy")
    receipt = store.receipt(attack) or {}
    refused = int(receipt.get("oracle", {}).get("refused", 0))
    return {"max": int(counts.max()), "median": float(np.median(counts))}, refused


def different(stages: Mapping[str, str], store: Store, after: Array, task: str) -> float | None:
    """Share of inputs on which the defence answered the attack otherwise than it answered us."""
    if "attack" not in stages:
        return None
    shown = store.part(stages["attack"], "shown") / "outputs.npy"
    return flags.disagreement(load_array(shown), after, task) if shown.is_file() else None
