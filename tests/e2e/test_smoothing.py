"""Smoothed networks from plan to record: the harness draws the noise, counts and certifies."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from harness.common.files import load_array
from harness.report.cells import cell_rows
from harness.report.frame import load
from harness.report.leaderboard import tables
from harness.report.site.distances import distances
from harness.results.codec import unpack_outcomes, unpack_radii
from harness.results.smoothed import Votes
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

DEFENSE = """
import torch
from torch import nn

from harness.runtime.training import loss_of


class Defense:
    def __init__(self, *, sigma):
        self.sigma = sigma

    def fit(self, victim, network, train, val, adversary, ctx):
        own = loss_of(victim, train.spec)

        def loss(net, x, y):
            return own(net, x + self.sigma * torch.randn_like(x), y)

        victim.fit(network, train, val, loss, ctx)

    def guard(self, network, ctx):
        return Guard(network)


class Guard(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, x):
        {}
"""
GUARDS = {
    "honest": "return self.network(x)",
    "constant": "return torch.eye(10)[torch.full((len(x),), 3)] + 0 * self.network(x)",
    # denoises an input by all copies that it has seen of it
    "remembers": """if torch.is_grad_enabled() and x.requires_grad:
            return self.network(x)
        found = []
        for one in x:
            near = [a for a in self.seen if (a[0] / a[1] - one).norm() < 6]
            if not near:
                near = [[torch.zeros_like(one), 0]]
                self.seen += near
            best = min(near, key=lambda a: float((a[0] / max(a[1], 1) - one).norm()))
            best[0], best[1] = best[0] + one, best[1] + 1
            found.append(best[0] / best[1])
        return self.network(torch.stack(found))""",
    # honest for as many passes as two batches of 40 copies have, then denoises by place
    "honest-at-first": """self.seen.append(x.detach())
        if len(self.seen) <= 80 or torch.is_grad_enabled() and x.requires_grad:
            return self.network(x)
        return torch.eye(10)[torch.zeros(len(x), dtype=torch.long)] * 9 + 0 * self.network(x)""",
    "by-the-batch": "return self.network(x + x.mean(dim=0, keepdim=True) * 3)",
    "hides": """if torch.is_grad_enabled() and x.requires_grad:
            return self.network(x) * 1e-3
        return self.network(x)""",
    "no-number": "return self.network(x) * torch.where(x.mean() > 0, torch.nan, 1.0)",
}
STEP = PERTURB.format(
    """x = x.clone().requires_grad_(True)
        (g,) = torch.autograd.grad(model.loss(x, y).sum(), x)
        length = g.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        return (x + budget.eps * g / length).clamp(0, 1).detach()"""
)
NEAR = STEP.replace("budget.eps", "1.0")
VOTES = {"draws": 200, "selection": 20, "alpha": 0.001}
SIGMA = 0.3


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("smoothing"))
    sigma = {"type": "float", "default": SIGMA, "min": 0.001}
    for name, forward in GUARDS.items():
        checkout.module(
            "defense", name, DEFENSE.replace("{}", forward), hooks=["fit", "guard"],
            threat_models=["evasion"], smoothing="sigma", params={"sigma": sigma},
        )  # fmt: skip
    fields = {"needs": ["loss"], "requires": [{"limits": ["l2"]}]}
    checkout.module("attack", "step", STEP, **fields)
    near = {"needs": ["loss"], "requires": [{"limits": ["minimal_l2"]}]}
    checkout.module("attack", "near", NEAR, **near)
    budgets = [{"norm": "l2", "eps": eps} for eps in (0.1, 1.5)]
    checkout.benchmark(
        matrix(
            defenses=["none", *GUARDS], attacks=["noop", "step"], budgets=budgets, smoothing=VOTES
        ),
        matrix(
            "nearest",
            defenses=["none", "honest"],
            attacks=["near"],
            budgets=[{"norm": "l2", "minimal": True}],
            smoothing=VOTES,
        ),
    )
    checkout.run()
    found = {}
    for record in checkout.records().values():
        cell = record.cell
        if cell.matrix == "nearest":
            found[cell.defense, cell.attack] = record
            continue
        found[cell.defense, cell.attack, cell.budget["eps"]] = record
    return checkout, found


def flags(record):
    return {flag.name for flag in record.flags}


def test_votes_decide_and_certify(done):
    _, found = done
    record = found["honest", "step", 0.1]
    assert record.status == "ok", record.reason
    assert 0.3 < record.metric("certified_accuracy") <= record.metric("robust_accuracy")
    assert record.metric("robust_accuracy") < record.metric("clean_accuracy") + 1e-9
    radii, bits = unpack_radii(record.outcomes), unpack_outcomes(record.outcomes)
    assert (radii[~bits["before"]] == 0).mean() > 0.5
    assert record.metric("certified_accuracy") == pytest.approx(np.mean(radii >= 0.1))
    assert record.metric("average_certified_radius") == pytest.approx(radii.mean(), abs=1e-6)
    most = SIGMA * norm.ppf(VOTES["alpha"] ** (1 / VOTES["draws"]))
    assert radii.max() <= most + 1e-6
    assert not flags(record)


def test_the_undefended_network_certifies_nothing(done):
    _, found = done
    record = found["none", "step", 0.1]
    assert "certified_accuracy" not in record.metrics
    assert unpack_radii(record.outcomes) is None


def test_a_large_change_breaks_what_is_not_certified(done):
    _, found = done
    record = found["honest", "step", 1.5]
    assert record.metric("certified_accuracy") == 0
    assert record.metric("robust_accuracy") < 0.5


def test_votes_under_attack_are_held_against_the_certificates(done):
    checkout, found = done
    store = checkout.workspace().store()
    for eps in (0.1, 1.5):
        stages = found["honest", "step", eps].stages
        y = np.array(load_array(store.part(stages["slice"], "y") / "y.npy"))
        votes = Votes.of(stages, store, y)
        assert votes.contradiction(stages, store) == ""
        assert votes.setting == (SIGMA, VOTES["draws"], VOTES["alpha"])
    boasting = replace(votes, radii=np.full(len(y), 1.6))
    assert "keep fewer votes under attack" in boasting.contradiction(stages, store)


def test_every_pass_under_noise_is_counted(done):
    _, found = done
    cost = found["honest", "step", 0.1].cost
    assert cost["votes_before"] == {"forward": 40 * (VOTES["draws"] + VOTES["selection"])}
    plain = found["none", "step", 0.1].cost["attack"]
    assert cost["attack"] == {name: 8 * rows for name, rows in plain.items()}


def test_a_constant_network_certifies_the_closed_form_of_its_class_and_nothing_more(done):
    _, found = done
    record = found["constant", "step", 0.1]
    radii = unpack_radii(record.outcomes)
    share = record.metric("clean_accuracy")
    assert np.mean(radii > 0) == pytest.approx(share)
    most = SIGMA * norm.ppf(VOTES["alpha"] ** (1 / VOTES["draws"]))
    assert np.unique(radii[radii > 0]) == pytest.approx([most], rel=1e-6)
    assert "clean_collapsed" in flags(record)


@pytest.mark.parametrize("guard", ["remembers", "honest-at-first", "by-the-batch"])
def test_a_network_that_is_no_function_of_one_copy_is_flagged(done, guard):
    _, found = done
    record = found[guard, "noop", 0.1]
    contradicts = record.status == "contradicts_proof"
    assert contradicts or {"batch_dependent", "undeclared_random"} & flags(record), record.metrics


def test_a_network_that_answers_an_attack_otherwise_is_flagged(done):
    _, found = done
    assert "different_under_attack" in flags(found["hides", "step", 0.1])


def test_answers_that_are_no_numbers_are_abstentions(done):
    _, found = done
    record = found["no-number", "noop", 0.1]
    assert record.metric("clean_accuracy") == 0
    assert any("abstain count as wrong: 40 before" in note for note in record.notes)
    assert (unpack_radii(record.outcomes) == 0).all()


def test_the_votes_are_made_anew_under_attack(done):
    checkout, found = done
    record, store = found["honest", "noop", 0.1], checkout.workspace().store()
    counts = [
        load_array(store.part(record.stages[f"votes_{role}"], "votes") / "counts.npy")
        for role in ("before", "after")
    ]
    assert all(one.sum(axis=1).tolist() == [VOTES["draws"]] * 40 for one in counts)
    assert not np.array_equal(*counts)


def test_tables_and_curves_have_the_certified_share(done):
    checkout, found = done
    frame = load(checkout.root)
    for table in tables(frame):
        rows = {row.defense: row for row in (*table.rows, *table.unranked)}
        assert rows["none"].certified is None
        if table.budget == "L2 0.1":
            share = found["honest", "step", 0.1].metric("certified_accuracy")
            assert rows["honest"].certified == share
            said = {one.name: one.text for one in rows["honest"].caveats}
            assert said["certified"] == f"{share:.1%} certified at this radius"


def test_the_curve_of_distances_has_the_certified_one_beside_it(done):
    checkout, _ = done
    planned = [row for row in cell_rows(load(checkout.root)) if row.matrix == "nearest"]
    (chart,) = distances(planned)
    lines = {one.name: [curve.name for curve in one.curves] for one in chart.panels}
    assert lines == {"none": ["near"], "honest": ["near", "certified"]}
