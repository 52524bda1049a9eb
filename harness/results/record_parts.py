"""Parts of a record: the cell, its figures and flags, the environment and the run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.results.checks import RecordedCheck, Strict

Number = int | float
"""A JSON number as it was written: 1 and 1.0 have different digests."""
Scalar = str | int | float | bool

STEPS = "steps"
"""Name of the number of training steps in a stage's cost, beside the rows in each direction."""


class RecordedCell(Strict):
    """A cell as its benchmark names it."""

    benchmark: str
    matrix: str
    task: Literal["classification", "ranking", "segmentation"]
    threat_model: str
    victim: str
    defense: str
    attack: str
    defense_module: str
    attack_module: str
    budget: dict[str, Scalar | list[Number]]
    budget_label: str
    goal: str
    knowledge: str
    data: dict[str, str]
    seed: int
    made_against: str | None = None
    weights: str | None = None


class HandedOver(Strict):
    """An attack among several in order, each of which is run on what still stands.

    Attributes:
        attack: its label.
        module: name of its module.
        examples: examples that it was run on.
        broken: those of them that it broke.
    """

    attack: str
    module: str
    examples: int
    broken: int


class Metric(Strict):
    """A figure with its interval and counts, or the reason for its absence.

    Attributes:
        value: the figure; a fraction for rates.
        k: successes, for rates that count examples.
        n: the denominator, for rates that count examples.
        lo: lower end of the interval.
        hi: upper end of the interval.
        level: confidence level of the interval.
        method: how the interval was made.
        absent: why there is no value.
    """

    value: Number | None = None
    k: int | None = None
    n: int | None = None
    lo: Number | None = None
    hi: Number | None = None
    level: Number | None = None
    method: str | None = None
    absent: str | None = None


class RecordedFlag(Strict):
    """A flag of one record: its name and a sentence on what looks wrong."""

    name: str
    text: str


class RecordedEnvironment(Strict):
    """Environment that the stages ran in; part of the result."""

    executor: Literal["local", "docker"]
    device: Literal["cpu", "cuda"]
    python: str
    torch: str
    lock: str
    threads: int


class Run(Strict):
    """Run id, times, memory and machine: everything that may differ between equal results.

    Attributes:
        id: the run's name.
        commit: of the checkout; ``None`` outside git.
        dirty: whether tracked files had been changed; ``None`` outside git.
        finished: ISO time at which the record was made.
        seconds: stage's role → its wall time.
        hook_seconds: stage's role → the time in hooks of modules.
        peak_memory: stage's role → bytes.
        machine: operating system and processor.
        images: stage's role → digest of its image, for stages in containers.
        checks: module → whether it passed ``gauntlet check`` when the record was made. Records
            from before the field know of none, and their modules count as unchecked.
    """

    id: str
    commit: str | None
    dirty: bool | None
    finished: str
    seconds: dict[str, Number]
    hook_seconds: dict[str, Number]
    peak_memory: dict[str, int]
    machine: str
    images: dict[str, str] = Field(default_factory=dict)
    checks: dict[str, RecordedCheck] = Field(default_factory=dict)

    @property
    def attack_seconds(self) -> float | None:
        """Wall time of the attack, or of several in order; ``None`` where none was run."""
        found = [s for role, s in self.seconds.items() if role.partition("_")[0] == "attack"]
        return float(sum(found)) if found else None
