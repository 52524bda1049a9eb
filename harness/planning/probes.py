"""Stages that probe the gradients of defended networks, one for each network of a matrix."""

from __future__ import annotations

from harness.planning.attacks import answering_defense
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.options import ProbeOptions
from harness.planning.shared_stages import SharedStages, spec

PROBED = {"classification": 64, "segmentation": 4}
"""Task → number of test examples that a network is probed at; pictures with label maps are
costly, and their pixels are many."""


class ProbeStages:
    """Adds the stages that probe networks.

    Args:
        shared: adds and remembers stages.
    """

    def __init__(self, shared: SharedStages) -> None:
        self.shared = shared

    def probe(self, s: CellSetting, net: str, subset: str) -> dict[str, str]:
        """Add the probe of a cell's network, unless another cell has; no attack plays a part.

        Args:
            s: the cell.
            net: stage of the defended network.
            subset: stage of the test examples.

        Returns:
            Role → stage key; empty where the threat model has none.
        """
        if not s.threat.probed:
            return {}
        return {"probe": self.shared.once(("probe", *s.network), lambda: self._add(s, net, subset))}

    def _add(self, s: CellSetting, net: str, subset: str) -> str:
        inputs = {
            "weights": Input(net, ""),
            "slice_x": Input(subset, "x"),
            "slice_y": Input(subset, "y"),
            **spec(self.shared.data(s.matrix, "student")),
        }
        roles = {"victim": s.victim} | answering_defense(s)
        options = ProbeOptions(
            s.threat.access,
            no_model_access=False,
            hook="probe",
            batch=PROBED[s.context.task],
            samples=s.samples,
            noise=s.defense.noise,
        )
        return self.shared.module_stage("probe", s.seed, inputs, roles, options=options)
