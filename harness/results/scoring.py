"""Scoring of one cell from artefacts: budgets first, then metrics. No module code runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array, read_json
from harness.common.status import By, Status
from harness.config.threat import THREATS
from harness.judge import budget as budgets
from harness.judge import draws, flags, metrics
from harness.judge.edits import find_rows
from harness.judge.values import Absent, Judged, Metrics
from harness.results import backdoors, codec
from harness.results.attention import load_attention
from harness.results.comparisons import dependent, different, lost_gradients, repeated
from harness.results.goals import Goal, counted_goal, goal_of
from harness.results.handed import Played, count_queries, decisive, played, steps
from harness.results.nearest import NearestInputs
from harness.results.record_parts import HandedOver, Metric, RecordedCell, RecordedFlag
from harness.results.smoothed import Votes
from harness.storage.store import Store

NOT_COMPARED = (
    "what the network answered to the attack is not compared with what is judged: the attack was "
    "shown nothing, or the draws are too few"
)

DRAWN = 3
"""Dimensions of the outputs of several draws, of classes or per item."""

Array = NDArray[Any]


@dataclass(frozen=True)
class OutputSpec:
    """Meaning of the outputs for an evaluation subset.

    Attributes:
        outputs: number of classes, or of a ranker's outputs per item.
        void: the label that no figure counts, or ``None``.
        classes: names of the classes or attributes; empty where the data have none.
    """

    outputs: int
    void: int | None
    classes: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> OutputSpec:
        """Read it from a data set's ``spec.json``."""
        spec = read_json(path)
        names = tuple(str(name) for name in spec.get("classes", ()))
        return cls(int(spec["outputs"]), spec["void"], names)


@dataclass
class Score:
    """The judged part of a record.

    Attributes:
        status: ``ok``, or a violation found by the judge.
        reason: one sentence, unless it is ok.
        by: role that a violation is put down to.
        metrics: name → figure.
        parts: name → figure of one class or attribute.
        outcomes: packed outcome of each example.
        confusions: packed confusion matrices of each image.
        flips: packed edited comparisons.
        perturbation: sizes of the change.
        queries: queries per example.
        attention: mode of attention maps → figures of the eval subset.
        flags: what looks wrong.
        notes: sentences that belong beside the figures.
        handed: attacks in order, if there are several.
    """

    status: Status = "ok"
    reason: str | None = None
    by: By | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)
    parts: dict[str, Metric] = field(default_factory=dict)
    outcomes: dict[str, str | int] | None = None
    confusions: dict[str, str | list[int] | list[str]] | None = None
    flips: codec.Packed | None = None
    perturbation: dict[str, float] | None = None
    queries: dict[str, float] | None = None
    attention: dict[str, dict[str, Metric]] | None = None
    flags: list[RecordedFlag] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    handed: list[HandedOver] | None = None


def recorded(figures: Metrics) -> dict[str, Metric]:
    """Return the judge's figures as a record holds them, sorted by name."""
    return {name: Metric.model_validate(figures[name].to_json()) for name in sorted(figures)}


def score(
    info: RecordedCell,
    stages: Mapping[str, str],
    store: Store,
    *,
    random: bool = False,
    minimal: bool = False,
    absent: Mapping[str, str] = MappingProxyType({}),
    handed: Mapping[str, str] = MappingProxyType({}),
) -> Score:
    """Judge a cell.

    Args:
        info: the cell as its benchmark names it.
        stages: role → stage key; all are in the store.
        store: store of the artefacts.
        random: whether the network draws as it answers, so that predictions are of several draws.
        minimal: whether the attack looked for the nearest wrong input, whatever its distance.
        absent: metric → why the plan has no stages for it.
        handed: label → module of the attacks in order, if there are several.
    """
    attacks = played(stages, store)
    result, found = check_limits(info, stages, store, attacks, minimal=minimal)
    if result.status != "ok":
        return result
    subset = stages["slice"]
    y, ids = (np.array(load_array(store.part(subset, "y") / f"{n}.npy")) for n in ("y", "ids"))
    spec = OutputSpec.read(store.part(subset, "spec.json"))
    outputs = load_outputs(stages, store, attacks)
    answered, votes = outputs["after"], Votes.of(stages, store, y)
    if votes:
        if reason := votes.contradiction(stages, store):
            return Score("contradicts_proof", reason, "defense", perturbation=result.perturbation)
        answered = votes.answers["after"]
    if found is not None:
        outputs["after"] = found.after(outputs)
    goal = goal_of(info, stages, store, outputs)
    judged = JUDGES[info.task](outputs, y, spec, counted_goal(goal, info, result.notes), result)
    judged = votes.judged(judged) if votes else judged
    figures = judged.metrics | all_absent(absent)
    figures |= backdoors.target_rates(info, outputs, y, goal)
    figures |= backdoors.teacher_figures(info, stages, store)
    figures |= unbounded_figures(info, outputs, spec)
    if "edits" in stages:
        edited = judge_flips(stages, store, outputs, y)
        figures = figures | edited.metrics
        result.flips = codec.pack_flips(edited, spec.classes)
    result.metrics, result.parts = recorded(figures), recorded(judged.parts)
    result.notes += judged.notes
    seen = load_attention(stages, store)
    result.attention = {mode: recorded(found) for mode, found in seen.figures.items()} or None
    result.notes += seen.notes
    compared = different(attacks, store, answered, info.task, random=random or votes is not None)
    if (random or votes) and compared is None and attacks:
        result.notes.append(NOT_COMPARED)
    if random and not votes:
        result.notes.append(draws.describe(judged.metrics, len(outputs["before"])))
    if judged.outcomes:
        result.outcomes = codec.pack_outcomes(judged.outcomes, ids)
        result.handed = steps(attacks, handed, judged.outcomes)
    found_distances = [found.figures(judged.outcomes)] if found else []
    for more, packed in found_distances + ([votes.figures(info.budget)] if votes else []):
        result.metrics |= recorded(more)
        result.outcomes = (result.outcomes or {}) | packed
    result.flags = [
        RecordedFlag(name=flag.name, text=flag.text)
        for flag in flags.record_flags(
            judged,
            attack=info.attack_module,
            task=info.task,
            outputs=spec.outputs,
            different=compared,
            dependent=None
            if random and not votes
            else dependent(stages, store, outputs, info.task),
            repeated=None if random and not votes else repeated(stages, store, info.task),
            lost=lost_gradients(attacks, store),
        )
    ]
    return result


