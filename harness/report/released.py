"""Released networks that are rows: what their manifests say, and their claims beside our figures.

A claim was measured by its authors, with attacks, budgets and examples of their own. It is shown,
never ranked; where it lies outside our interval, the words say so, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.planning.plan import Plan
from harness.report.proven import ProvenBound
from harness.report.worst_case import Estimate


@dataclass(frozen=True)
class ClaimedFigure:
    """Figure that the authors of weights claim.

    Attributes:
        metric: key of the metric that it is nearest to.
        value: the figure, a fraction.
        under: attacks, budget and examples of the claim, or ``None``.
        source: where the figure stands.
        ours: our figure of this metric in the row, or ``None``.
        lies: where the claim lies beside our interval; ``None`` without one.
    """

    metric: str
    value: float
    under: str | None
    source: str
    ours: float | None = None
    lies: Literal["above", "below", "within"] | None = None


@dataclass(frozen=True)
class ReleasedWeights:
    """Released network, as its manifest describes it.

    Attributes:
        name: ``VICTIM/WEIGHTS``.
        license: license of the weights; ``None`` if it is not said.
        trained_on: the data that they were trained on, or ``None``.
        source: address of the file, or ``None``.
        claims: figures of their authors.
        proven: bounds of verifiers.
    """

    name: str
    license: str | None = None
    trained_on: str | None = None
    source: str | None = None
    claims: tuple[ClaimedFigure, ...] = ()
    proven: tuple[ProvenBound, ...] = ()

    def beside(self, ours: Mapping[str, Estimate]) -> ReleasedWeights:
        """Return the same with our figures beside the claims.

        Args:
            ours: metric → our figure of the row.
        """
        return replace(
            self, claims=tuple(_beside(one, ours.get(one.metric)) for one in self.claims)
        )


def released_weights(name: str, plan: Plan | None) -> ReleasedWeights:
    """Return what today's manifest says of ``VICTIM/WEIGHTS``; without a plan, the name alone."""
    found = plan.released.get(name) if plan else None
    if found is None:
        return ReleasedWeights(name)
    claims = tuple(ClaimedFigure(c.metric, c.value, c.under, c.source) for c in found.claims)
    proven = tuple(map(ProvenBound.of_manifest, found.proven))
    return ReleasedWeights(name, found.license, found.trained_on, found.source, claims, proven)


def _beside(claim: ClaimedFigure, ours: Estimate | None) -> ClaimedFigure:
    if ours is None:
        return claim
    if ours.lo is None or ours.hi is None:
        return replace(claim, ours=ours.value)
    above, below = claim.value > ours.hi, claim.value < ours.lo
    return replace(
        claim, ours=ours.value, lies="above" if above else "below" if below else "within"
    )
