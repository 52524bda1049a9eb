"""Signs of blinding in the health of a network's gradients.

Probe and attacks are measured by the harness itself (``runtime.worker.gradient_health`` and
``pass_health``). A figure of attacks counts only if no attack that follows gradients is better off.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.judge.draws import DRAWS_DIFFER
from harness.report.cells import CellRow


@dataclass(frozen=True)
class Limit:
    """Limit of a figure of health.

    Attributes:
        figure: name of the figure, one of ``runtime.worker.health_names``; a test compares them.
        best: how the figures of several attacks are combined.
        beyond: whether a value is beyond the limit.
        text: sentence with the value.
        beyond_draws: the same of a random network, whose draws blur differences; ``None``: equal.
    """

    figure: str
    best: Callable[[Iterable[float]], float]
    beyond: Callable[[float], bool]
    text: str
    beyond_draws: Callable[[float], bool] | None = None

    @property
    def of_attacks(self) -> bool:
        """Whether the figure is of an attack's own passes, not of the probe."""
        return self.figure in OF_ATTACKS


OF_ATTACKS = ("start_zero_gradients", "saturated_loss", "gradient_agreement")
"""Figures of an attack's own passes; all others are of the network's probe."""
LOSS_COSINE = "probe_loss_cosine"
"""Figure of the probe that is shown and no sign: honest losses may lead elsewhere, too."""
GAIN = 1.2
"""Least gain of the gradient's direction over random directions of equal length: 1.75 of JPEG at
quality 20, 0 and below of stand-ins that mislead."""
AGREEMENT = 0.4
"""Least agreement of a gradient's direction with finite differences: 0.56 of JPEG at quality 20,
0.02 of one-hot answers, −0.99 of a stand-in of the wrong sign."""
UNLIMITED = 0.9
"""Least share that an attack without a limit makes wrong: 0.97 of declared dropout, 0.75 of inputs
that are saturated, 0.45 of noise that grows with gradients."""
ROSE = 0.7
"""Least share of rows whose loss rises along a short search: 0.94 of JPEG at quality 20, 0.02 and
below of stand-ins that mislead."""
DRAWN_GAIN, DRAWN_AGREEMENT, DRAWN_ROSE = 0.6, 0.15, 0.5
"""The same of a random network, measured through the mean of 8 draws.

On digits, honest noise of 0.05 to 0.5 on the inputs and dropout of 0.2: gain 0.79 to 4.9,
agreement 0.24 to 0.98, the loss rises for 66 % or more. Noise of up to 0.3 with a stand-in gradient
of the wrong sign: gain below −1.5, agreement below −0.5, 25 % or less; of a random direction: gain
−0.5 to 0.37, agreement −0.11 to 0.07, but 44 % to 73 %. A stand-in of rotated pictures reaches 0.15
to 1.5 and 0.05 to 0.34: it is seen in part only."""
ZERO = 0.1
"""Largest share of rows without a gradient: 0 of honest networks, 0.72 and more of the others."""

SIGNS: Mapping[str, Sequence[Limit]] = {
    "unlimited_attack_fails": (
        Limit("unlimited_success", min, lambda v: v < UNLIMITED,
              "an attack without a limit makes only {:.1%} of the probed labels wrong"),
    ),
    "gradients_vanish": (
        Limit("probe_start_zero_gradients", max, lambda v: v > ZERO,
              "{:.1%} of the probed inputs have no gradient"),
        Limit("probe_end_zero_gradients", max, lambda v: v > ZERO,
              "{:.1%} of the probed inputs have no gradient at the end of a search"),
        Limit("start_zero_gradients", min, lambda v: v > ZERO,
              "{:.1%} of the inputs have no gradient where attacks begin"),
        Limit("saturated_loss", min, lambda v: v > ZERO,
              "for {:.1%} of the inputs the loss of every attack is flat in the outputs"),
    ),
    "gradients_mislead": (
        Limit("probe_loss_rose", min, lambda v: v < ROSE,
              "the loss rises along the gradient for {:.1%} of the probed inputs only",
              lambda v: v < DRAWN_ROSE),
        Limit("probe_gradient_gain", min, lambda v: v < GAIN,
              "a step along the gradient does {:.2g} times as much as one at random",
              lambda v: v < DRAWN_GAIN),
        Limit("probe_gradient_agreement", min, lambda v: v < AGREEMENT,
              "gradients agree with finite differences to {:.2f} only (1 is full agreement)",
              lambda v: v < DRAWN_AGREEMENT),
        Limit("gradient_agreement", max, lambda v: v < AGREEMENT,
              "the attacks' gradients agree with finite differences to {:.2f} only",
              lambda v: v < DRAWN_AGREEMENT),
    ),
}  # fmt: skip
"""Name of a sign → limits of figures, any of which shows it.

Seen on digits and on small scenes, where these honest networks show none: no defence, adversarial
training, JPEG, feature squeezing by a median and to 4 or 3 bits. Squeezing to 1 bit shows one: its
stand-in is poor (agreement 0.23), and a better attack may lower its score.
"""


def find(name: str, rows: Sequence[CellRow], gradient: Sequence[str]) -> tuple[str, str] | None:
    """Return text and attack of a sign, or ``None`` where it is not seen or nothing was measured.

    Args:
        name: a row of ``SIGNS``.
        rows: the cells of one defence.
        gradient: labels of its attacks that follow gradients.
    """
    random = any(row.record and DRAWS_DIFFER in row.record.metrics for row in rows)
    for limit in SIGNS[name]:
        beyond = limit.beyond_draws if random and limit.beyond_draws else limit.beyond
        by_attack: dict[str, list[float]] = {}
        for row in rows:
            health = (row.record.health if row.record else None) or {}
            if limit.figure in health and (row.attack in gradient or not limit.of_attacks):
                by_attack.setdefault(row.attack, []).append(float(health[limit.figure]))
        if by_attack:
            means = {attack: plain.fmean(values) for attack, values in by_attack.items()}
            value = limit.best(means.values())
            if beyond(value):
                attack = next(label for label, mean in means.items() if mean == value)
                return limit.text.format(value), attack
    return None
