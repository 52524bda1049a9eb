"""Kinds of flags: what each flag says about the number beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """What a flag speaks for or doubts; the value is how pages say it."""

    FLATTERS = "may flatter the defence"
    FAVORS = "speaks for the defence"
    ATTACK = "doubts the attack"
    PIPELINE = "doubts the pipeline"
    INFORMATION = "for information"

    @property
    def serious(self) -> bool:
        """Whether the number beside the flag may be worth less than it looks."""
        return self in (Direction.FLATTERS, Direction.ATTACK, Direction.PIPELINE)


@dataclass(frozen=True)
class FlagKind:
    """Row of the table of flags.

    Attributes:
        direction: what the flag says of a defence's number.
        meaning: one sentence for readers.
        undefended: what it says beside the undefended network, where that is something else.
    """

    direction: Direction
    meaning: str
    undefended: Direction | None = None


_FLATTERS, _PIPELINE = Direction.FLATTERS, Direction.PIPELINE

FLAG_KINDS: Mapping[str, FlagKind] = {
    # signs of blinding, which keep a defence from a rank (``blinding.SIGNS``)
    "one_step_beats_many": FlagKind(
        _FLATTERS, "An attack of one step does better than those of many steps."
    ),
    "query_beats_gradients": FlagKind(
        _FLATTERS,
        "A search that only asks the network does better than all that follow its gradients.",
    ),
    "borrowed_beats_gradients": FlagKind(
        _FLATTERS,
        "Inputs made against another defence, or this one's with each change shrunk, do better "
        "than all that follow this one's gradients.",
    ),
    "random_beats_gradients": FlagKind(
        _FLATTERS, "Random changes do better than all attacks that follow gradients."
    ),
    "success_falls_with_radius": FlagKind(
        _FLATTERS, "Attacks that follow gradients do better with a smaller radius."
    ),
    "unlimited_attack_fails": FlagKind(
        _FLATTERS, "An attack without a limit does not reach almost all labels."
    ),
    "gradients_vanish": FlagKind(
        _FLATTERS, "Inputs have no gradient, or the loss of every attack is flat."
    ),
    "gradients_mislead": FlagKind(
        _FLATTERS,
        "Gradients point elsewhere than finite differences, or the loss does not rise along them.",
    ),
    "different_under_attack": FlagKind(
        _FLATTERS, "The network answers an attack otherwise than it predicts."
    ),
    "lost_gradients": FlagKind(
        _FLATTERS, "Gradients that an attack asks for are zero or not finite."
    ),
    "undeclared_random": FlagKind(
        _FLATTERS, "The answers vary, and the defence does not declare it."
    ),
    "batch_dependent": FlagKind(_FLATTERS, "An answer depends on the other inputs of its batch."),
    # others
    "success_falls_with_budget": FlagKind(
        _FLATTERS, "An attack does worse with a larger budget, which contains the smaller one."
    ),
    "query_beats_whitebox": FlagKind(
        _FLATTERS, "A query attack does better than every white-box attack on the same network."
    ),
    "nonfinite_outputs": FlagKind(
        _FLATTERS,
        "Outputs are not finite. They count as wrong; in IoU, a pixel without a class costs less "
        "than a wrong one.",
    ),
    "control_same": FlagKind(
        Direction.FAVORS,
        "The trigger does no more than on a control, a network that was trained without it: the "
        "defence has removed the backdoor. Without a defence, the attack has planted none.",
        undefended=Direction.ATTACK,
    ),
    "no_better_than_noise": FlagKind(
        Direction.INFORMATION,
        "The attack does not do significantly more damage than a control.",
        undefended=Direction.ATTACK,
    ),
    "worse_than_noise": FlagKind(
        Direction.ATTACK, "A control does significantly more damage than the attack."
    ),
    "not_converged": FlagKind(
        Direction.ATTACK, "The same attack with twice the steps does better: it stopped too early."
    ),
    "another_loss_does_better": FlagKind(
        Direction.ATTACK,
        "The same attack with another loss and as many steps a search does far better: the loss of "
        "this one is flat or misleading, a sign of masked gradients.",
    ),
    "clean_collapsed": FlagKind(
        _PIPELINE, "The network has learnt next to nothing, so that robustness means nothing."
    ),
    "noop_differs": FlagKind(_PIPELINE, "Predictions change although nothing was attacked."),
    "replications_differ": FlagKind(
        _PIPELINE, "The same cell was made several times, with different results."
    ),
    "check_failed": FlagKind(
        _PIPELINE, "A module of the cell fails the conformance tests of gauntlet check."
    ),
}
"""THE table of flags: name → what it says and means."""


def direction_of(name: str, *, undefended: bool = False) -> Direction:
    """Return what a flag says.

    Args:
        name: a key of ``FLAG_KINDS``, or a name from an old record.
        undefended: whether it stands beside the undefended network.

    >>> direction_of("control_same"), direction_of("control_same", undefended=True)
    (<Direction.FAVORS: 'speaks for the defence'>, <Direction.ATTACK: 'doubts the attack'>)
    """
    kind = FLAG_KINDS.get(name)
    if kind is None:
        return Direction.PIPELINE  # an unknown warning is not played down
    return kind.undefended if undefended and kind.undefended else kind.direction
