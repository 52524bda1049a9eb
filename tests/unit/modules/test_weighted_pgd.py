"""PGD with weighted pixels (SegPGD, CosPGD) against the authors' loop."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.modules import context, live, module
from tests.support.small_segmenter import EIGHT, SEGMENTATION, right


def reference(network, x, y, eps, alpha, steps, weigh):
    """A plain loop from the clean picture, as the papers' authors write it."""
    at = x.clone()
    for t in range(steps):
        at.requires_grad_()
        logits = network(at)
        loss = F.cross_entropy(logits, y.long(), ignore_index=255, reduction="none")
        (gradient,) = torch.autograd.grad((weigh(logits.detach(), y, t, steps) * loss).sum(), at)
        at = (at + alpha * gradient.sign()).detach()
        at = torch.clamp(at, x - eps, x + eps).clamp(0, 1)
    return at


def by_segpgd(logits, y, t, steps):
    fraction, correct = t / (2 * steps), logits.argmax(1) == y
    return (1 - fraction) * correct + fraction * ~correct


def by_cospgd(logits, y, t, steps):
    hot = F.one_hot(y.long().clamp_max(3), 4).movedim(-1, 1).float()
    return F.cosine_similarity(logits.softmax(1), hot, dim=1)


@pytest.mark.parametrize(("variant", "weigh"), [("segpgd", by_segpgd), ("cospgd", by_cospgd)])
def test_weighted_pgd_is_the_authors_loop(segmenter, tmp_path, variant, weigh):
    network, data = segmenter
    attack = module("attack", "pgd", variant, random_start=False)
    found = attack.perturb(
        live(network, SEGMENTATION), data.x, data.y, None, EIGHT, context(tmp_path, SEGMENTATION)
    )
    wanted = reference(network, data.x, data.y, 8 / 255, 2 / 255, 10, weigh)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()


@pytest.mark.parametrize("variant", ["segpgd", "cospgd"])
def test_weighted_pgd_reaches_a_target_map(segmenter, tmp_path, variant):
    network, data = segmenter
    goal = torch.where(data.y == 255, data.y, (data.y + 1) % 4)
    attack = module("attack", "pgd", variant)
    found = attack.perturb(
        live(network, SEGMENTATION), data.x, data.y, goal, EIGHT, context(tmp_path, SEGMENTATION)
    )
    assert right(network, found, goal).sum() > right(network, data.x, goal).sum()
