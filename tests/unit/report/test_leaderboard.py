"""Ranked tables from invented records: order, ranks, columns, sizes."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from harness.common.status import Status
from harness.report.cells import STATUSES
from harness.report.leaderboard import tables
from harness.results.records import Record
from tests.support import synthetic
from tests.support.leaderboards import BACKDOOR, MAPS, POISON, SMALL, row_at, rows_of


@pytest.mark.parametrize("suite", [SMALL, POISON, BACKDOOR, MAPS], ids=lambda s: s.threat_model)
def test_synthetic_records_are_valid(suite):
    for record in synthetic.frame(suite).record:
        assert isinstance(record, Record)


def test_status_words_cover_the_closed_list():
    assert set(STATUSES) == set(get_args(Status))


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


def test_stale_records_keep_their_number():
    rows, _ = rows_of(replace(SMALL, stale=True))
    assert rows["weak"].rank == 3
    assert rows["weak"].stale == 9
    assert rows["weak"].cells[0].stale


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
    assert rows["strong"].applicable == 2
    assert rows["strong"].strongest == "pgd"
    assert rows["strong"].score == rows_of(SMALL)[0]["strong"].score


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