def check_limits(
    info: RecordedCell,
    stages: Mapping[str, str],
    store: Store,
    attacks: Sequence[Played],
    *,
    minimal: bool,
) -> tuple[Score, NearestInputs | None]:
    """Check sizes and queries against the budget.

    Args:
        info: the cell.
        stages: role → stage key.
        store: the artefacts.
        attacks: its attack stages.
        minimal: whether the attack looked for the nearest wrong input.

    Returns:
        A score with sizes and queries alone, or a violation; and, of such an attack, what it found.
    """
    result = Score()
    found: NearestInputs | None = None
    if "measure" in stages:
        distances = backdoors.load_distances(stages["measure"], store)
        violation = None
        if minimal:
            found = NearestInputs.of(distances, info.budget)
            distances, violation = found.counted, found.violation()
            result.notes += found.notes()
        result.perturbation = budgets.summary(distances) | load_common(stages["measure"], store)
        violation = violation or budgets.check_perturbation(distances, dict(info.budget))
        if violation is not None:
            sizes = result.perturbation
            return Score("budget_violation", violation, "attack", perturbation=sizes), None
    if "queries" in THREATS[info.threat_model].judged:
        result.queries, refused = count_queries(store, attacks)
        allowed = info.budget["queries"]
        assert isinstance(allowed, int)
        if result.queries["max"] > allowed:
            most = f"{result.queries['max']:.0f} queries for one example, the limit is {allowed}"
            return Score("budget_violation", most, "attack", queries=result.queries), None
        if refused:
            result.notes.append(
                f"the oracle refused {refused} queries over budget; none was answered"
            )
    return result, found


def load_outputs(
    stages: Mapping[str, str], store: Store, attacks: Sequence[Played]
) -> dict[str, Array]:
    """Read the outputs of a cell's predictions, by role."""
    controls = [
        f"{name}_{when}" for name in metrics.BACKDOOR_CONTROLS for when in ("before", "after")
    ]
    outputs = {
        role: np.array(load_array(store.part(stages[role], "outputs") / "outputs.npy"))
        for role in ("before", "after", "eight_bit", *controls)
        if role in stages
    }
    outputs["after"] = decisive(attacks, store, outputs["after"])
    return outputs


def unbounded_figures(
    info: RecordedCell, outputs: Mapping[str, Array], spec: OutputSpec
) -> Metrics:
    """Return what is judged only where test inputs of a classifier may change without a bound."""
    at_test = THREATS[info.threat_model].at_test is not None
    if info.task != "classification" or not at_test or not info.budget.get("unbounded"):
        return {}
    return metrics.confidence_figures(outputs["after"], spec.classes)


def all_absent(reasons: Mapping[str, str]) -> Metrics:
    """Return absent figures: name → reason."""
    return {name: Absent(reason) for name, reason in reasons.items()}


def judge_classification(
    outputs: Mapping[str, Array],
    y: Array,
    spec: OutputSpec,
    goal: Goal,
    result: Score,
) -> Judged:
    """Judge each example as right or wrong; of a random network in all draws."""
    drawn = outputs["after"].ndim == DRAWN
    judge = draws.classification if drawn else metrics.classification
    return judge(
        outputs["before"],
        outputs["after"],
        y,
        goal=goal,
        controls={
            name: (outputs[f"{name}_before"], outputs[f"{name}_after"])
            for name in metrics.BACKDOOR_CONTROLS
            if f"{name}_before" in outputs
        },
    )


