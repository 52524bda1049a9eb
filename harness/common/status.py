"""Statuses of stages and cells, and the party that a failure is attributed to."""

from __future__ import annotations

from typing import Literal

Status = Literal[
    "ok",
    "not_applicable",
    "avoided",
    "module_error",
    "contract_violation",
    "budget_violation",
    "contradicts_proof",
    "timeout",
    "out_of_memory",
    "blocked",
    "infra_error",
    "missing",
]
"""The closed list: every planned cell ends in exactly one of these."""

By = Literal["rule", "victim", "defense", "attack", "harness"]
"""Party to which a missing result is attributed: a rule of the plan, a module, or Gauntlet."""

TRANSIENT = ("infra_error", "missing")
"""Statuses that say nothing about the stage: the next run tries it again."""
