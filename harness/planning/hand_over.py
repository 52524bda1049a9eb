"""Stages of attacks in order, of which each gets the examples that still stand."""

from __future__ import annotations

from collections.abc import Sequence

from harness.planning.attacks import AttackStages, Examples
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.recipe import MergeRecipe, SurvivorsRecipe
from harness.planning.shared_stages import SharedStages

TASK = "classification"
"""The task in which an example is broken or stands."""


def find_unfit(s: CellSetting) -> str | None:
    """Return why an attack cannot be handed a part of the examples, or ``None``."""
    if s.context.task != TASK:
        return f"hand-over is for {TASK}: in {s.context.task} an example is not broken as a whole"
    if s.minimal:
        return f"attack {s.attacker.name} looks for the nearest wrong input, at any distance"
    if s.attacker.manifest.batch_dependent:
        return f"attack {s.attacker.name} treats a batch as a whole, so that it gets no part of one"
    return None


class HandOverStages:
    """Adds the stages of attacks that are handed what still stands.

    The first attack gets the whole eval subset, so that its stage is the one of the attack alone.

    Args:
        shared: adds and remembers stages.
        attacks: adds the stages of each attack and of predictions.
    """

    def __init__(self, shared: SharedStages, attacks: AttackStages) -> None:
        self.shared, self.attacks = shared, attacks

    def attack(
        self, members: Sequence[CellSetting], net: str, subset: str
    ) -> tuple[dict[str, str], frozenset[str]]:
        """Add the stages that make, hand over, join and measure attacked inputs.

        Args:
            members: the cell with each of the attacks, in order.
            net: stage of the defended network.
            subset: stage of the test examples.

        Returns:
            Role → stage key: ``attack`` joins what the attacks ``attack_1``, … have made;
            ``survivors_2``, … chose the examples of each but the first, by the predictions
            ``after_1``, …. And the keys of the stages that the attacks and the defence run.
        """
        first = members[0]
        goal = self.shared.goal(first, subset)
        roles, own = {"goal": goal} if goal else {}, frozenset[str]()
        examples = Examples.of(subset, goal)
        merged = dict[str, Input]()
        for number, s in enumerate(members, 1):
            key, ran = self.attacks.make(s, net, examples)
            own |= ran
            roles[f"attack_{number}"] = key
            merged[f"attacked_{number}"] = Input(key, "attacked")
            if examples.rows:
                merged[f"rows_{number}"] = examples.rows
            if number < len(members):
                after = self.attacks.predict(s, net, Input(key, "attacked"))
                survivors = self._survivors(s, net, subset, examples, after, key)
                own |= {after}
                roles |= {f"after_{number}": after, f"survivors_{number + 1}": survivors}
                examples = _handed(s, survivors)
        merge = self.shared.graph.add("merge", merged, MergeRecipe(len(members)))
        measure = self.attacks.measure(first, subset, merge)
        return roles | {"attack": merge, "measure": measure}, own

    def _survivors(
        self, s: CellSetting, net: str, subset: str, examples: Examples, after: str, attack: str
    ) -> str:
        """Add the stage that chooses, of an attack's examples, those that it has not broken."""
        clean = self.attacks.predict_clean(s, net, Input(subset, "x"))
        inputs = {
            "slice": Input(subset, ""),
            "before": Input(clean, "outputs"),
            "after": Input(after, "outputs"),
        }
        if goal := self.shared.goal(s, subset):
            inputs["goal"] = Input(goal, "goal")
        if examples.rows:
            inputs["rows"] = examples.rows
        if s.threat.access == "oracle":
            inputs["asked"] = Input(attack, "oracle")
        return self.shared.graph.add("survivors", inputs, SurvivorsRecipe())


def _handed(s: CellSetting, survivors: str) -> Examples:
    """Return the examples that a stage has chosen."""
    return Examples(
        Input(survivors, "x"),
        Input(survivors, "y"),
        None if s.matrix.goal.targeted is None else Input(survivors, "goal"),
        Input(survivors, "rows"),
        Input(survivors, "spent") if s.threat.access == "oracle" else None,
    )
