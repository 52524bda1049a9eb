"""Stages of a cell: from data over networks and attacks to the predictions that it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from harness.config.benchmark import Matrix
from harness.datasets import Datasets
from harness.planning.attacks import AttackStages
from harness.planning.attention import AttentionStages
from harness.planning.borrowed import Batch
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Graph, Input
from harness.planning.hand_over import HandOverStages
from harness.planning.networks import Network, NetworkStages
from harness.planning.probes import ProbeStages
from harness.planning.recipe import SubsetRecipe
from harness.planning.shared_stages import SharedStages, spec
from harness.planning.teachers import TeacherStages


class CellStages(NamedTuple):
    """Stages that a cell's score reads.

    Attributes:
        roles: role → stage key.
        own: keys of the stages that the cell's attack or defence runs.
        absent: metric → why the plan has no stages for it.
    """

    roles: dict[str, str]
    own: frozenset[str]
    absent: Mapping[str, str] = MappingProxyType({})


class CellInputs(NamedTuple):
    """Inputs of the predictions of a cell.

    Attributes:
        clean: the test examples.
        attacked: the same after the attack; equal to ``clean`` where it changes none.
    """

    clean: Input
    attacked: Input


class StageBuilder:
    """Adds the stages of cells to a graph; equal stages are added once.

    Args:
        graph: where the stages go.
        sets: the data sets.
        folder: folder of the benchmark's file, or ``None``.
    """

    def __init__(self, graph: Graph, sets: Datasets, folder: Path | None) -> None:
        self.shared = SharedStages(graph, sets, folder)
        self.networks = NetworkStages(self.shared)
        self.attacks = AttackStages(self.shared, self.networks)
        self.hand_overs = HandOverStages(self.shared, self.attacks)
        self.probes = ProbeStages(self.shared)
        self.teachers = TeacherStages(self.shared, self.networks, self.attacks)
        self.attention = AttentionStages(self.shared)

    def add_data(self, matrix: Matrix) -> None:
        """Add the data stages of a matrix.

        Raises:
            DataMissing: a data set, or the list of its rows, is not on this machine.
        """
        for role in matrix.data:
            self.shared.data(matrix, role)
        self.shared.listed_rows(matrix)

    def build(self, s: CellSetting, members: Sequence[CellSetting] = ()) -> CellStages:
        """Add the stages of a cell.

        Args:
            s: the cell, with its attack, or with the first of several in order.
            members: the cell with each of them; empty where there is one attack.
        """
        data = self.shared.data(s.matrix, "student")
        subset = self.shared.eval_subset(s.matrix, data)
        clean = attacked = Input(subset, "x")
        net = self.networks.network(s)
        roles = {"slice": subset} | dict(net.made) | {"network": net.key}
        own = net.own
        if s.threat.at_test:
            if members:
                more, ran = self.hand_overs.attack(members, net.key, subset)
            else:
                more, ran = self.attacks.attack(s, net.key, subset)
            roles |= more
            own |= ran
            probed = self.probes.probe(s, net.key, subset)
            roles |= probed
            own |= frozenset(probed.values())
            if "attack" in more:
                attacked = Input(more["attack"], "attacked")
        elif goal := self.shared.goal(s, subset):
            roles["goal"] = goal
        compare = COMPARISONS[s.threat.control, s.threat.at_test is not None]
        roles |= compare(self, s, net, CellInputs(clean, attacked))
        if s.threat.poisons and s.context.task == "ranking" and s.matrix.poisons == "train":
            roles |= self._training_items(s, data, net.key) | {"edits": net.made["poison"]}
        if attacked != clean:
            roles |= self.attention.maps(s, net.key, clean, attacked)
        if attacked != clean and s.context.task == "segmentation":
            # what is left of an attack in a picture file; maps of pixels are where it matters
            roles["eight_bit"] = self.attacks.predict(s, net.key, attacked, eight_bit=True)
        teacher = self.teachers.judge(s)
        roles |= teacher.roles
        roles |= self._votes(roles)
        return CellStages(roles, own | teacher.own | answers(roles), teacher.absent)

    def borrow(self, s: CellSetting, batch: Batch) -> CellStages:
        """Add the stages of a cell that is judged on inputs made against another defence.

        Args:
            s: the cell, without an attack of its own.
            batch: the inputs.
        """
        data = self.shared.data(s.matrix, "student")
        subset = self.shared.eval_subset(s.matrix, data)
        net, goal = self.networks.network(s), self.shared.goal(s, subset)
        roles = {"slice": subset} | dict(net.made) | {"network": net.key}
        roles |= {"goal": goal} if goal else {}
        roles |= {"batch": batch.attacked.key, "measure": batch.measure}
        roles |= self.compare_inputs(s, net, CellInputs(Input(subset, "x"), batch.attacked))
        roles |= self._votes(roles)
        return CellStages(roles, net.own | answers(roles))

    def _votes(self, roles: Mapping[str, str]) -> dict[str, str]:
        """Return the stages behind predictions that are decided by votes."""
        stages = self.shared.graph.stages
        inputs = {name: stages[roles[name]].inputs for name in ("before", "after")}
        return {f"votes_{name}": of["votes"].key for name, of in inputs.items() if "votes" in of}

    # -- predictions that a cell is judged by -------------------------------------------------

    def compare_inputs(self, s: CellSetting, net: Network, x: CellInputs) -> dict[str, str]:
        """Add one network's predictions on clean and on attacked inputs: evasion."""
        return {
            "before": self.attacks.predict_clean(s, net.key, x.clean),
            "after": self.attacks.predict(s, net.key, x.attacked),
        }

    def compare_networks(self, s: CellSetting, net: Network, x: CellInputs) -> dict[str, str]:
        """Add the predictions of the control and of the attacked network: poisoning."""
        control = s.control()
        untouched = self.networks.network(control).key
        return {
            "before": self.attacks.predict_clean(control, untouched, x.clean),
            "after": self.attacks.predict(s, net.key, x.attacked),
        }

    def compare_both(self, s: CellSetting, net: Network, x: CellInputs) -> dict[str, str]:
        """Add the predictions of each control, too, on clean and on triggered inputs: backdoors."""
        found: dict[str, str] = {}
        for name, control in s.controls().items():
            untouched = self.networks.network(control).key
            found[f"{name}_before"] = self.attacks.predict_clean(control, untouched, x.clean)
            found[f"{name}_after"] = self.attacks.predict(control, untouched, x.attacked)
        return found | self.compare_inputs(s, net, x)

    def _training_items(self, s: CellSetting, data: str, net: str) -> dict[str, str]:
        """Add what edited comparisons are judged by: two rankers' outputs on the training items.

        One is the attacked one, the other the undefended one that was trained without the attack.
        """
        inputs = {"data": Input(data, "train"), **spec(data)}
        rows = self.shared.graph.add("slice", inputs, SubsetRecipe(None))
        items = Input(rows, "x")

        def undefended() -> str:
            clean = self.networks.clean_network("train", s, data, s.victim)
            return self.attacks.predict(s, clean, items, defended=False)

        margins = self.shared.once(("margins", s.matrix.name, s.victim.label, s.seed), undefended)
        return {"rows": rows, "fit": self.attacks.predict(s, net, items), "margins": margins}


def answers(roles: Mapping[str, str]) -> frozenset[str]:
    """Return the stages in which the network answers under attack."""
    return frozenset(roles[name] for name in ("after", "votes_after") if name in roles)


Comparison = Callable[[StageBuilder, CellSetting, Network, CellInputs], dict[str, str]]

COMPARISONS: MappingProxyType[tuple[bool, bool], Comparison] = MappingProxyType(
    {
        (False, True): StageBuilder.compare_inputs,
        (True, False): StageBuilder.compare_networks,
        (True, True): StageBuilder.compare_both,
    }
)
"""Whether a threat model has a control, and whether it changes test inputs → the predictions."""
