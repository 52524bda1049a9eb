"""Invented outcomes of attacks, the same on every defence: what each breaks, or its distances."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.results.codec import pack_bits, pack_distances
from tests.support import synthetic
from tests.support.synthetic import Suite

N = 200
"""Examples, all right before the attack."""


def frame(attacks, passes, *, distances=None, defenses=("none", "guard"), gap=()) -> pd.DataFrame:
    """Attack → its broken examples (of 200, all right before), or its distances."""
    budget = ("nearest in L2", None) if distances else ("L∞ 8/255", 8 / 255)
    suite = Suite(defenses=dict.fromkeys(defenses, 0.5), attacks=dict.fromkeys(attacks, 1.0),
                  budgets=(budget,), examples=N, seeds=(0,),
                  gaps=dict.fromkeys(gap, ("timeout", "too slow")))  # fmt: skip
    found = synthetic.frame(suite)
    made = []
    for place, record in enumerate(found.record):
        if record.status != "ok":
            made.append(record)
            continue
        cell = record.cell
        after = np.ones(N, bool)
        after[list(attacks[cell.attack])] = False
        bits = {"before": np.ones(N, bool), "after": after, "success": ~after,
                "eligible": np.ones(N, bool)}  # fmt: skip
        outcomes = {"ids": "i", "n": N} | {name: pack_bits(each) for name, each in bits.items()}
        if distances:
            outcomes["distances"] = pack_distances(distances[cell.attack])
            limits = {"norm": "l2", "minimal": True}
            found.at[place, "budget"] = limits
            cell = cell.model_copy(update={"budget": limits})
        made.append(
            synthetic.altered(
                record,
                cell=cell,
                outcomes=outcomes,
                cost={"attack": {"forward": N * passes[cell.attack]}},
            )
        )
    found["record"] = made
    return found
