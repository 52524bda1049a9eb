"""The matrices of cheats: planned, run, joined and ranked as a benchmark is."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.catalog import FOLDERS
from harness.report import frame
from harness.report.leaderboard import tables
from harness.report.tables import Row
from tests.support.workspaces import Checkout, matrix
from tests.traps.cheat import GAP, LEVEL, POINTS, RANKED, SIGN, Cheat
from tests.traps.cheats import CHEATS, WITHOUT
from tests.traps.cheats_networks import ADVERSARY

ROOT = Path(__file__).parents[2]
LINF = {"norm": "linf", "eps": 32 / 255}
TRAINED = {"name": "adversarial-training", **ADVERSARY}
ATTACKS = ("noop", "random_noise", "fgsm", "pgd", "pgd/pgd-40", "apgd", "apgd/dlr", "square")
GRADIENT = ("fgsm", "pgd", "pgd/pgd-40", "apgd")
"""Attacks of the tables of old."""
FEW = ["pgd", {"name": "square", "params": {"iterations": 200}}]
"""Attacks of a short run: one that follows gradients, and one that asks."""

GROUPS: Mapping[str, Mapping[str, Any]] = {
    "honest": {
        "defenses": ["none", TRAINED, "jpeg", "feature-squeezing/bits-4"],
        "borrow": "all",
    },
    "donors": {"defenses": ["none", "jpeg", "exits", "declines-gradients"], "borrow": "all"},
    "weights": {"defenses": ["none"]},
    "trained": {"defenses": ["none", TRAINED]},
    "random": {"defenses": ["none"]},
    "eot": {"defenses": ["none"]},
    "l2": {"defenses": ["none"], "budgets": [{"norm": "l2", "eps": 1.0}]},
}
"""Matrix → what it has beside its cheats. Where nothing else is said they borrow from ``none``
alone, so that no cheat meets batches of the others."""

HONEST = ("none", "adversarial-training", "jpeg", "feature-squeezing/bits-4")
"""Defences that keep their ranks, without a sign."""

EOT = '''
"""PGD on the mean gradient of four passes, each the mean over draws: for random defences."""

import torch

from harness.runtime.gradients import project, random_start


class Attack:
    def perturb(self, model, x, y, goal, budget, ctx):
        found = random_start(x, budget.norm, budget.eps, ctx.generator())
        for _ in range(20):
            total = torch.zeros_like(x)
            for _ in range(4):
                leaf = found.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(model.loss(leaf, y).sum(), leaf)
                total += gradient
            found = project(found + budget.eps / 8 * total.sign(), x, budget.norm, budget.eps)
        return found
'''


@dataclass(frozen=True)
class Scale:
    """Size of a run.

    Attributes:
        examples: number of test examples, all in one batch up to 250.
        seeds: seeds.
        attacks: the attacks, labels or entries.
        groups: matrices that are run.
    """

    examples: int
    seeds: tuple[int, ...] = (0,)
    attacks: Collection[Any] = ATTACKS
    groups: Collection[str] = tuple(GROUPS)


@dataclass
class Found:
    """What became of a run.

    Attributes:
        rows: (group, defence) → its row, at the budget of the cheats.
        seconds: wall-clock seconds of the run.
    """

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    seconds: float = 0.0

    def level(self, cheat: Cheat) -> float:
        """Return the robust score of the defence without the trick."""
        score = self.rows[cheat.reference or cheat.group, cheat.without].score
        assert score is not None, f"{cheat.without} has no result"
        return score.value

    def end(self, name: str) -> str:
        """Return how the row of a cheat ends, one of ``LEVEL, SIGN, GAP, RANKED``."""
        cheat = CHEATS[name]
        row = self.rows[cheat.group, name]
        if row.score is not None and row.score.value <= self.level(cheat) + POINTS:
            return LEVEL
        if row.rank is None:
            return SIGN if signs(row) else GAP
        return RANKED


def gradients_alone(row: Row) -> float | None:
    """Return what the strongest of the row's own gradient attacks leaves, all else unknown."""
    own = [cell.score.value for cell in row.cells if cell.attack in GRADIENT and cell.score]
    return min(own, default=None)


def signs(row: Row) -> list[str]:
    """Return the names of a row's signs of blinding."""
    return sorted({one.name for one in row.signs})


def play(checkout: Checkout, scale: Scale, executor: str, names: Iterable[str] = ()) -> Found:
    """Run the groups of a scale.

    Args:
        checkout: an empty one.
        scale: size of the run.
        executor: ``local`` or ``docker``.
        names: cheats that play; all of the groups by default.
    """
    for kind, found in (
        ("attack", {one.partition("/")[0] for one in ATTACKS}),
        ("defense", [one.partition("/")[0] for one in HONEST]),
        ("victim", ("small-cnn",)),
    ):
        for name in found:
            place = Path(FOLDERS[kind], name)
            shutil.copytree(ROOT / place, checkout.root / place, dirs_exist_ok=True)
    checkout.module("attack", "eot", EOT, needs=["loss", "gradients"], random=True)
    chosen = {name: CHEATS[name] for name in names or CHEATS if CHEATS[name].group in scale.groups}
    wanted: dict[str, list[Any]] = {group: [] for group in scale.groups}
    without = {cheat.without for cheat in chosen.values()}
    for name, (group, given) in WITHOUT.items():
        if name in without:
            checkout.module("defense", name, given["code"], **given["fields"])
            wanted[group].append(name)
    for name, cheat in CHEATS.items():
        checkout.module("defense", name, cheat.code, **cheat.fields)
    for name, cheat in chosen.items():
        for group in {cheat.group, cheat.reference or cheat.group} & set(wanted):
            wanted[group].append({"name": name, **cheat.entry})
    checkout.benchmark(
        *(group_matrix(group, more, scale) for group, more in wanted.items()), minutes=5
    )
    checkout.run(executor=executor, jobs=2)
    return read(checkout)


def group_matrix(group: str, more: list[Any], scale: Scale) -> dict[str, Any]:
    """Return the matrix of a group with these cheats."""
    fixed = dict(GROUPS[group])
    fixed["defenses"] = [*fixed["defenses"], *more]
    attacks = [*scale.attacks, *(["eot"] if group == "eot" else [])]
    return matrix(
        group,
        victims=["small-cnn"],
        attacks=attacks,
        **{"budgets": [LINF], "borrow": "undefended"} | fixed,
        eval_subset={"examples": scale.examples, "batch": min(scale.examples, 250)},
        seeds=list(scale.seeds),
    )


def read(checkout: Checkout) -> Found:
    """Return the rows of a run, from plan and records as the report reads them."""
    found = Found()
    for table in tables(frame.load(checkout.root)):
        for row in (*table.rows, *table.unranked):
            found.rows[table.matrix, row.defense] = row
    return found
