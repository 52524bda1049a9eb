"""Label flips of classification: exactly the drawn labels change, and no input."""

import pytest
import torch

from harness.judge.edits import check_edits
from harness.runtime.contracts import Budget, Data, Spec
from tests.support.modules import context, module

SPEC = Spec("classification", 5, (1, 2, 2))
Y = torch.arange(200) % 5
DATA = Data(
    torch.zeros(200, 1, 2, 2, dtype=torch.uint8), Y, 1000 + torch.arange(200), SPEC,
    torch.device("cpu"),
)  # fmt: skip


def flipped(folder, variant, edits=83, seed=0):
    attack = module("attack", "label-flip", variant)
    budget = Budget(edits=edits, labels=True)
    return attack.poison(DATA, DATA, None, budget, context(folder, SPEC, seed))


@pytest.mark.parametrize("variant", [None, "next", "to-zero"])
def test_the_budget_s_labels_change_and_no_input(tmp_path, variant):
    edits = flipped(tmp_path, variant)
    rows = edits.ids - 1000
    before = Y[rows]
    right = int((before == 0).sum()) if variant == "to-zero" else 0
    assert len(rows.unique()) == 83
    assert int((edits.y != before).sum()) == 83 - right
    assert edits.x is None
    assert check_edits(
        edits.ids.numpy(), None, edits.y.numpy(), train_ids=DATA.ids.numpy(),
        train_x=DATA.raw.numpy(), train_y=Y.numpy(), budget={"edits": 83, "labels": True},
        spec={"task": "classification", "outputs": 5},
    ) is None  # fmt: skip


def test_each_mode_gives_the_label_that_it_names(tmp_path):
    for variant, wanted in (("next", lambda y: (y + 1) % 5), ("to-zero", torch.zeros_like)):
        edits = flipped(tmp_path, variant)
        assert torch.equal(edits.y, wanted(Y[edits.ids - 1000]))
    drawn = flipped(tmp_path, None, edits=200)
    steps = (drawn.y - Y[drawn.ids - 1000]) % 5
    assert steps.unique().tolist() == [1, 2, 3, 4]
    assert int(steps.bincount().max()) < 80


@pytest.mark.parametrize("variant", [None, "next", "to-zero"])
def test_all_modes_draw_the_same_examples(tmp_path, variant):
    assert torch.equal(flipped(tmp_path, variant).ids, flipped(tmp_path, None).ids)
    assert not torch.equal(flipped(tmp_path, variant, seed=1).ids, flipped(tmp_path, None).ids)
