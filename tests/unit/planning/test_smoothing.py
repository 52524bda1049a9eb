"""Manifests and plans of smoothed networks: where noise is drawn, and what votes depend on."""

import pytest

from harness.common.errors import UserError
from harness.config.manifest_file import load_manifest
from tests.support.module_sources import TRAINER
from tests.support.workspaces import TRANSFER, Checkout, cell, matrix

SIGMA = {"type": "float", "default": 0.25, "min": 0.01}
SMOOTHED = {
    "hooks": ["fit"], "threat_models": ["evasion", "evasion-transfer"],
    "smoothing": "sigma", "params": {"sigma": SIGMA},
}  # fmt: skip
BUDGETS = [{"norm": "l2", "eps": eps} for eps in (0.5, 1)]


@pytest.fixture
def own(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("defense", "smooth", TRAINER, **SMOOTHED)
    return checkout


def planned(own, **changes):
    settings = {"defenses": ["smooth"], "attacks": ["sign"], "budgets": BUDGETS}
    return own.plan(matrix(**settings | changes))


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        ("defense", {"smoothing": "noise"}, 'smoothing: there is no parameter "noise"'),
        (
            "defense",
            {"params": {"sigma": SIGMA | {"min": 0}}},
            'smoothing: "sigma" is no standard deviation; give params.sigma type: float and a min',
        ),
        (
            "defense",
            {"params": {"sigma": {"type": "int", "default": 1, "min": 1}}},
            'smoothing: "sigma" is no standard deviation',
        ),
        (
            "defense",
            {"threat_models": ["evasion", "evasion-query"]},
            "threat_models: smoothing is not supported in evasion-query; choose of evasion,",
        ),
        (
            "defense",
            {"tasks": ["classification", "ranking"]},
            "tasks: smoothing is not supported in ranking; choose of classification",
        ),
        ("defense", {"random": True}, "random: the harness draws the noise; a network that draws"),
        ("attack", {"hooks": ["perturb"]}, "smoothing: means nothing for kind: attack"),
    ],
)
def test_a_manifest_that_cannot_be_smoothed_is_refused(own, kind, fields, line):
    folder = own.module(kind, "it", TRAINER, **SMOOTHED | fields)
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert any(line in one for one in str(caught.value).splitlines()), str(caught.value)


def test_the_network_votes_before_and_under_attack(own):
    plan = planned(own)
    found = cell(plan, attack="sign", budget_label="L2 0.5")
    for role in ("before", "after"):
        stage = plan.graph.stages[found.stages[role]]
        assert (stage.kind, stage.inputs["votes"].key) == ("decide", found.stages[f"votes_{role}"])
    votes = plan.graph.stages[found.stages["votes_before"]]
    assert votes.recipe.options.to_json() == {
        "batch": 20, "noise": 0.25, "votes": 1000, "selection": 100, "draws": 20, "rebatch": True,
    }  # fmt: skip
    assert not plan.graph.stages[found.stages["votes_after"]].recipe.options.rebatch
    assert found.stages["votes_after"] in found.own
    assert not found.random


def test_a_radius_more_costs_no_votes_on_clean_inputs(own):
    plan = planned(own)
    assert len({one.stages["votes_before"] for one in plan.cells.values()}) == 1


def test_another_level_needs_no_other_votes(own):
    first = planned(own)
    other = planned(own, smoothing={"alpha": 0.01})
    votes = [{c.stages["votes_after"] for c in plan.cells.values()} for plan in (first, other)]
    assert votes[0] == votes[1]
    assert {c.key for c in first.cells.values()} != {c.key for c in other.cells.values()}


def test_an_attack_on_the_network_gets_noise_and_one_on_another_none(own):
    white = planned(own)
    attack = white.graph.stages[cell(white, budget_label="L2 1").stages["attack"]].recipe.options
    assert (attack.noise, attack.samples) == (0.25, 8)
    away = planned(own, **TRANSFER)
    attack = away.graph.stages[cell(away, budget_label="L2 1").stages["attack"]].recipe.options
    assert (attack.noise, attack.samples) == (None, 1)


def test_a_network_without_noise_does_not_vote(own):
    plan = planned(own, defenses=["none"])
    assert "votes_before" not in cell(plan, budget_label="L2 1").stages
