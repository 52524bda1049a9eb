"""Derived cells: the worst of several attacks on each example, from the members' outcomes."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from harness.config.threat import By
from harness.judge.metrics import worst_case_miou
from harness.judge.segmentation import segmentation
from harness.judge.values import proportion
from harness.results import codec
from harness.results.scoring import Score


def score_ensemble(task: str, members: list[dict[str, Any]]) -> Score:
    """Judge an ensemble from its members' records; no stage runs.

    An example is right under the ensemble only if it is right under every member. A member that
    cannot play (``not_applicable``) is left out; one that failed leaves it without a result, and
    one that the defence made impossible makes it impossible, too.
    """
    playing = [m for m in members if m["status"] != "not_applicable"]
    if not playing:
        by = {m.get("by") for m in members}
        shared: By | None = by.pop() if len(by) == 1 else "rule"
        return Score("not_applicable", "no member of the ensemble applies", shared)
    broken = [m for m in playing if m["status"] != "ok"]
    if broken:
        names = ", ".join(f"{m['cell']['attack']} ({m['status']})" for m in broken)
        avoided = [m for m in broken if m["status"] == "avoided"]
        status, first = ("avoided", avoided[0]) if avoided else ("blocked", broken[0])
        return Score(status, f"members without a result: {names}", first.get("by"))
    judge = _segmentation if task == "segmentation" else _outcomes
    try:
        return judge(playing)
    except (KeyError, ValueError) as error:
        return Score("blocked", f"a member's record cannot be read: {error}")


def _outcomes(members: list[dict[str, Any]]) -> Score:
    first = members[0]["outcomes"]
    n = int(first["n"])

    bits = [codec.unpack_outcomes(m["outcomes"]) for m in members]
    before, eligible = bits[0]["before"], bits[0]["eligible"]
    after = reduce(np.logical_and, [each["after"] for each in bits])
    success = reduce(np.logical_or, [each["success"] for each in bits])
    rates = {
        "clean_accuracy": proportion(int(before.sum()), n, "the slice is empty"),
        "accuracy": proportion(int(after.sum()), n, "the slice is empty"),
        "robust_accuracy": proportion(int((before & after).sum()), n, "the slice is empty"),
        "attack_success_rate": proportion(
            int(success.sum()), int(eligible.sum()), "no input was right before the attack"
        ),
    }
    packed = {
        name: codec.pack_bits(b)
        for name, b in (
            ("before", before), ("after", after), ("success", success), ("eligible", eligible),
        )
    }  # fmt: skip
    return Score(
        metrics={name: rate.to_json() for name, rate in rates.items()},
        outcomes={"ids": first["ids"], "n": n} | packed,
    )


def _segmentation(members: list[dict[str, Any]]) -> Score:
    shape = members[0]["confusions"]["shape"]
    before = codec.unpack_confusions(members[0]["confusions"], "before")
    after = np.stack([codec.unpack_confusions(m["confusions"], "after") for m in members])
    choice = worst_case_miou(after).choice
    worst = after[choice, np.arange(len(choice))]
    judged = segmentation(before, worst)
    return Score(
        metrics={name: value.to_json() for name, value in sorted(judged.metrics.items())},
        parts={name: value.to_json() for name, value in sorted(judged.parts.items())},
        confusions={
            "shape": shape,
            "classes": members[0]["confusions"].get("classes", []),
            "before": codec.pack_counts(before),
            "after": codec.pack_counts(worst),
        },
    )
