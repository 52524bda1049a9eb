"""Stages that map where networks look, on clean and on attacked inputs."""

from __future__ import annotations

from harness.planning.attacks import answering_defense
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.options import MapsOptions
from harness.planning.shared_stages import SharedStages, spec


class AttentionStages:
    """Adds the stages that map networks.

    Args:
        shared: adds and remembers stages.
    """

    def __init__(self, shared: SharedStages) -> None:
        self.shared = shared

    def maps(self, s: CellSetting, net: str, clean: Input, attacked: Input) -> dict[str, str]:
        """Add the maps of a cell's network; those of clean inputs once for all attacks.

        Args:
            s: the cell.
            net: stage of the defended network.
            clean: the test examples.
            attacked: the same after the attack.

        Returns:
            Role → stage key; empty where the matrix keeps none, and under a radius for attacks that
            look for the nearest wrong input.
        """
        if not s.matrix.keep.attention or s.context.task != "classification":
            return {}
        if s.minimal and not s.budget.entry.minimal:  # some of its inputs are beyond the radius
            return {}
        before = self.shared.once(("maps", *s.network), lambda: self._add(s, net, clean))
        return {"maps_before": before, "maps_after": self._add(s, net, attacked)}

    def _add(self, s: CellSetting, net: str, x: Input) -> str:
        data = self.shared.data(s.matrix, "student")
        inputs = {"weights": Input(net, ""), "x": x, **spec(data)}
        roles = {"victim": s.victim} | answering_defense(s)
        options = MapsOptions(s.matrix.eval_subset.batch, s.matrix.keep.attention)
        return self.shared.module_stage("maps", s.seed, inputs, roles, options=options)
