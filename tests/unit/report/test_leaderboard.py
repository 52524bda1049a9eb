"""Ranked tables from invented records."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from harness.config.threat import Status
from harness.judge import metrics, statistics
from harness.report.cells import STATUSES
from harness.report.leaderboard import tables
from harness.report.worst_case import Evidence, better, decode, greedy, joint
from harness.results.records import Record
from tests.support import synthetic
from tests.support.synthetic import Suite

SMALL = Suite(
    defenses={"strong": 0.6, "strong-too": 0.6, "weak": 0.1, "none": 0.0},
    attacks={"pgd": 1.0, "fgsm": 0.7, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255),),
    examples=300,
)
POISON = replace(SMALL, threat_model="poisoning", task="ranking", budgets=(("10 % edits", None),))
BACKDOOR = replace(SMALL, threat_model="backdoor", budgets=(("5 % edits, target 0", None),))
MAPS = replace(SMALL, task="segmentation", examples=40)


def rows_of(suite: Suite | pd.DataFrame):
    frame = synthetic.frame(suite) if isinstance(suite, Suite) else suite
    (table,) = tables(frame)
    return {row.defense: row for row in (*table.rows, *table.unranked)}, table


def row_at(frame: pd.DataFrame, defense: str, attack: str, seed: int = 0) -> int:
    chosen = (frame.defense == defense) & (frame.attack == attack) & (frame.seed == seed)
    return int(frame.index[chosen][0])


@pytest.mark.parametrize("suite", [SMALL, POISON, BACKDOOR, MAPS], ids=lambda s: s.threat_model)
def test_synthetic_records_are_valid(suite):
    for record in synthetic.frame(suite).record:
        assert isinstance(record, Record)


def test_status_words_cover_the_closed_list():
    assert set(STATUSES) == set(get_args(Status))


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


def test_ranks_count_the_significantly_better():
    rows, table = rows_of(SMALL)
    assert rows["strong"].rank == rows["strong-too"].rank == 1
    assert rows["strong"].tied
    assert rows["strong"].bracket == rows["strong-too"].bracket
    assert rows["weak"].rank == 3
    assert not rows["weak"].tied
    assert rows["none"].rank == 4
    assert rows["none"].beaten_by == ("strong", "strong-too", "weak")
    assert [row.defense for row in table.rows][2:] == ["weak", "none"]


def test_equal_seeds_make_nothing_more_significant():
    one = {
        "a": np.array([1, 1, 1, 1, 1, 0, 1, 0], float),
        "b": np.array([0, 0, 0, 0, 0, 1, 1, 0], float),
    }
    held = {name: Evidence(held=bits) for name, bits in one.items()}
    # An imported network gives the same bits under every seed: the mean over seeds is the same.
    assert better(held) == {"a": set(), "b": set()}


def test_paired_test_is_mcnemar_for_one_seed():
    generator = np.random.default_rng(0)
    a, b = generator.random(200) < 0.6, generator.random(200) < 0.45
    p = statistics.mcnemar_exact(a, b)
    found = better({"a": Evidence(held=a.astype(float)), "b": Evidence(held=b.astype(float))})
    assert found["b"] == ({"a"} if p < 0.05 else set())


def test_missing_result_of_an_applicable_attack_is_an_upper_bound_below_the_line():
    timeout = {("strong", "pgd"): ("timeout", "stopped at 5 min")}
    rows, table = rows_of(replace(SMALL, gaps=timeout))
    row = rows["strong"]
    assert row in table.unranked
    assert (row.rank, row.bound, row.covered, row.applicable) == (None, "upper", 2, 3)
    assert [(gap.attack, gap.word, gap.reason) for gap in row.gaps] == [
        ("pgd", "timeout", "in the attack: stopped at 5 min")
    ]
    assert row.score.value > rows_of(SMALL)[0]["strong"].score.value
    assert all("strong" not in other.beaten_by for other in table.rows)


def test_one_failed_seed_is_a_gap_that_says_which():
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "fgsm", seed=1)
    frame.loc[i, ["status", "stage", "reason"]] = ["module_error", "attack", "IndexError"]
    rows, _ = rows_of(frame)
    (gap,) = rows["weak"].gaps
    assert gap.score is None
    assert (gap.word, gap.reason, gap.ok, gap.planned) == ("error", "seed 1: IndexError", 2, 3)


def test_not_applicable_does_not_count_and_avoided_does():
    gaps = {
        ("weak", "fgsm"): ("not_applicable", "attack fgsm does not do classification"),
        ("none", "fgsm"): ("avoided", "none is random; fgsm needs otherwise"),
    }
    rows, table = rows_of(replace(SMALL, gaps=gaps))
    assert (rows["weak"].rank, rows["weak"].covered, rows["weak"].applicable) == (3, 2, 2)
    assert (rows["none"].rank, rows["none"].covered, rows["none"].applicable) == (None, 2, 3)
    (gap,) = rows["none"].gaps
    assert (gap.word, gap.by) == ("avoided", "defense")
    assert gap.reason == "made impossible by the defence: none is random; fgsm needs otherwise"
    (fgsm,) = [attack for attack in table.attacks if attack.attack == "fgsm"]
    assert (fgsm.covered, fgsm.applicable) == (2, 3)


def test_a_reason_s_first_words_decide_nothing():
    gaps = {("weak", "fgsm"): ("not_applicable", "defence and attack do not meet")}
    rows, _ = rows_of(replace(SMALL, gaps=gaps))
    assert rows["weak"].rank is not None
    assert not rows["weak"].gaps


@pytest.mark.parametrize("by", ["victim", "attack"])
def test_what_victim_or_attack_declines_beside_one_defence_only_is_that_defence_s_gap(by):
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "fgsm", seed=1)
    frame.loc[i, ["status", "stage", "reason", "by"]] = ["not_applicable", "train", "no", by]
    rows, _ = rows_of(frame)
    (gap,) = rows["weak"].gaps
    assert (gap.status, gap.by) == ("avoided", "defense")
    assert f"the {by} declines beside this defence only: no" in gap.reason
    assert rows["weak"].rank is None


@pytest.mark.parametrize("by", ["victim", "attack"])
def test_what_victim_or_attack_declines_beside_every_defence_is_nobody_s_gap(by):
    frame = synthetic.frame(SMALL)
    told = ["not_applicable", "train", "no", by]
    for defense in frame.defense.unique():
        for seed in SMALL.seeds:
            i = row_at(frame, defense, "fgsm", seed)
            frame.loc[i, ["status", "stage", "reason", "by"]] = told
    rows, _ = rows_of(frame)
    assert not any(row.gaps for row in rows.values())
    (cell,) = (cell for cell in rows["weak"].cells if cell.attack == "fgsm")
    assert (cell.status, cell.reason) == ("not_applicable", f"declined by the {by}: no")


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


def test_only_it_breaks_is_what_would_come_back():
    rows, table = rows_of(SMALL)
    less, _ = rows_of(replace(SMALL, attacks={"fgsm": 0.7, "noop": 0.0}))
    back = np.mean([less[name].score.value - rows[name].score.value for name in rows])
    (pgd,) = [attack for attack in table.attacks if attack.attack == "pgd"]
    assert pgd.only_it_breaks == pytest.approx(back)
    assert pgd.strongest_for == 4


def test_records_of_other_examples_are_no_evidence():
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "pgd")
    record = frame.at[i, "record"]
    outcomes = {**record.outcomes, "ids": "of another slice"}
    frame.at[i, "record"] = synthetic.altered(record, outcomes=outcomes)
    row = rows_of(frame)[0]["weak"]
    assert row.rank is None
    assert row.gaps[0].word == "other examples"


@pytest.mark.parametrize("broken", ["?", "AAAA", None])
def test_unreadable_outcomes_are_a_gap_not_a_crash(broken):
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "pgd")
    record = frame.at[i, "record"]
    outcomes = {**record.outcomes, "after": broken}
    frame.at[i, "record"] = record.model_copy(update={"outcomes": outcomes})
    assert rows_of(frame)[0]["weak"].rank is None


def test_stale_records_keep_their_number():
    rows, _ = rows_of(replace(SMALL, stale=True))
    assert rows["weak"].rank == 3
    assert rows["weak"].stale == 9
    assert rows["weak"].cells[0].stale


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


def test_undefined_success_is_said_and_not_zero():
    frame = synthetic.frame(BACKDOOR)
    for i in frame.index[frame.defense == "weak"]:
        record = frame.at[i, "record"]
        absent = {"attack_success_rate": {"absent": "no input was right before the attack"}}
        frame.at[i, "record"] = synthetic.altered(record, metrics=record.metrics | absent)
    row = rows_of(frame)[0]["weak"]
    assert row.score is None
    assert row.rank is None
    assert {cell.word for cell in row.cells} == {"undefined"}
    assert row.cells[0].reason == "no input was right before the attack"


def test_heat_follows_the_fixed_damage_scale():
    rows, _ = rows_of(SMALL)
    for row in rows.values():
        for cell in row.cells:
            assert cell.heat == min(9, int(10 * (1 - cell.score.value) + 1e-9))


def test_budgets_go_from_large_to_small_and_victims_as_planned():
    suite = replace(
        SMALL,
        budgets=(("L∞ 4/255", 4 / 255), ("L∞ 8/255", 8 / 255)),
        victims=("z-cnn", "a-cnn"),
        seeds=(0,),
    )
    found = [(table.victim, table.budget) for table in tables(synthetic.frame(suite))]
    assert found == [
        ("z-cnn", "L∞ 8/255"),
        ("z-cnn", "L∞ 4/255"),
        ("a-cnn", "L∞ 8/255"),
        ("a-cnn", "L∞ 4/255"),
    ]


def test_nothing_run_gives_a_table_without_ranks():
    _, table = rows_of(synthetic.without_records(SMALL))
    assert not table.rows
    assert len(table.unranked) == 4
    assert table.counts == {"missing": 36}
    assert table.measured is None


def test_no_frame_no_tables():
    assert tables(synthetic.frame(SMALL).iloc[:0]) == []


def test_ensembles_are_columns_that_count_for_nothing():
    frame = synthetic.frame(SMALL)
    twin = frame[frame.attack == "pgd"].copy()
    twin["attack"], twin["ensemble"], twin["key"] = "all", True, twin.key.map(lambda key: key[::-1])
    rows, table = rows_of(pd.concat([frame, twin], ignore_index=True))
    assert table.attacks[-1].attack == "all"
    assert table.attacks[-1].derived
    assert rows["strong"].applicable == 3
    assert rows["strong"].strongest == "pgd"
    assert rows["strong"].score == rows_of(SMALL)[0]["strong"].score


def test_cross_flags_success_that_falls_as_the_budget_grows():
    suite = replace(SMALL, budgets=(("L∞ 4/255", 4 / 255), ("L∞ 8/255", 8 / 255)))
    frame = synthetic.frame(suite)
    small, large = (frame.budget_label == label for label, _ in suite.budgets)
    chosen = (frame.defense == "weak") & (frame.attack == "pgd")
    records = frame.record[chosen & small].tolist(), frame.record[chosen & large].tolist()
    for i, record in zip(frame.index[chosen & small], records[1], strict=True):
        frame.at[i, "record"] = record
    for i, record in zip(frame.index[chosen & large], records[0], strict=True):
        frame.at[i, "record"] = record
    large_table = tables(frame)[0]
    rows = {row.defense: row for row in large_table.rows}
    assert [(f.name, f.attack) for f in rows["weak"].flags] == [
        ("success_falls_with_budget", "pgd")
    ]
    assert not rows["strong"].flags


def test_cross_flags_a_query_attack_that_beats_gradients():
    white = replace(SMALL, attacks={"pgd": 0.5, "noop": 0.0}, seeds=(0,))
    query = replace(white, matrix="query", threat_model="evasion-query", attacks={"square": 1.0})
    frame = synthetic.frame(white, query)
    for record in frame.record:
        record.stages["slice"] = "the same"
    flags = {
        (table.matrix, row.defense): [flag.name for flag in row.flags]
        for table in tables(frame)
        for row in (*table.rows, *table.unranked)
    }
    assert flags["query", "none"] == ["query_beats_whitebox"]
    assert flags["linf", "none"] == []


def test_cross_flags_an_attack_that_gains_with_twice_the_steps():
    frame = synthetic.frame(replace(SMALL, attacks={"pgd": 0.5, "pgd/long": 1.0, "noop": 0.0}))

    def steps(record):
        cell = record.cell.model_copy(update={"attack_module": record.cell.attack.split("/")[0]})
        return {"params": {"attack": {"steps": 40 if "long" in cell.attack else 20}}, "cell": cell}

    synthetic.alter(frame, steps)
    rows = {row.defense: row for row in tables(frame)[0].rows}
    assert [(f.name, f.attack) for f in rows["weak"].flags] == [("not_converged", "pgd")]


def test_joint_of_nothing_is_nothing():
    assert joint({}) is None
    assert greedy({}) is None


def test_what_is_unbounded_is_a_board_of_its_own_and_the_last():
    bounded = (("patch 5×5", None), ("L∞ 4/255", 4 / 255), ("L∞ 8/255", 8 / 255))
    budgets = ((synthetic.UNBOUNDED, None), *bounded)
    found = tables(synthetic.frame(replace(MAPS, budgets=budgets, seeds=(0,))))
    assert [table.budget for table in found] == ["L∞ 8/255", "L∞ 4/255", "patch 5×5", "unbounded"]
    assert [table.unbounded for table in found] == [False, False, False, True]
    alone = tables(synthetic.frame(replace(MAPS, budgets=bounded, seeds=(0,))))
    # Bounded ranks and scores are what they are without the unbounded budget beside them.
    for table, other in zip(found[:3], alone, strict=True):
        assert [(r.defense, r.rank, r.score) for r in table.rows] == [
            (r.defense, r.rank, r.score) for r in other.rows
        ]


def test_sizes_are_means_over_seeds_and_over_defences():
    frame = synthetic.frame(replace(MAPS, budgets=((synthetic.UNBOUNDED, None),), seeds=(0, 1)))
    place = row_at(frame, "weak", "pgd", seed=1)
    sizes = {"linf_max": 0.5, "rmse": 0.1, "psnr": 20.0}
    frame.at[place, "record"] = synthetic.altered(frame.at[place, "record"], perturbation=sizes)
    (table,) = tables(frame)
    cell = next(
        cell for row in table.rows if row.defense == "weak" for cell in row.cells
        if cell.attack == "pgd"
    )  # fmt: skip
    assert cell.sizes.linf == pytest.approx((0.9 + 0.5) / 2)
    assert cell.sizes.psnr == pytest.approx((12 + 20) / 2)
    assert cell.sizes.ssim == pytest.approx(0.3)  # of the one seed that has it
    attack = next(attack for attack in table.attacks if attack.attack == "pgd")
    assert attack.sizes.linf == pytest.approx((3 * 0.9 + 0.7) / 4)
    scores = [c.score.value for row in table.rows for c in row.cells if c.attack == "pgd"]
    assert attack.score == pytest.approx(np.mean(scores))
    noop = next(attack for attack in table.attacks if attack.attack == "noop")
    assert noop.sizes.psnr is None
