"""Auto-PGD with all its losses, also against torchattacks."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchattacks
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.model import Passes, count_passes
from tests.support.modules import context, live, module
from tests.support.small_segmenter import EIGHT, SEGMENTATION, right

IMAGES = Spec("classification", 5, (3, 8, 8))


@pytest.fixture
def classifier():
    """A classifier that half of the examples survive on."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(2)
    x = torch.rand(200, 3, 8, 8, generator=random)
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    y = teacher(x).argmax(1)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 5))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(80):
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), x, y


REFERENCES = {
    None: lambda network, **given: torchattacks.APGD(network, loss="ce", **given),
    "dlr": lambda network, **given: torchattacks.APGD(network, loss="dlr", **given),
    "dlr-t": lambda network, **given: torchattacks.APGDT(network, n_classes=5, **given),
}
HALF = Budget(norm="l2", eps=0.5)


def apgd(network, x, y, budget, folder, variant, goal=None, **params):
    attack = module("attack", "apgd", variant, steps=20, **params)
    spec = Spec("classification", network(x[:1]).shape[1], tuple(x.shape[1:]))
    given = (live(copy.deepcopy(network), spec), x, y, goal, budget, context(folder, spec))
    return attack.perturb(*given)


def robust(network, x, y):
    """Share of the inputs that are classified correctly."""
    with torch.no_grad():
        return (network(x).argmax(1) == y).float().mean().item()


@pytest.mark.parametrize("variant", REFERENCES)
@pytest.mark.parametrize("budget", [EIGHT, HALF], ids=["linf", "l2"])
def test_apgd_is_as_strong_as_torchattacks(classifier, tmp_path, variant, budget):
    """Robust accuracies of 35 % (L∞) and 11 % (L2); on four networks at most 1.5 points apart."""
    network, x, y = classifier
    norm = {"linf": "Linf", "l2": "L2"}[budget.norm]
    reference = REFERENCES[variant](network, norm=norm, eps=budget.eps, steps=20, seed=0)
    theirs = robust(network, reference(x, y), y)
    found = apgd(network, x, y, budget, tmp_path, variant)
    changed = (found - x).flatten(1)
    length = changed.abs().amax(1) if budget.norm == "linf" else changed.norm(dim=1)
    assert length.max() <= budget.eps + 1e-6
    assert 0.08 < theirs < 0.8
    assert abs(robust(network, found, y) - theirs) <= 0.02


class Times(nn.Module):
    """A network whose logits are multiplied."""

    def __init__(self, network, factor):
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x):
        return self.network(x) * self.factor


@pytest.mark.parametrize("variant", ["dlr", "dlr-t"])
@pytest.mark.parametrize("budget", [EIGHT, HALF], ids=["linf", "l2"])
@pytest.mark.parametrize("factor", [300, 1e-8, 1e-36])
def test_dlr_finds_the_same_at_every_scale(classifier, tmp_path, variant, budget, factor):
    """Cross entropy ends at 100 % robust accuracy at 300 and at 64 % at 1e-8, both instead of 35.

    With the reference's 1e-12 in the denominator, a factor of 1e-36 leaves DLR no gradient.
    """
    network, x, y = classifier
    wanted = apgd(network, x, y, budget, tmp_path, variant)
    found = apgd(Times(network, factor), x, y, budget, tmp_path, variant)
    assert robust(network, wanted, y) < 0.4
    assert abs(robust(network, found, y) - robust(network, wanted, y)) <= 0.01
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-8, 1e-36])
def test_pgd_climbs_gradients_whose_squares_underflow(classifier, tmp_path, factor):
    """Cross entropy of tiny logits forgets the runner-up, but its direction is not zero."""
    network, x, y = classifier
    given = (live(Times(network, factor), IMAGES), x, y, None, HALF, context(tmp_path, IMAGES))
    assert robust(network, module("attack", "pgd").perturb(*given), y) < 0.3  # 20.5 %; at 1: 11 %


