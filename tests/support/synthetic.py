"""Invented suites for tests of the leaderboard and the site: plausible, deterministic, labelled so.

A suite is a small description; ``frame`` turns it into the frame that
``harness.report.frame`` makes of a plan and its records. Nothing here was ever measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.config.threat import CONTROLS, THREATS
from harness.judge.values import Absent, Rate, proportion
from harness.results.codec import pack_bits
from harness.results.records import Record
from tests.support.synthetic_maps import map_figures

Gap = tuple[str, str]  # status, reason
UNBOUNDED = "unbounded"
BY = {"ok": None, "missing": "harness", "not_applicable": "rule", "avoided": "defense"}
"""Status → what it is put down to; every other is the attack's."""
CLASSES = ("sky", "road", "traffic light")
_UNLISTED = {"data", "knowledge", "defense_module", "attack_module"}
EVASION_DEFENSES = {
    "awp-trades": 0.60,
    "mart": 0.59,
    "trades": 0.58,
    "pgd-training": 0.50,
    "free-training": 0.40,
    "bit-depth": 0.02,
    "jpeg/q75": 0.015,
    "none": 0.0,
    "diffusion-purify": 0.55,
    "random-resize": 0.03,
}
EVASION_ATTACKS = {
    "apgd-t": 1.0,
    "pgd-40": 0.97,
    "square": 0.85,
    "fgsm": 0.7,
    "random_noise": 0.08,
    "noop": 0.0,
}


