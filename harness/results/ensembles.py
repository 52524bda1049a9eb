"""Scores of ensembles: the worst of several attacks on each example, from members' records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TypeVar

import numpy as np

from harness.common.status import By, Status
from harness.judge.metrics import Aimed, worst_case_miou
from harness.judge.nearest import distance_figures
from harness.judge.segmentation import segmentation
from harness.judge.values import proportion
from harness.results import codec
from harness.results.records import Record
from harness.results.scoring import Score, recorded

T = TypeVar("T")


def score_ensemble(task: str, members: Sequence[Record]) -> Score:
    """Judge an ensemble from its members' records; no stage runs.

    An example is right under the ensemble only if it is right under every member. A member that
    cannot play (``not_applicable``) is left out; one that failed leaves it without a result, and
    one that the defence made impossible makes it impossible, too.
    """
    playing = [m for m in members if m.status != "not_applicable"]
    if not playing:
        roles = {m.by for m in members}
        shared: By | None = roles.pop() if len(roles) == 1 else "rule"
        return Score("not_applicable", "no member of the ensemble applies", shared)
    broken = [m for m in playing if m.status != "ok"]
    if broken:
        names = ", ".join(f"{m.cell.attack} ({m.status})" for m in broken)
        avoided = [m for m in broken if m.status == "avoided"]
        status: Status = "avoided" if avoided else "blocked"
        first = (avoided or broken)[0]
        return Score(status, f"members without a result: {names}", first.by)
    judge = _segmentation if task == "segmentation" else _outcomes
    try:
        return judge(playing)
    except (KeyError, ValueError) as error:
        return Score("blocked", f"a member's record cannot be read: {error}")


def _outcomes(members: Sequence[Record]) -> Score:
    packed = [_present(m.outcomes) for m in members]
    ids, n = packed[0]["ids"], int(packed[0]["n"])
    bits = [codec.unpack_outcomes(outcomes) for outcomes in packed]
    before, eligible = bits[0]["before"], bits[0]["eligible"]
    after = reduce(np.logical_and, [each["after"] for each in bits])
    success = reduce(np.logical_or, [each["success"] for each in bits])
    rates = {
        "accuracy": proportion(int(after.sum()), n, "the slice is empty"),
        "robust_accuracy": proportion(int((before & after).sum()), n, "the slice is empty"),
        "attack_success_rate": proportion(
            int(success.sum()), int(eligible.sum()), "no input was right before the attack"
        ),
    }
    worst: dict[str, str | int] = {
        name: codec.pack_bits(b)
        for name, b in (
            ("before", before), ("after", after), ("success", success), ("eligible", eligible),
        )
    }  # fmt: skip
    distances = [one for one in map(codec.unpack_distances, packed) if one is not None]
    figures = recorded(rates)
    if len(distances) == len(members):
        nearest = np.min(distances, axis=0)
        worst["distances"] = codec.pack_distances(nearest)
        figures |= recorded(distance_figures(nearest))
    # of the same clean predictions in all; that of a random network is no count of the bits
    clean = members[0].metrics.get("clean_accuracy")
    return Score(
        metrics=figures | ({} if clean is None else {"clean_accuracy": clean}),
        outcomes={"ids": ids, "n": n} | worst,
    )


def _segmentation(members: Sequence[Record]) -> Score:
    packed = [_present(m.confusions) for m in members]
    before = codec.unpack_confusions(packed[0], "before")
    after = np.stack([codec.unpack_confusions(confusions, "after") for confusions in packed])
    choice = worst_case_miou(after).choice
    worst = after[choice, np.arange(len(choice))]
    aimed = [one for one in map(codec.unpack_aimed, packed) if one is not None]
    targets = _most_reached(aimed) if len(aimed) == len(packed) else None
    judged = segmentation(before, worst, targets=targets)
    return Score(
        metrics=recorded(judged.metrics),
        parts=recorded(judged.parts),
        confusions={
            "shape": packed[0]["shape"],
            "classes": packed[0].get("classes", []),
            "before": codec.pack_counts(before),
            "after": codec.pack_counts(worst),
        }
        | ({"targets": codec.pack_aimed(targets)} if targets else {}),
    )


def _most_reached(members: Sequence[Aimed]) -> Aimed:
    """Return of each image the counts of the member that reaches its target on most pixels."""
    choice = (
        np.stack([one.reached for one in members]).argmax(axis=0),
        np.arange(len(members[0].reached)),
    )
    return Aimed(
        np.stack([one.asked for one in members])[choice],
        np.stack([one.reached for one in members])[choice],
        np.stack([one.wrong for one in members])[choice],
    )


def _present(part: T | None) -> T:
    """Return a packed field of a record.

    Raises:
        ValueError: the record lacks it.
    """
    if part is None:
        raise ValueError("it has no outcomes")
    return part
