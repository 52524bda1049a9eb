"""Texts on released networks: license, training data and claims beside our figures."""

from __future__ import annotations

from harness.report.released import ClaimedFigure, ReleasedWeights
from harness.report.site import format

NOT_SAID = "not said"

NO_CONTRADICTION = "measured with other attacks, budgets or examples, so this is no contradiction"

_BESIDE = {
    "within": ", inside whose interval the claim lies",
    "above": f"; the claim lies above our interval: {NO_CONTRADICTION}",
    "below": f"; the claim lies below our interval: {NO_CONTRADICTION}",
    None: "",
}
"""Where a claim lies beside our interval → what is said of it."""


def release_facts(weights: ReleasedWeights, places: int = 1) -> dict[str, str]:
    """Return term → text of a released network; what its manifest leaves out is said to be.

    Args:
        weights: the released network.
        places: decimals of our percentages.
    """
    claims = [_claim(claim, places) for claim in weights.claims]
    return {
        "Released network": weights.name,
        "License": weights.license or NOT_SAID,
        "Trained on": weights.trained_on or NOT_SAID,
        "From": _plain(weights.source) if weights.source else NOT_SAID,
        "Claimed": "; ".join(claims) or NOT_SAID,
    }


def release_line(weights: ReleasedWeights, places: int = 1) -> str:
    """Return the same in one line, without the address of the file."""
    facts = release_facts(weights, places)
    del facts["From"]
    return " · ".join(f"{term.lower()}: {text}" for term, text in facts.items())


def _claim(claim: ClaimedFigure, places: int) -> str:
    metric = claim.metric.replace("_", " ").replace("miou", "mIoU")
    under = f", {claim.under}" if claim.under else ""
    text = f"{metric} {100 * claim.value:.4g}\u00a0%{under} ({_plain(claim.source)})"
    if claim.ours is None:
        return f"{text}; no figure of ours to compare"
    return f"{text}; ours {format.percent(claim.ours, places)}\u00a0%{_BESIDE[claim.lies]}"


def _plain(text: str) -> str:
    """Return a text without the scheme of addresses: pages lead nowhere else."""
    return text.replace("https://", "").replace("http://", "")
