"""Worst case over attacks: the joint, greedy and single rules, intervals and paired tests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.judge import metrics, statistics
from harness.report.paired_tests import better
from harness.report.worst_case import Evidence, Outcome, decode, greedy, joint
from tests.support import synthetic
from tests.support.leaderboards import BACKDOOR, MAPS, POISON, SMALL, rows_of


def test_joint_score_counts_only_what_every_attack_leaves():
    rows, table = rows_of(SMALL)
    frame = synthetic.frame(SMALL)
    for defense, row in rows.items():
        per_seed = []
        for seed in SMALL.seeds:
            chosen = frame[(frame.defense == defense) & (frame.seed == seed)]
            outcomes = [decode(record) for record in chosen.record]
            kept = [all(o.bits["before"][i] and o.bits["after"][i] for o in outcomes)
                    for i in range(300)]  # fmt: skip
            per_seed.append(sum(kept))
        assert row.score.k == sum(per_seed)
        assert row.score.n == 900
        assert row.score.value == pytest.approx(sum(per_seed) / 900)
        assert row.score.sd == pytest.approx(np.std([k / 300 for k in per_seed], ddof=1))
        assert row.score.value <= min(cell.score.value for cell in row.cells)
    assert table.examples == 300


def test_interval_is_wilson_at_the_examples_of_one_seed():
    rows, _ = rows_of(SMALL)
    score = rows["weak"].score
    assert (score.lo, score.hi) == statistics.wilson(round(300 * score.value), 300)


def test_equal_seeds_make_nothing_more_significant():
    one = {
        "a": np.array([1, 1, 1, 1, 1, 0, 1, 0], float),
        "b": np.array([0, 0, 0, 0, 0, 1, 1, 0], float),
    }
    evidence = {name: Evidence(robust=bits) for name, bits in one.items()}
    # An imported network gives the same bits under every seed: the mean over seeds is the same.
    assert better(evidence) == {"a": set(), "b": set()}


def test_paired_test_is_mcnemar_for_one_seed():
    generator = np.random.default_rng(0)
    a, b = generator.random(200) < 0.6, generator.random(200) < 0.45
    p = statistics.mcnemar_exact(a, b)
    found = better({"a": Evidence(robust=a.astype(float)), "b": Evidence(robust=b.astype(float))})
    assert found["b"] == ({"a"} if p < 0.05 else set())


def test_strongest_single_attack_and_of_equals_the_cheapest():
    frame = synthetic.frame(replace(SMALL, attacks={"slow": 1.0, "noop": 0.0}))
    twin = frame[frame.attack == "slow"].copy()
    twin["attack"], twin["key"] = "quick", twin.key.map(lambda key: key[::-1])
    twin["record"] = twin.record.map(
        lambda r: synthetic.altered(r, cost={"attack": {"forward": 1}})
    )
    rows, _ = rows_of(pd.concat([frame, twin], ignore_index=True))
    assert rows["strong"].strongest == "quick"
    assert [cell.attack for cell in rows["strong"].cells if cell.strongest] == ["quick"]


def test_an_attack_comes_before_borrowed_inputs_that_are_its_equals():
    frame = synthetic.frame(replace(SMALL, attacks={"slow": 1.0, "noop": 0.0}))
    twin = frame[frame.attack == "slow"].copy()
    twin["attack"], twin["made_against"] = "shrunk@itself", "itself"
    twin["key"] = twin.key.map(lambda key: key[::-1])
    twin["record"] = twin.record.map(lambda r: synthetic.altered(r, cost={}))
    rows, _ = rows_of(pd.concat([twin, frame], ignore_index=True))
    assert rows["strong"].strongest == "slow"


def test_only_it_breaks_is_what_would_come_back():
    rows, table = rows_of(SMALL)
    less, _ = rows_of(replace(SMALL, attacks={"fgsm": 0.7, "noop": 0.0}))
    back = np.mean([less[name].score.value - rows[name].score.value for name in rows])
    (pgd,) = [attack for attack in table.attacks if attack.attack == "pgd"]
    assert pgd.only_it_breaks == pytest.approx(back)
    assert pgd.strongest_for == 4


def test_poisoning_takes_the_worst_attacks_accuracy():
    rows, table = rows_of(POISON)
    assert table.headline.metric == "accuracy"
    for row in rows.values():
        assert row.score.value == min(cell.score.value for cell in row.cells)
        assert row.strongest == "pgd"


def test_backdoor_takes_the_highest_success_with_its_control():
    rows, table = rows_of(BACKDOOR)
    assert not table.headline.higher_is_better
    assert table.rows[-1].defense == "none"
    assert rows["strong"].rank == 1
    for row in rows.values():
        assert row.score.value == max(cell.score.value for cell in row.cells)
        assert 0 < row.control.value < 0.1
    timeout = {("strong", "pgd"): ("timeout", "stopped")}
    assert rows_of(replace(BACKDOOR, gaps=timeout))[0]["strong"].bound == "lower"


def test_segmentation_is_greedy_and_never_above_the_best_single_attack():
    rows, table = rows_of(MAPS)
    assert table.headline.rule == "greedy"
    for row in rows.values():
        assert row.score.lo <= row.score.value <= row.score.hi
        assert row.score.value <= min(cell.score.value for cell in row.cells) + 1e-9
    assert rows["none"].rank > rows["strong"].rank == 1
    frame = synthetic.frame(replace(MAPS, seeds=(0,)))
    runs = {r.attack: {0: decode(r.record)} for r in frame[frame.defense == "weak"].itertuples()}
    stack = np.stack([run[0].confusions["after"] for run in runs.values()])
    assert greedy(runs).score.value == metrics.worst_case_miou(stack).miou


def test_joint_of_nothing_is_nothing():
    assert joint({}) is None
    assert greedy({}) is None


@pytest.mark.parametrize(("kept", "left"), [("after", 1 / 3), ("success", 0.5)])
def test_an_example_that_counts_for_one_attack_only_is_spared_to_nobody(kept, left):
    """Right before one attack only: not robust. A target beside one attack only: asked of all."""
    zeros, ones = np.zeros(3, bool), np.ones(3, bool)
    counted = ("before", "eligible")
    first = {**dict.fromkeys(counted, np.array([1, 1, 0], bool)), "after": ones, "success": zeros}
    second = {**dict.fromkeys(counted, np.array([1, 0, 0], bool)), "after": ones}
    second["success"] = np.array([0, 1, 0], bool)
    runs = {"a": {0: Outcome("", first, {})}, "b": {0: Outcome("", second, {})}}
    assert joint(runs, kept).score.value == pytest.approx(left)
