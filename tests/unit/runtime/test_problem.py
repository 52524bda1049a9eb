"""The attacks' problem object against its definitions, written otherwise."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, ContractError, Spec
from harness.runtime.model import LiveModel
from harness.runtime.problem import MARGIN, Problem
from harness.runtime.tasks import loss_for
from tests.support.modules import context, module

IMAGES = Spec("classification", 4, (3, 6, 6))
MAPS = Spec("segmentation", 4, (3, 6, 6), void=255)


def model_of(spec, needs=("loss", "gradients")):
    """A random network in eval mode, as attacks hold it."""
    torch.manual_seed(0)
    maps = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)]
    heads = [nn.Flatten(), nn.Linear(144, 4)] if spec is IMAGES else []
    network = nn.Sequential(*maps, *heads)
    return LiveModel(network, network, None, spec, lambda: network, loss_for(spec), [*needs])


def batch_of(spec):
    """Inputs, labels and a goal; in maps a tenth of the pixels is void."""
    random = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 6, 6, generator=random)
    if spec is IMAGES:
        y = torch.randint(4, (6,), generator=random)
        return x, y, (y + 1) % 4
    y = torch.randint(4, (6, 6, 6), generator=random).to(torch.uint8)
    goal, void = (y + 1) % 4, torch.rand(y.shape, generator=random) < 0.1
    return x, y.masked_fill(void, 255), goal.masked_fill(void, 255)


def mean_cross_entropy(logits, labels):
    """The task's loss of each row."""
    return torch.stack(
        [F.cross_entropy(a[None], b[None].long(), ignore_index=255)
         for a, b in zip(logits, labels, strict=True)]
    )  # fmt: skip


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("spec", [IMAGES, MAPS])
@pytest.mark.parametrize("loss_fn", [None, dense.cross_entropy])
def test_loss_and_gradient_rise_away_from_labels_or_toward_the_goal(spec, targeted, loss_fn):
    model, (x, y, goal) = model_of(spec), batch_of(spec)
    problem = Problem(model, y, goal if targeted else None, loss_fn)
    copy = x.clone().requires_grad_()
    wanted = mean_cross_entropy(model.module(copy), goal if targeted else y)
    wanted = -wanted if targeted else wanted
    (slope,) = torch.autograd.grad(wanted.sum(), copy)
    assert torch.allclose(problem.loss(x), wanted)
    assert torch.allclose(problem.gradient(x), slope)
    now = problem.evaluate(x)
    assert torch.allclose(now.loss, wanted)
    assert torch.allclose(now.gradient(), slope)
    assert torch.equal(now.logits, model.module(x))
    assert not x.requires_grad


def test_a_step_along_the_gradient_raises_the_loss():
    model, (x, y, goal) = model_of(MAPS), batch_of(MAPS)
    for problem in (Problem(model, y), Problem(model, y, goal)):
        moved = x + 1e-3 * problem.gradient(x).sign()
        assert bool((problem.loss(moved) > problem.loss(x)).all())


def test_a_row_is_done_by_more_than_rounding():
    rows = [[1.0, 0, -1], [0, MARGIN / 2, -1], [0, 2 * MARGIN, -1], [0, 1, -1]]
    logits = torch.tensor(rows)
    y, model = torch.zeros(4, dtype=torch.int64), SimpleNamespace(spec=IMAGES)
    away = Problem(model, y)
    assert away.margin(logits).tolist() == pytest.approx([-1, MARGIN / 2, 2 * MARGIN, 1])
    assert away.done(logits).tolist() == [False, False, True, True]
    assert away.active(logits).tolist() == [True, False, False, False]
    toward = Problem(model, y, goal=y)
    assert torch.equal(toward.margin(logits), -away.margin(logits))
    assert toward.done(logits).tolist() == [True, False, False, False]
    assert away.done(3 * logits).tolist() == away.done(logits).tolist()
    assert toward.active(logits).tolist() == [False, True, True, True]


def test_void_is_never_active_and_a_map_is_never_done():
    model, (x, y, goal) = model_of(MAPS), batch_of(MAPS)
    logits = model.predict(x)
    hit = logits.argmax(1)
    for problem, wanted in (
        (Problem(model, y), (hit == y) & (y < 255)),
        (Problem(model, y, goal), (hit != goal) & (y < 255)),
    ):
        assert torch.equal(problem.active(logits), wanted)
        assert problem.done(logits).tolist() == [False] * 6
    nothing = Problem(model, torch.full_like(y, 255))
    assert not nothing.active(logits).any()
    assert not nothing.gradient(x).any()


def test_rows_that_stay_keep_their_labels_and_their_place_in_the_batch():
    model, (x, y, goal) = model_of(IMAGES), batch_of(IMAGES)
    asked = []
    model.predict = lambda x, rows: asked.append(rows)
    problem = Problem(model, y, goal)
    problem.predict(x)
    part = problem.rows(torch.tensor([5, 3, 1])).rows(torch.tensor([True, False, True]))
    part.predict(x[:2])
    assert asked[0] is None
    assert asked[1].tolist() == [5, 1]
    assert torch.equal(part.y, y[[5, 1]])
    assert torch.equal(part.goal, goal[[5, 1]])
    assert torch.allclose(part.gradient(x[[5, 1]]), problem.gradient(x)[[5, 1]])


def test_needs_of_the_manifest_hold():
    model, (x, y, _) = model_of(IMAGES, needs=["loss"]), batch_of(IMAGES)
    assert Problem(model, y).gradient(x).any()
    with pytest.raises(ContractError, match=r"model\.module"):
        Problem(model, y).evaluate(x)
    with pytest.raises(ContractError, match=r"model\.module"):
        Problem(model, y, loss_fn=dense.cross_entropy).loss(x)
    with pytest.raises(ContractError, match=r"model\.loss"):
        Problem(model_of(IMAGES, needs=[]), y).loss(x)


def test_pgd_spends_no_pass_on_rows_that_are_done(tmp_path):
    model, (x, y, _) = model_of(IMAGES), batch_of(IMAGES)
    y = model.predict(x).argmax(1)
    y[:2] = (y[:2] + 1) % 4  # wrong from the start
    model.passes.forward = 0
    attack = module("attack", "pgd", steps=5, random_start=False)
    budget, ctx = Budget(norm="linf", eps=1e-4), context(tmp_path, IMAGES)
    found = attack.perturb(model, x, y, None, budget, ctx)
    assert torch.equal(found[:2], x[:2])
    assert (model.passes.forward, model.passes.backward) == (6 + 4 * 4, 6 + 4 * 4)


def test_pgd_steps_by_a_share_of_the_radius(tmp_path):
    model, (x, y, _) = model_of(MAPS), batch_of(MAPS)
    x = x.clamp(0.2, 0.8)
    attack = module("attack", "pgd", steps=1, rel_stepsize=0.5, random_start=False)
    found = attack.perturb(model, x, y, None, Budget(norm="linf", eps=0.1), context(tmp_path, MAPS))
    assert float((found - x).abs().max()) == pytest.approx(0.05)
