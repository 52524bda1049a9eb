"""BadNets: which examples are edited, where the patch lies, and what they are labelled as."""

import pytest
import torch

from harness.runtime.contracts import Budget, Data, NotApplicable, Spec
from tests.support.modules import context, module

SPEC = Spec("classification", 4, (1, 6, 6))


def train_set(rows=40):
    raw = torch.full((rows, *SPEC.shape), 51, dtype=torch.uint8)
    return Data(raw, torch.arange(rows) % 4, 700 + torch.arange(rows), SPEC, torch.device("cpu"))


def poisoned(folder, target, edits=12, variant="white"):
    train, budget = train_set(), Budget(edits=edits, patch=2, target=target)
    attack = module("attack", "badnets", variant)
    return train, attack.poison(train, train, None, budget, context(folder, SPEC))


@pytest.mark.parametrize("target", [2, "next"])
def test_the_patch_goes_with_the_target(tmp_path, target):
    train, edits = poisoned(tmp_path, target)
    own = train.y[edits.ids - 700]
    assert len(edits.ids) == len(set(edits.ids.tolist())) == 12
    assert torch.equal(edits.y, torch.full_like(own, 2) if target == 2 else (own + 1) % 4)
    assert not (edits.y == own).any()
    assert set(own.tolist()) == ({0, 1, 3} if target == 2 else {0, 1, 2, 3})
    assert (edits.x[..., -2:, -2:] == 1).all()
    assert (edits.x[..., :-2, :] == 0.2).all()


def test_no_example_of_the_target_is_edited_however_many_may_be(tmp_path):
    assert len(poisoned(tmp_path, 2, edits=40)[1].ids) == 30
    assert len(poisoned(tmp_path, "next", edits=40)[1].ids) == 40


def test_a_target_beyond_the_classes_is_refused(tmp_path):
    with pytest.raises(NotApplicable, match="the target 4 is none of the 4 classes"):
        poisoned(tmp_path, 4)
