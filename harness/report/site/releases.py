"""Texts on released networks: license, training data and claims beside our figures."""

from __future__ import annotations

from harness.report.released import ClaimedFigure, ReleasedWeights
from harness.report.site import format

NOT_SAID = "not said"

NO_CONTRADICTION = "other attacks, budgets or examples than ours are no contradiction"

_BESIDE = {
    "within": ", whose interval holds the claim",
    "above": ", whose interval lies below the claim",
    "below": ", whose interval lies above the claim",
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
    if any(claim.lies in ("above", "below") for claim in weights.claims):
        claims.append(NO_CONTRADICTION)
    return {
        "Released network": weights.name,
        "License": weights.license or NOT_SAID,
        "Trained on": weights.trained_on or NOT_SAID,
        "From": _plain(weights.source) if weights.source else NOT_SAID,
        "Claimed": "; ".join(claims) or NOT_SAID,
    }


def release_lines(weights: ReleasedWeights, places: int = 1) -> tuple[str, str]:
    """Return the same in two lines: what it is (without the file's address), what is claimed."""
    facts = {term.lower(): text for term, text in release_facts(weights, places).items()}
    what = ("released network", "license", "trained on")
    return " · ".join(f"{term}: {facts[term]}" for term in what), f"claimed: {facts['claimed']}"


def _claim(claim: ClaimedFigure, places: int) -> str:
    metric = claim.metric.replace("_", " ").replace("miou", "mIoU")
    under = f", {claim.under}" if claim.under else ""
    text = f"{metric} {100 * claim.value:.4g}\u00a0%{under} ({_plain(claim.source)})"
    if claim.ours is None:
        return f"{text}, no figure of ours to compare"
    return f"{text}, ours {format.percent(claim.ours, places)}\u00a0%{_BESIDE[claim.lies]}"


def _plain(text: str) -> str:
    """Return a text without the scheme of addresses: pages lead nowhere else."""
    return text.replace("https://", "").replace("http://", "")
