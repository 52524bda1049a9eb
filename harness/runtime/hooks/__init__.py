"""Protocols of the hooks that a module may implement, one for each hook.

A module is a plain class. It inherits nothing and implements the methods that its manifest lists
under ``hooks``. Argument names and their order are fixed: the loader compares them with ``HOOKS``.

These rules hold for every hook:

- Inputs are float32 in [0, 1] on ``ctx.device``. Networks normalise their inputs themselves.
- ``network`` can be trained. ``model`` is frozen, in eval mode and counts its passes.
- Arguments must not be changed in place; ``network`` is the exception where its hook trains it.
- Networks answer in float32, with the first dimension also for one input, whatever else is in the
  batch. They leave their inputs as they are. A logit or output that is not finite counts as wrong.
- Random numbers come from ``ctx.generator(...)``. The harness also seeds torch's global generator
  before a hook runs.
- ``NotApplicable(reason)`` ends the cell as ``not_applicable``. A returned value of the wrong
  type, shape or dtype, or one that is not finite (a network's answers excepted), ends it as
  ``contract_violation``. Every other exception ends it as ``module_error``.
- What is known before a run (which budgets, goals, tasks or inputs a module can play) belongs into
  the manifest's ``requires``, so that ``plan`` reports it.
- ``ctx.remaining()`` is the time left. A stage that exceeds its limit is stopped as ``timeout``.
"""

from __future__ import annotations

import inspect
from types import FunctionType

from harness.runtime.hooks import attack, defense, victim

PROTOCOLS: dict[str, tuple[type, ...]] = {
    "attack": (
        attack.AttackLearn,
        attack.AttackPerturb,
        attack.AttackPoison,
        attack.AttackTrigger,
        attack.AttackDeliver,
    ),
    "defense": (
        defense.DefenseBuild,
        defense.DefenseSanitize,
        defense.DefenseFit,
        defense.DefenseLoss,
        defense.DefenseRepair,
        defense.DefenseGuard,
    ),
    "victim": (
        victim.VictimBuild,
        victim.VictimLoss,
        victim.VictimRecipe,
        victim.VictimFit,
        victim.VictimImportWeights,
    ),
}
"""Kind of module → the Protocols of its hooks, in the order in which a run calls them."""


def hook_of(protocol: type) -> tuple[str, FunctionType]:
    """Return the name and the signature-bearing function of a Protocol's only hook.

    >>> hook_of(attack.AttackTrigger)[0]
    'trigger'
    """
    (found,) = (
        (name, value)
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_")
    )
    return found


def argument_names() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the table kind → hook → argument names in order, read from the Protocols.

    >>> argument_names()["attack"]["trigger"]
    ('x', 'budget', 'ctx')
    """
    return {
        kind: {
            name: tuple(inspect.signature(function).parameters)[1:]
            for name, function in map(hook_of, protocols)
        }
        for kind, protocols in PROTOCOLS.items()
    }


HOOKS = argument_names()
"""Table of hooks: kind → hook → argument names, in order."""