@dataclass(frozen=True)
class Suite:
    """One matrix of an invented benchmark.

    Attributes:
        defenses: label → share of examples that survives the strongest attack at full strength.
        attacks: label → power in [0, 1].
        budgets: label and epsilon; a smaller epsilon is a weaker attack. Without one: a share of
            edits, a patch where the label says so, or no bound where it is ``UNBOUNDED``.
        gaps: (defence, attack) → status and reason in place of a result.
        flags: (defence, attack) → name and sentence.
        outside: attacks that ran with the local executor, whatever the others did.
    """

    benchmark: str = "invented"
    matrix: str = "linf"
    task: str = "classification"
    threat_model: str = "evasion"
    victims: Sequence[str] = ("small-cnn",)
    defenses: Mapping[str, float] = field(default_factory=lambda: EVASION_DEFENSES)
    attacks: Mapping[str, float] = field(default_factory=lambda: EVASION_ATTACKS)
    budgets: Sequence[tuple[str, float | None]] = (("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255))
    seeds: Sequence[int] = (0, 1, 2)
    examples: int = 500
    clean: float = 0.92
    gaps: Mapping[tuple[str, str], Gap] = field(default_factory=dict)
    flags: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    executor: str = "local"
    outside: Sequence[str] = ()
    stale: bool = False

    def executor_of(self, attack: str) -> str:
        return "local" if attack in self.outside else self.executor

    def images(self, attack: str) -> dict[str, str]:
        image = "sha256:" + "a1" * 32
        return (
            dict.fromkeys(("train", "attack"), image)
            if self.executor_of(attack) == "docker"
            else {}
        )


def frame(*suites: Suite) -> pd.DataFrame:
    """The frame of invented suites, one row a planned cell."""
    return pd.DataFrame([row for suite in suites for row in _rows(suite)])


def altered(record: Record, **fields: object) -> Record:
    """Return a record with other fields, which must be valid."""
    return Record.model_validate(record.to_json() | fields)


def alter(frame: pd.DataFrame, change: Callable[[Record], dict[str, Any]]) -> pd.DataFrame:
    """Change fields of every record of a frame in place."""
    frame["record"] = [altered(record, **change(record)) for record in frame.record]
    return frame


def limits(label: str, eps: float | None) -> dict[str, Any]:
    """The fields of a budget."""
    if label == UNBOUNDED:
        return {"unbounded": True}
    if label.startswith("patch"):
        return {"patch": 5}
    return {"edits": 0.05} if eps is None else {"norm": "linf", "eps": eps}


def without_records(suite: Suite) -> pd.DataFrame:
    """The frame of a suite that was planned and never run."""
    never = ("missing", "not run yet")
    pairs = {(d, a): never for d in suite.defenses for a in suite.attacks}
    return frame(replace(suite, gaps=pairs))


def _rows(suite: Suite) -> list[dict[str, Any]]:
    rows = []
    for victim in suite.victims:
        for label, eps in suite.budgets:
            for defense, strength in suite.defenses.items():
                for seed in suite.seeds:
                    world = _World(suite, victim, defense, strength, eps, seed)
                    rows += [world.row(label, attack) for attack in suite.attacks]
    return rows


def digest(*parts: object) -> str:
    """Sixty-four hex digits that depend on all parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _World:
    """One defended network: the same examples, one difficulty each."""

    def __init__(
        self, suite: Suite, victim: str, defense: str, strength: float, eps: float | None, seed: int
    ) -> None:
        self.suite, self.victim, self.defense, self.seed, self.eps = (
            suite,
            victim,
            defense,
            seed,
            eps,
        )
        shared = np.random.default_rng(7)
        own = np.random.default_rng(int(digest(victim, defense, seed)[:8], 16))
        n = suite.examples
        jitter = 0.05 * own.standard_normal(n)
        self.difficulty = np.clip(shared.random(n) + jitter, 0, 1)
        self.before = shared.random(n) < suite.clean - 0.12 * strength + 0.01 * own.random()
        full = max((e for _, e in suite.budgets if e), default=1.0)
        self.scale = (eps or full) / full
        self.strength = strength

    def row(self, label: str, attack: str) -> dict[str, Any]:
        suite = self.suite
        status, reason = suite.gaps.get((self.defense, attack), ("ok", None))
        threat = THREATS[suite.threat_model]
        cell = {
            "benchmark": suite.benchmark,
            "matrix": suite.matrix,
            "task": suite.task,
            "threat_model": suite.threat_model,
            "victim": self.victim,
            "defense": self.defense,
            "attack": attack,
            "defense_module": self.defense.split("/")[0],
            "attack_module": attack.split("/")[0],
            "budget": limits(label, self.eps),
            "budget_label": label,
            "goal": "untargeted",
            "knowledge": "none",
            "data": {"student": "digits"},
            "seed": self.seed,
        }
        key = digest(cell)
        names = [suite.benchmark, suite.matrix, self.victim, self.defense, attack]
        names += [label.replace(" ", "-"), f"s{self.seed}"]
        cell_id = "/".join(name.replace("/", ".") for name in names)
        by = BY.get(status, "attack")
        ran = by not in ("harness", "rule")
        record = self._record(cell, key, cell_id, attack, status, reason) if ran else None
        metrics = record.metrics if record else {}
        row: dict[str, Any] = {name: cell[name] for name in cell if name not in _UNLISTED}
        row |= {
            "key": key,
            "cell_id": cell_id,
            "access": threat.access,
            "eps": self.eps,
            "status": status,
            "stage": None if status in {"ok", "missing", "not_applicable"} else "attack",
            "reason": reason,
            "by": by,
            "ensemble": False,
            "stale": suite.stale and record is not None,
            "contained": ran and suite.executor_of(attack) == "docker",
            "record": record,
            "defense_control": self.defense in CONTROLS["defense"],
            "attack_control": attack in CONTROLS["attack"],
        }
        for name, metric in metrics.items():
            row |= {name: metric.value, f"{name}_lo": metric.lo, f"{name}_hi": metric.hi}
            row |= {f"{name}_k": metric.k, f"{name}_n": metric.n}
        return row

    def _record(
        self,
        cell: dict[str, Any],
        key: str,
        cell_id: str,
        attack: str,
        status: str,
        reason: str | None,
    ) -> Record:
        suite = self.suite
        figures: dict[str, Any] = {
            "metrics": {},
            "parts": {},
            "outcomes": None,
            "confusions": None,
        }
        if status == "ok":
            figures = (
                map_figures(self._held(attack), CLASSES)
                if suite.task == "segmentation"
                else self._bits(attack)
            )
        flag = suite.flags.get((self.defense, attack))
        spent = round(0.2 + 4 * suite.attacks[attack], 3)
        body = {
            "schema": "record/1",
            "key": key,
            "id": cell_id,
            "cell": cell,
            "status": status,
            "stage": None if status == "ok" else "attack",
            "reason": reason,
            **({} if status == "ok" else {"by": BY.get(status, "attack")}),
            **figures,
            "perturbation": self._sizes(attack, cell["budget"]) if status == "ok" else None,
            "queries": None,
            "notes": [],
            "members": [],
            "cost": {
                "attack": {
                    "forward": int(40 * suite.examples * suite.attacks[attack]),
                    "backward": int(40 * suite.examples * suite.attacks[attack]),
                }
            },
            "flags": [{"name": flag[0], "text": flag[1]}] if flag else [],
            "stages": {
                "data": digest("data", suite.matrix),
                "slice": digest("slice", suite.matrix),
            }
            | {
                "network": digest("network", self.victim, self.defense, self.seed),
                "before": digest("before", self.victim, self.defense, self.seed),
            }
            | {
                stage: digest(stage, self.victim, self.defense, self.seed, attack, cell["budget"])
                for stage in ("attack", "measure", "after")
            },
            "modules": {
                f"attacks/{attack.split('/')[0]}": digest(attack),
                f"defenses/{self.defense.split('/')[0]}": digest(self.defense),
                f"victims/{self.victim}": digest(self.victim),
            },
            "params": {"attack": {"steps": 20}, "defense": {}, "victim": {}},
            "method": 1,
            "environment": {
                "executor": suite.executor_of(attack),
                "device": "cpu",
                "python": "3.11.7",
                "torch": "2.15.0",
                "lock": digest("lock"),
                "threads": 1,
            },
        }
        run = {
            "id": "run-1",
            "commit": "0123abc",
            "dirty": False,
            "finished": f"2026-11-{14 + self.seed:02d}T09:30:00+00:00",
            "seconds": {"train": 30 + 60 * self.strength, "attack": spent, "after": 0.1},
            "hook_seconds": {"train": 29 + 60 * self.strength, "attack": spent, "after": 0.05},
            "peak_memory": {"train": 410_000_000, "attack": 350_000_000},
            "machine": "a laptop",
            "images": suite.images(attack),
        }
        return Record.model_validate({**body, "run": run, "result": digest(body)})

    def _sizes(self, attack: str, budget: dict[str, Any]) -> dict[str, float] | None:
        if budget.get("unbounded"):
            power = self.suite.attacks[attack]
            sizes = {"linf_max": 0.9 * power, "linf_mean": 0.8 * power, "rmse": 0.2 * power}
            return sizes | ({"psnr": 30 - 18 * power, "ssim": 1 - 0.7 * power} if power else {})
        if self.eps is None:
            return None
        return {"linf_max": self.eps, "linf_mean": self.eps, "psnr": 31.2}

    def _held(self, attack: str) -> np.ndarray:
        power = self.suite.attacks[attack] * self.scale
        alone = np.random.default_rng(int(digest(attack)[:8], 16)).random(self.suite.examples)
        return self.difficulty + 0.04 * alone > power * (1 - self.strength)

    def _bits(self, attack: str) -> dict[str, Any]:
        suite = self.suite
        n, before = suite.examples, self.before
        after = before & self._held(attack)
        if THREATS[suite.threat_model].at_test == "trigger":
            eligible = before & (np.arange(n) % 10 != 3)
            success = eligible & ~self._held(attack)
            after = before & ~success
        else:
            eligible, success = before, before & ~after
        metrics: dict[str, Rate | Absent] = {
            "clean_accuracy": proportion(int(before.sum()), n, "empty"),
            "accuracy": proportion(int(after.sum()), n, "empty"),
            "robust_accuracy": proportion(int((before & after).sum()), n, "empty"),
            "attack_success_rate": proportion(
                int(success.sum()), int(eligible.sum()), "no input was right before the attack"
            ),
        }
        if THREATS[suite.threat_model].at_test == "trigger":
            control = int(0.06 * eligible.sum())
            metrics["control_success_rate"] = proportion(control, int(eligible.sum()), "none")
        if THREATS[suite.threat_model].delivers and attack != "noop":
            control = int(0.09 * eligible.sum())
            metrics["clean_form_success_rate"] = proportion(control, int(eligible.sum()), "none")
        outcomes = {"ids": digest("ids", n), "n": n}
        outcomes |= {
            name: pack_bits(bits)
            for name, bits in (
                ("before", before),
                ("after", after),
                ("success", success),
                ("eligible", eligible),
            )
        }
        return {
            "metrics": {name: metric.to_json() for name, metric in metrics.items()},
            "parts": {},
            "outcomes": outcomes,
            "confusions": None,
        }


def scale(records: int = 20_250) -> Suite:
    """A suite of so many records: 30 attacks × 5 budgets × 3 seeds, and defences as needed."""
    attacks = {f"attack-{i:02d}": 0.4 + 0.6 * i / 29 for i in range(30)}
    count = records // (30 * 5 * 3)
    defenses = {"none": 0.0} | {f"defence-{i:02d}": 0.65 * i / count for i in range(1, count)}
    budgets = [(f"L∞ {size}/255", size / 255) for size in (16, 8, 4, 2, 1)]
    return Suite(
        benchmark="scale",
        defenses=defenses,
        attacks=attacks,
        budgets=budgets,
        examples=1000,
        executor="docker",
        gaps={("defence-03", "attack-07"): ("timeout", "stopped at its limit of 20 min")},
    )
