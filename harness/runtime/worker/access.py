"""What an attack may ask of a network that answers in another process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from harness.runtime.worker.query_ledger import QueryLedger

BATCH = 64
"""Rows of a batch in stages that have none of their own."""


@dataclass(frozen=True)
class Access:
    """What an attack may ask of a network.

    Attributes:
        asks: requests that are answered beside those of every model.
        ledger: ledger of its queries, or ``None`` if they are not counted for each example.
        answers: form of the answer to a query, ``scores`` or ``labels``.
        goal_inputs: stored clean inputs ``[N, …]`` from which goals are drawn, or ``None``.
        batch: largest number of rows in a batch of the stage.
        examples: number of the stage's inputs; 0 where the network is shown none.
        samples: passes of a random network whose mean is an answer; 1 where queries are counted.
        noise: standard deviation of the noise that each pass adds to its inputs, or ``None``.
        seed: seed of the noise.
        fixed: whether all passes get the same noise.
        kept: answers to the attacked inputs that are kept; of a random network, each of one pass.
    """

    asks: Collection[str] = ()
    ledger: QueryLedger | None = None
    answers: str = "scores"
    goal_inputs: Tensor | None = None
    batch: int = BATCH
    examples: int = 0
    samples: int = 1
    noise: float | None = None
    seed: int = 0
    fixed: bool = False
    kept: int = 1
