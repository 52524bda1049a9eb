"""Attacked inputs that were made against another defence, which a defence meets as well.

An attack that fails against a defence proves nothing by itself: it may have been blinded. Inputs
made against the undefended network, or against a rival, need nothing of the defence but its
predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.config.threat import CONTROLS
from harness.planning.cell import Cell
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Graph, Input
from harness.planning.recipe import MeasureRecipe, StrongestRecipe
from harness.planning.resolved_entry import ResolvedEntry

STRONGEST = "strongest"
"""Label of the batch that holds, of each example, the strongest of a defence's attacks."""
GRADIENTS = frozenset({"loss", "gradients"})
"""Values of a manifest's ``needs`` by which an attack follows gradients."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Attacked inputs that were made against one defence.

    Attributes:
        label: label of the attack, or ``strongest``.
        donor: the defence.
        attacks: the attacks that made them.
        attacked: the inputs.
        measure: key of the stage that measured them.
    """

    label: str
    donor: ResolvedEntry
    attacks: tuple[ResolvedEntry, ...]
    attacked: Input
    measure: str

    @property
    def name(self) -> str:
        """Name of the attack's module, or ``strongest``."""
        return self.attacks[0].name if self.label != STRONGEST else STRONGEST

    @property
    def cell_label(self) -> str:
        """Label of a cell that is judged on these inputs: ``pgd@none``."""
        return f"{self.label}@{self.donor.label}"


def is_undefended(defense: ResolvedEntry) -> bool:
    """Return whether a defence is the undefended control."""
    return defense.name in CONTROLS["defense"]


def batches_of(
    graph: Graph, donor: CellSetting, cells: Sequence[tuple[ResolvedEntry, Cell]], borrow: str
) -> Iterator[Batch]:
    """Yield what others may borrow of one defence.

    Args:
        graph: where the stage that chooses the strongest inputs goes.
        donor: the defence in its setting.
        cells: its attacks, without controls, with their cells; those that make no inputs are
            passed over.
        borrow: ``undefended`` or ``all``.
    """
    made = [(attack, cell.stages) for attack, cell in cells if "attack" in cell.stages]
    if not is_undefended(donor.defense):
        made = [(a, stages) for a, stages in made if GRADIENTS & set(a.manifest.needs)]
        if borrow != "all":
            return
        if len(made) > 1:
            yield _strongest(graph, donor, made)
            return
    for attack, stages in made:
        attacked = Input(stages["attack"], "attacked")
        yield Batch(attack.label, donor.defense, (attack,), attacked, stages["measure"])


def _strongest(
    graph: Graph,
    donor: CellSetting,
    made: Sequence[tuple[ResolvedEntry, Mapping[str, str]]],
) -> Batch:
    """Add the stages that choose and measure a defence's strongest inputs."""
    first = made[0][1]
    inputs = {"slice": Input(first["slice"], "")}
    if "goal" in first:
        inputs["goal"] = Input(first["goal"], "goal")
    for number, (_, stages) in enumerate(made):
        inputs[f"attacked_{number}"] = Input(stages["attack"], "attacked")
        inputs[f"outputs_{number}"] = Input(stages["after"], "outputs")
    key = graph.add(STRONGEST, inputs, StrongestRecipe(len(made)))
    measured = {"clean": Input(first["slice"], "x"), "attacked": Input(key, "attacked")}
    measure = graph.add("measure", measured, MeasureRecipe(donor.matrix.keep.examples))
    attacks = tuple(attack for attack, _ in made)
    return Batch(STRONGEST, donor.defense, attacks, Input(key, "attacked"), measure)
