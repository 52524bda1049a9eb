"""Types of loaded modules: each has the hooks that its manifest lists, and perhaps no others."""

from __future__ import annotations

from typing import Protocol

from harness.runtime.contracts import Victim
from harness.runtime.hooks.attack import (
    AttackDeliver,
    AttackLearn,
    AttackPerturb,
    AttackPoison,
    AttackTrigger,
)
from harness.runtime.hooks.defense import (
    DefenseBuild,
    DefenseFit,
    DefenseGuard,
    DefenseLoss,
    DefenseRepair,
    DefenseSanitize,
)
from harness.runtime.hooks.victim import VictimImportWeights


class AttackModule(
    AttackLearn, AttackPerturb, AttackPoison, AttackTrigger, AttackDeliver, Protocol
):
    """Attack; call a hook only if its manifest lists it."""


class DefenseModule(
    DefenseBuild, DefenseSanitize, DefenseFit, DefenseLoss, DefenseRepair, DefenseGuard, Protocol
):
    """Defence; call a hook only if ``Job.has`` says so."""


class VictimModule(Victim, VictimImportWeights, Protocol):
    """Victim; ``import_weights`` exists only if its manifest lists it."""
