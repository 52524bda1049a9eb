"""Attacked inputs that were made against another defence, which a defence meets as well.

An attack that fails against a defence proves nothing by itself: it may have been blinded. Inputs
made against the undefended network, or against a rival, need nothing of the defence but its
predictions. Each defence also meets its own with all changes shrunk, as it could recognise changes
of exactly one radius.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.config.matrix_entries import ITSELF, SHRUNK, STRONGEST
from harness.config.threat import CONTROLS
from harness.planning.cell import Cell
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Graph, Input
from harness.planning.recipe import MeasureRecipe, StrongestRecipe
from harness.planning.resolved_entry import HandOver, ResolvedEntry

GRADIENTS = frozenset({"loss", "gradients"})
"""Values of a manifest's ``needs`` by which an attack follows gradients."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Attacked inputs that were made against one defence.

    Attributes:
        label: label of the attack, ``strongest`` or ``shrunk``.
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
    def chosen(self) -> bool:
        """Whether it is of several attacks, so that it has no parameters of one."""
        return self.label in (STRONGEST, SHRUNK) or len(self.attacks) > 1

    @property
    def name(self) -> str:
        """Name of the attack's module, ``strongest`` or ``shrunk``."""
        return self.label if self.chosen else self.attacks[0].name

    def lender(self, defense: ResolvedEntry) -> str:
        """Return the donor's label as the cells of a defence name it."""
        return ITSELF if self.donor is defense else self.donor.label

    def is_for(self, defense: ResolvedEntry) -> bool:
        """Return whether a defence meets these inputs.

        A defence knows its own already, but not with the changes shrunk; a rival's strongest are
        enough as they are.
        """
        if self.label != SHRUNK:
            return self.donor is not defense
        return self.donor is defense or is_undefended(self.donor)


def is_undefended(defense: ResolvedEntry) -> bool:
    """Return whether a defence is the undefended control."""
    return defense.name in CONTROLS["defense"] and defense.released is None


def batches_of(
    graph: Graph,
    donor: CellSetting,
    cells: Sequence[tuple[ResolvedEntry | HandOver, Cell]],
    borrow: str,
) -> Iterator[Batch]:
    """Yield what others may borrow of one defence.

    Args:
        graph: where the stage that chooses the strongest inputs goes.
        donor: the defence in its setting.
        cells: its attacks, without controls, with their cells; those that make no inputs are
            passed over.
        borrow: ``undefended`` or ``all``.
    """
    # the nearest wrong input of one network is hardly one of another, and may be over the radius
    made = [
        (attack, cell.stages)
        for attack, cell in cells
        if "attack" in cell.stages and not cell.minimal
    ]
    gradient = [(attack, stages) for attack, stages in made if follows_gradients(attack)]
    if gradient:
        yield _chosen(graph, donor, gradient, SHRUNK)
    if not is_undefended(donor.defense):
        if borrow != "all":
            return
        if len(gradient) > 1:
            yield _chosen(graph, donor, gradient, STRONGEST)
            return
        made = gradient
    for attack, stages in made:
        attacked = Input(stages["attack"], "attacked")
        yield Batch(attack.label, donor.defense, attack.members, attacked, stages["measure"])


def follows_gradients(attack: ResolvedEntry | HandOver) -> bool:
    """Return whether an attack, or one of several in order, follows gradients."""
    return any(GRADIENTS & set(one.manifest.needs) for one in attack.members)


def _chosen(
    graph: Graph,
    donor: CellSetting,
    made: Sequence[tuple[ResolvedEntry | HandOver, Mapping[str, str]]],
    label: str,
) -> Batch:
    """Add the stages that choose and measure a defence's strongest inputs."""
    first = made[0][1]
    inputs = {"slice": Input(first["slice"], "")}
    if "goal" in first:
        inputs["goal"] = Input(first["goal"], "goal")
    for number, (_, stages) in enumerate(made):
        inputs[f"attacked_{number}"] = Input(stages["attack"], "attacked")
        # of votes the single copies: an abstention would count for more than a wrong class
        part = "draws" if "votes_after" in stages else "outputs"
        inputs[f"outputs_{number}"] = Input(stages["after"], part)
    key = graph.add(STRONGEST, inputs, StrongestRecipe(len(made), shrunk=label == SHRUNK))
    measured = {"clean": Input(first["slice"], "x"), "attacked": Input(key, "attacked")}
    measure = graph.add("measure", measured, MeasureRecipe(donor.matrix.keep.examples))
    attacks = tuple(one for attack, _ in made for one in attack.members)
    return Batch(label, donor.defense, attacks, Input(key, "attacked"), measure)
