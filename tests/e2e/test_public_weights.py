"""Runs in which existing weights are the public network, held by attacks and by a teacher."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.module_sources import PERTURB, TEACHER, VICTIM
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, cell, matrix

BODY = {"1.weight": (16, 64), "1.bias": (16,)}
START = {"name": "stored", "weights": "body"}

RAISE = PERTURB.format(
    """x = x.clone().requires_grad_(True)
        (g,) = torch.autograd.grad(model.features(x)[:, 0].sum() + model.maps(x)[0].sum(), x)
        torch.save(model.fresh().state_dict(), ctx.scratch / "fresh.pt")
        fresh = torch.load(ctx.scratch / "fresh.pt", weights_only=True)
        assert not fresh["1.bias"].any(), "it starts from other weights"
        return (x + budget.eps * g.sign()).clamp(0, 1).detach()"""
)
"""Reads all that the public network offers."""

ASK = PERTURB.format(
    """model.predict(x)
        return x"""
)


@pytest.fixture
def checkout(tmp_path):
    """A victim that trains no more than its head: the body's rate is zero."""
    torch.manual_seed(1)
    body = {"1.weight": torch.randn(BODY["1.weight"]), "1.bias": torch.zeros(BODY["1.bias"])}
    save_file(body, tmp_path / "body.safetensors")
    made = Checkout(tmp_path / "checkout")
    made.module(
        "victim", "stored", VICTIM, hooks=["build", "recipe"], entry="victim.py:Tiny",
        offers=["loss", "features", "maps"], params={"steps": {"type": "int", "default": 20}},
        weights={"body": {
            "file": "body.safetensors", "license": "MIT", "start": True,
            "sha256": hashlib.sha256((tmp_path / "body.safetensors").read_bytes()).hexdigest(),
            "source": "https://example.org/body.safetensors"}},
    )  # fmt: skip
    fetched = made.gauntlet("data", "fetch", "stored/body", "--from", str(tmp_path))
    assert fetched.returncode == 0, fetched.stderr
    return made


def test_a_transfer_attack_reads_features_and_is_refused_outputs(checkout):
    transfer = {"threat_models": ["evasion-transfer"]}
    checkout.module("attack", "raise", RAISE, needs=["features", "maps"], **transfer)
    checkout.module("attack", "asks", ASK, **transfer)
    attacks = ["noop", "raise", "asks", "sign"]
    checkout.benchmark(matrix(threat_model="evasion-transfer", victims=[START], attacks=attacks))
    assert checkout.run().tally.failed == 0
    found = {record.cell.attack: record for record in checkout.records().values()}
    assert {name: record.status for name, record in found.items()} == {
        "noop": "ok", "raise": "ok", "asks": "not_applicable", "sign": "not_applicable",
    }  # fmt: skip
    assert "asked model.predict for outputs; the public network is" in found["asks"].reason
    assert found["asks"].by == "attack"
    assert "needs loss; the public network is existing weights" in found["sign"].reason
    assert found["raise"].metrics["attack_success_rate"].value > 0


def test_a_delivered_network_starts_from_the_weights(checkout, tmp_path):
    checkout.module(
        "attack", "keeper", TEACHER.replace("victim.fit(", "print("),
        hooks=["deliver", "trigger"], threat_models=["supply-chain"],
    )  # fmt: skip
    data = {"attacker": "digits-0-4", "student": "digits-5-9"}
    changes = SUPPLY_CHAIN | {"data": data, "victims": [START], "attacks": ["keeper", "teacher"]}
    plan = checkout.plan(matrix(**changes))
    assert checkout.run().tally.failed == 0
    assert {record.status for record in checkout.records().values()} == {"ok"}
    store = checkout.workspace().store()
    body = load_file(tmp_path / "body.safetensors")
    same = {}
    for name in changes["attacks"]:
        stages = cell(plan, attack=name).stages
        delivered = load_file(store.part(stages["deliver"], "network.safetensors"))
        same[name] = all(torch.equal(delivered[part], body[part]) for part in BODY)
    assert same == {"keeper": True, "teacher": False}
