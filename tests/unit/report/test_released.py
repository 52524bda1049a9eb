"""Claims of released networks: which figures they may name, and where they lie beside ours."""

from typing import get_args

import pytest

from harness.config.manifest_weights import Claim
from harness.report.ranking_rules import HEADLINES, headline_of
from harness.report.released import ClaimedFigure, ReleasedWeights, released_weights
from harness.report.site.releases import NO_CONTRADICTION, release_facts, release_lines
from harness.report.worst_case import Estimate


def weights(value, metric="robust_accuracy"):
    return ReleasedWeights("v/w", "MIT", None, "https://a.org/f", (
        ClaimedFigure(metric, value, None, "https://a.org"),
    ))  # fmt: skip


def test_a_claim_names_a_figure_that_some_table_shows():
    headlines = [
        *HEADLINES.values(),
        *(headline_of("evasion", t, "targeted: 3") for t in ("classification", "segmentation")),
    ]
    shown = {metric for one in headlines for metric in (one.metric, one.clean)}
    assert set(get_args(Claim.model_fields["metric"].annotation)) == shown


@pytest.mark.parametrize(
    ("value", "lies", "words"),
    [
        (0.39, "below", "lies above the claim"),
        (0.4, "within", "holds the claim"),
        (0.6, "within", "holds the claim"),
        (0.61, "above", "lies below the claim"),
    ],
)
def test_a_claim_outside_our_interval_is_said_in_words(value, lies, words):
    ours = Estimate(0.5, 0.4, 0.6)
    found = weights(value).beside({"robust_accuracy": ours})
    (claim,) = found.claims
    assert (claim.value, claim.ours, claim.lies) == (value, 0.5, lies)
    said = release_facts(found)["Claimed"]
    assert words in said
    assert (NO_CONTRADICTION in said) == (lies != "within")
    assert "https" not in said


def test_without_a_figure_or_an_interval_of_ours_nothing_is_compared():
    assert weights(0.5, "miou").beside({"robust_accuracy": Estimate(0.5, 0.4, 0.6)}).claims == (
        weights(0.5, "miou").claims
    )
    (claim,) = weights(0.9).beside({"robust_accuracy": Estimate(0.5)}).claims
    assert (claim.ours, claim.lies) == (0.5, None)
    said = release_facts(weights(0.9))["Claimed"]
    assert "no figure of ours" in said
    assert NO_CONTRADICTION not in said


def test_what_is_not_known_is_said():
    unknown = released_weights("v/w", None)
    assert unknown == ReleasedWeights("v/w")
    assert release_lines(unknown) == (
        "released network: v/w · license: not said · trained on: not said",
        "claimed: not said",
    )