def judge_ranking(
    outputs: Mapping[str, Array],
    y: Array,
    spec: OutputSpec,
    goal: Goal,
    result: Score,
) -> Judged:
    """Judge each comparison as right or wrong; of a random network in all draws."""
    drawn = outputs["after"].ndim == DRAWN
    judge = draws.ranking if drawn else metrics.ranking
    return judge(outputs["before"], outputs["after"], y)


def judge_segmentation(
    outputs: Mapping[str, Array],
    y: Array,
    spec: OutputSpec,
    goal: Goal,
    result: Score,
) -> Judged:
    """Judge by confusion matrices per image, and pack them, so that any figure can be recomputed.

    Beside them are packed the names of the classes, and how predictions moved from clean to
    attacked inputs, pooled over images: neither follows from confusions with the labels. Of a
    random network, clean confusions are summed over draws; all else is of the draw in which most
    pixels of an image are wrong.
    """
    classes, void = spec.outputs, spec.void
    drawn = {
        role: draws.map_draws(several(outputs[role]), y, classes, void)
        for role in ("before", "after", "eight_bit")
        if role in outputs
    }
    before, after = drawn["before"].worst, drawn["after"].worst
    counts = {role: one.counts for role, one in drawn.items()} | {"before": drawn["before"].pooled}
    result.confusions = {
        "shape": list(counts["before"].shape),
        "classes": list(spec.classes),
        "moves": codec.pack_moves(metrics.moves(before, after, y, classes, void)),
        **{role: codec.pack_counts(array) for role, array in counts.items()},
    }
    changed = metrics.flips(before, after, y, void)
    targets: metrics.Aimed | Absent | None = None
    if isinstance(goal, np.ndarray):
        targets = metrics.aimed(before, after, y, goal, void)
        result.confusions["targets"] = codec.pack_aimed(targets)
    elif goal is not None:
        targets = goal
    judged = metrics.segmentation(
        counts["before"], counts["after"], pixels=changed, targets=targets
    )
    missing = {
        role: metrics.count_not_finite(drawn[role].worst, y, void) for role in ("before", "after")
    }
    judged = replace(judged, nonfinite={role: count for role, count in missing.items() if count})
    if outputs["before"].ndim == 4:
        means = draws.map_means(drawn["before"], drawn["after"], outputs["before"])
        judged = replace(judged, metrics=judged.metrics | means)
    if "eight_bit" not in counts:
        return judged
    rounded = metrics.segmentation(counts["before"], counts["eight_bit"]).metrics
    more = {f"{name}_8bit": rounded[name] for name in ("miou", "pixel_accuracy")}
    return replace(judged, metrics=judged.metrics | more)


def several(maps: Array) -> Array:
    """Return class maps as ``[D, N, H, W]``, also where they are of one draw."""
    return maps if maps.ndim == 4 else maps[None]


JUDGES = {
    "classification": judge_classification,
    "ranking": judge_ranking,
    "segmentation": judge_segmentation,
}
"""Function that judges a cell, by task."""


def load_common(measure: str, store: Store) -> dict[str, float]:
    """Read the share of the changes that all examples have in common, where it is finite."""
    share = float(load_array(store.part(measure, "common") / "share.npy")[0])
    return {"common": share} if np.isfinite(share) else {}


def judge_flips(
    stages: Mapping[str, str], store: Store, outputs: Mapping[str, Array], y: Array
) -> metrics.Flipped:
    """Judge edited comparisons by the clean ranker and by the one that was trained on them.

    Rankers that draw are judged in their first draw.
    """
    rows, edits = store.part(stages["rows"], "y"), store.part(stages["edits"], "edits")
    ids, before = (np.array(load_array(rows / f"{name}.npy")) for name in ("ids", "y"))
    after = edited_labels(edits, ids, before)
    clean, attacked = (
        draws.first_draw(load_array(store.part(stages[role], "outputs") / "outputs.npy"), 2)
        for role in ("margins", "fit")
    )
    # the control has no attack: where the defence is none it is the clean ranker itself
    test = metrics.Comparisons(
        y, *(draws.first_draw(outputs[role], 2) for role in ("before", "after"))
    )
    return metrics.judge_flips(metrics.Comparisons(before, clean, attacked), after, test)


def edited_labels(edits: Path, ids: Array, y: Array) -> Array:
    """Return the labels ``y`` of the examples ``ids`` after an attack's ``edits``."""
    after = y.copy()
    if (edits / "y.npy").is_file():
        after[find_rows(load_array(edits / "ids.npy"), ids)] = load_array(edits / "y.npy")
    return after