@pytest.mark.parametrize(("variant", "classes"), [("dlr", 2), ("dlr-t", 2), ("dlr-t", 3)])
def test_few_classes_are_attacked_by_the_margin(classifier, tmp_path, variant, classes):
    """With two classes DLR is constant and with three its targeted form has no fourth logit."""
    network, x, _ = classifier
    fewer = nn.Sequential(*network[:-1], nn.Linear(576, classes))
    with torch.no_grad():
        fewer[-1].weight.copy_(network[-1].weight[:classes])
        fewer[-1].bias.copy_(network[-1].bias[:classes])
    y = fewer(x).argmax(1)
    wide = Budget(norm="linf", eps=16 / 255)
    by_ce = apgd(fewer, x, y, wide, tmp_path, None)
    for times in (1, 1e-36):
        found = apgd(Times(fewer, times), x, y, wide, tmp_path, variant)
        assert robust(fewer, found, y) <= robust(fewer, by_ce, y) + 0.01
    assert robust(fewer, by_ce, y) < 0.9


def test_targets_are_tried_nearest_first_and_only_on_rows_that_are_left(classifier, tmp_path):
    network, x, y = classifier
    one, two, most = (
        apgd(network, x, y, EIGHT, tmp_path, "dlr-t", targets=count) for count in (1, 2, 9)
    )
    fooled = network(one).argmax(1) != y
    assert 0.2 < fooled.float().mean() < 0.9
    assert torch.equal(most[fooled], one[fooled])  # a first success is kept
    assert robust(network, most, y) <= robust(network, two, y) <= robust(network, one, y)
    wrong = network(x).argmax(1) != y
    assert torch.equal(most[wrong], x[wrong])  # nothing to do


@pytest.mark.parametrize("targets", [1, 2, 4])
def test_a_step_to_a_target_costs_one_pass_each_way(classifier, tmp_path, targets):
    """Beside the start of each search, and one pass that finds the nearest classes."""
    network, x, y = classifier
    counted, passes = copy.deepcopy(network), Passes()
    count_passes(counted, passes)
    nothing = Budget(norm="linf", eps=1e-6)  # in which no row is broken, and so none left out
    given = (live(counted, IMAGES), x, y, None, nothing, context(tmp_path, IMAGES))
    module("attack", "apgd", "dlr-t", steps=20, targets=targets).perturb(*given)
    searches = len(y) * targets * (20 + 1)
    assert (passes.forward, passes.backward) == (searches + len(y), searches)


@pytest.mark.parametrize(("variant", "behind"), [("dlr", 0.08), ("dlr-t", 0.01)])
def test_dlr_goes_to_a_goal(classifier, tmp_path, variant, behind):
    """Success of 17 % by cross entropy and the targeted form, 12 % by the goal's margin."""
    network, x, y = classifier
    goal = (y + 1) % 5
    found = apgd(network, x, y, EIGHT, tmp_path, variant, goal)
    by_ce = apgd(network, x, y, EIGHT, tmp_path, None, goal)
    assert robust(network, x, goal) == 0
    assert robust(network, found, goal) >= robust(network, by_ce, goal) - behind


@pytest.mark.parametrize("variant", ["sea-mce", "sea-mce-bal", "sea-js"])
def test_sea_s_runs_beat_one_step_and_stay_in_the_ball(segmenter, tmp_path, variant):
    network, data = segmenter
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    attack = module("attack", "apgd", variant, steps=30)
    attack.learn(model, data, data, EIGHT, ctx)
    found = attack.perturb(model, data.x, data.y, None, EIGHT, ctx)
    once = module("attack", "fgsm").perturb(model, data.x, data.y, None, EIGHT, ctx)
    assert (found - data.x).abs().max() <= 8 / 255 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert right(network, found, data.y).sum() < right(network, once, data.y).sum()


def test_apgd_keeps_the_best_of_what_it_looked_at(segmenter, tmp_path):
    """More steps never leave more pixels right: of each picture the best input is kept."""
    network, data = segmenter
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    looked = []

    def look(_, inputs, logits):
        hits = (logits.argmax(1) == data.y) & (data.y != 255)
        looked.append(hits.flatten(1).sum(1))

    network.register_forward_hook(look)
    attack = module("attack", "apgd", steps=15, objective="js")
    found = attack.perturb(model, data.x, data.y, None, EIGHT, ctx)
    assert torch.equal(right(network, found, data.y), torch.stack(looked[:16]).amin(0))


def test_apgd_goes_to_a_target(segmenter, tmp_path):
    network, data = segmenter
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    goal = torch.zeros_like(data.y)
    given = (model, data.x, data.y, goal, EIGHT, ctx)
    found = module("attack", "apgd", steps=15, objective="js").perturb(*given)
    assert right(network, found, goal).sum() > right(network, data.x, goal).sum()
