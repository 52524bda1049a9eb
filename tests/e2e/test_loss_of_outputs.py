"""An attack asks for the training loss of given outputs, where the loss reads a layer."""

import pytest

from tests.support.module_sources import PERTURB, VICTIM
from tests.support.workspaces import Checkout, matrix

LOSS = """

    def loss(self, network, x, y):
        import torch.nn.functional as F

        return F.cross_entropy(network(x), y, reduction="none") + 0 * network{}.bias.sum()
"""
DEFENSE = "class Defense:\n    kind = 'reader'" + LOSS
OUTPUTS = PERTURB.format(
    """out = model.predict(x).requires_grad_()
        model.training_loss_of(out, y).sum().backward()
        return x"""
)
INPUTS = PERTURB.format(
    """x = x.clone().requires_grad_()
        model.training_loss(x, y).sum().backward()
        return x.detach()"""
)
WAYS = {"path": '.get_submodule("4")', "index": "[4]"}
LINE = (
    "the training loss reads {} of its network, and the attack's call of model.training_loss_of "
    "has outputs alone: it needs model.training_loss(x, y)"
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return defence, victim and attack → record."""
    checkout = Checkout(tmp_path_factory.mktemp("loss"))
    for name, way in WAYS.items():
        checkout.module("defense", name, DEFENSE.format(way), hooks=["loss"])
    checkout.module(
        "victim", "reader", VICTIM + LOSS.format(WAYS["index"]), entry="victim.py:Tiny",
        hooks=["build", "recipe", "loss"], offers=["loss"],
        params={"steps": {"type": "int", "default": 30, "min": 1}},
    )  # fmt: skip
    checkout.module("attack", "outputs", OUTPUTS, needs=["loss"])
    checkout.module("attack", "inputs", INPUTS, needs=["loss"])
    attacks = ["noop", "outputs", "inputs"]
    checkout.benchmark(
        matrix(attacks=attacks, defenses=["none", *WAYS]),
        matrix("own", attacks=attacks, victims=["reader"]),
    )
    checkout.run()
    cells = [(one.cell, one) for one in checkout.records().values()]
    return {(cell.victim, cell.defense, cell.attack): record for cell, record in cells}


@pytest.mark.parametrize(("defense", "layer"), [("path", "'4'"), ("index", "4")])
def test_a_defence_that_reads_a_layer_is_named_in_one_line(ran, defense, layer):
    record = ran["tiny", defense, "outputs"]
    # a gap of the defence, as an attack that a defence makes impossible was not withstood
    assert (record.status, record.by) == ("avoided", "defense")
    assert record.reason == "in the network: " + LINE.format(layer)


def test_a_victim_that_reads_a_layer_is_named_in_one_line(ran):
    record = ran["reader", "none", "outputs"]
    assert (record.status, record.by) == ("not_applicable", "victim")
    assert record.reason == "in the network: " + LINE.format("4")


def test_losses_of_outputs_and_of_inputs_are_played(ran):
    others = {key: record for key, record in ran.items() if record.status != "ok"}
    assert set(others) == {
        ("tiny", "path", "outputs"),
        ("tiny", "index", "outputs"),
        ("reader", "none", "outputs"),
    }
