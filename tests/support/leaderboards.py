"""Suites of invented records whose leaderboards are tested, and their rows."""

from dataclasses import replace

import pandas as pd

from harness.report.leaderboard import tables
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
