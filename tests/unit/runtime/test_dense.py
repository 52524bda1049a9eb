"""Losses per pixel and the attacks that raise them, against formulas written otherwise."""

import copy
import math
import re

import pytest
import torch
import torch.nn.functional as F
import torchattacks
from torch import nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.miou import confusion, mean_iou
from tests.support.modules import context, live, module

SEGMENTATION = Spec("segmentation", 4, (3, 10, 14), void=255)
IMAGES = Spec("classification", 5, (3, 8, 8))
EIGHT = Budget(norm="linf", eps=8 / 255)


@pytest.fixture
def pixels():
    """Logits of five classes (the last is void's) and labels of four, a tenth of them void."""
    random = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 5, 10, 14, generator=random, dtype=torch.float64)
    y = torch.randint(0, 4, (2, 10, 14), generator=random)
    y[torch.rand(y.shape, generator=random) < 0.1] = 255
    return logits, y.to(torch.uint8)


@pytest.fixture
def victim():
    """A segmentation network of four classes in eval mode, and a set that it was trained on."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    coarse = torch.rand(24, 3, 4, 5, generator=random)
    raw = (F.interpolate(coarse, (10, 14), mode="bilinear") * 255).to(torch.uint8)
    y = (raw.float().mean(1) / 64).clamp_max(3).to(torch.uint8)
    y[:, 0] = 255
    data = Data(raw, y, torch.arange(24), SEGMENTATION, torch.device("cpu"))
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        loss = F.cross_entropy(network(data.x), y.long(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), data


def right(network, x, y):
    """Right pixels of each picture."""
    with torch.no_grad():
        return ((network(x).argmax(1) == y) & (y != 255)).flatten(1).sum(1)


def test_jensen_shannon_is_that_of_the_whole_distributions(pixels):
    logits, y = pixels
    p = logits.softmax(1).movedim(1, -1)
    q = F.one_hot(y.long().clamp_max(4), 5).double()
    middle = (p + q) / 2
    wanted = 0.5 * (torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)).sum(-1)
    found = dense.values(dense.LOSSES["js"], logits, y, 255)
    assert torch.allclose(found[y != 255], wanted[y != 255])
    assert found.max() < math.log(2)


@pytest.mark.parametrize("name", dense.LOSSES)
def test_void_has_no_loss_and_gradients_are_finite(pixels, name):
    logits, y = pixels
    logits = (100 * logits.float()).requires_grad_()  # p is 0 or 1 in float32
    found = dense.values(dense.LOSSES[name], logits, y, 255)
    assert found.shape == y.shape
    assert not found[y == 255].any()
    dense.mean(found, y, void=255).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.movedim(1, -1)[y == 255].any()


@pytest.mark.parametrize("name", dense.LOSSES)
def test_raising_a_loss_makes_pixels_wrong(pixels, name):
    logits, y = pixels
    logits = logits.clone().requires_grad_()
    before = right(nn.Identity(), logits, y).sum()
    for _ in range(50):
        found = dense.values(dense.LOSSES[name], logits, y, 255)
        value = dense.mean(found, y, void=255).sum()
        (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits + gradient.sign()).detach().requires_grad_()
    assert right(nn.Identity(), logits, y).sum() < before / 4


def test_a_weighted_mean_is_torchs(pixels):
    logits, y = pixels
    weights = torch.tensor([1.0, 5.0, 0.5, 2.0], dtype=torch.float64)
    found = dense.values(dense.cross_entropy, logits, y, 255)
    rows = dense.mean(found, y, weights, 255)
    void = weights.new_zeros(1)
    wanted = F.cross_entropy(logits, y.long(), torch.cat([weights, void]), ignore_index=255)
    assert rows.shape == (2,)
    assert torch.allclose(rows.mean(), wanted)


def spread_by_hand(z, *places):
    """The largest logit minus the mean of those at some places of the order, place by place."""
    rows = []
    for row in z.tolist():
        row.sort(reverse=True)
        rows.append(row[0] - sum(row[place] for place in places) / len(places))
    return torch.tensor(rows, dtype=z.dtype)


def test_dlr_is_the_papers_ratio():
    random = torch.Generator().manual_seed(5)
    z = torch.randn(40, 6, generator=random, dtype=torch.float64)
    y, target = torch.randint(0, 6, (2, 40), generator=random)
    other = torch.stack(
        [torch.cat([row[:k], row[k + 1 :]]).max() for row, k in zip(z, y, strict=True)]
    )
    own, wanted = z[range(40), y], z[range(40), target]
    assert torch.allclose(dense.dlr(z, y), (other - own) / spread_by_hand(z, 2))
    found = dense.targeted_dlr(z, y, target)
    assert torch.allclose(found, (wanted - own) / spread_by_hand(z, 2, 3))


def test_dlr_of_few_classes_is_the_margin():
    two, y = torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1])
    assert dense.dlr(two, y).tolist() == [-2, 2]
    three = torch.tensor([[3.0, 1.0, -4.0]] * 2)
    assert dense.targeted_dlr(three, y, torch.tensor([2, 0])).tolist() == [-7, 2]
    assert dense.dlr(three, y).tolist() == pytest.approx([-2 / 7, 2 / 7])


@pytest.mark.parametrize(
    "logits", [[5.0, 5, 5, 5, -1], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
)
def test_tied_logits_have_a_finite_ratio_and_a_direction(logits):
    """A network that rounds its outputs has rows whose denominator is exactly zero."""
    for loss in (dense.dlr, lambda z, y: dense.targeted_dlr(z, y, y + 1)):
        z = torch.tensor([logits], dtype=torch.float32).requires_grad_()
        value = loss(z, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
        assert gradient[0, 0] <= 0
        assert gradient.any()


@pytest.mark.parametrize("factor", [300, 1e-8, 1e-36, 1e36, 2.0**-140])
def test_dlr_and_the_direction_of_its_gradient_ignore_the_scale(factor):
    random = torch.Generator().manual_seed(6)
    plain = torch.randn(50, 6, generator=random)
    plain[0, :3] = torch.tensor([9.0, 9.0, 9 - 1e-6])  # its gradient is a million times larger
    y = plain.argmax(1)
    for loss in (dense.dlr, lambda z, y: dense.targeted_dlr(z, y, (y + 1) % 6)):
        found = []
        for z in (plain, plain * factor):
            z = z.clone().requires_grad_()
            value = loss(z, y)
            (gradient,) = torch.autograd.grad(value.sum(), z)
            length = gradient.double().norm(dim=1, keepdim=True)
            assert bool((length > 0).all())
            found.append((value, gradient.double() / length))
        (value, direction), (scaled, same) = found
        # 2**-140 leaves a float32 nine bits
        assert torch.allclose(value[1:], scaled[1:], atol=0.05 if factor < 1e-40 else 1e-5)
        assert torch.allclose(direction[1:], same[1:], atol=0.05 if factor < 1e-40 else 1e-5)
        assert bool(same.isfinite().all())


# -- SegPGD and CosPGD --------------------------------------------------------------------------


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
def test_weighted_pgd_is_the_authors_loop(victim, tmp_path, variant, weigh):
    network, data = victim
    attack = module("attack", "pgd", variant, random_start=False)
    found = attack.perturb(
        live(network, SEGMENTATION), data.x, data.y, None, EIGHT, context(tmp_path, SEGMENTATION)
    )
    wanted = reference(network, data.x, data.y, 8 / 255, 2 / 255, 10, weigh)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()


@pytest.mark.parametrize("variant", ["segpgd", "cospgd"])
def test_weighted_pgd_reaches_a_target_map(victim, tmp_path, variant):
    network, data = victim
    goal = torch.where(data.y == 255, data.y, (data.y + 1) % 4)
    attack = module("attack", "pgd", variant)
    found = attack.perturb(
        live(network, SEGMENTATION), data.x, data.y, goal, EIGHT, context(tmp_path, SEGMENTATION)
    )
    assert right(network, found, goal).sum() > right(network, data.x, goal).sum()


# -- APGD ---------------------------------------------------------------------------------------


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
def test_sea_s_runs_beat_one_step_and_stay_in_the_ball(victim, tmp_path, variant):
    network, data = victim
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    attack = module("attack", "apgd", variant, steps=30)
    attack.learn(model, data, data, EIGHT, ctx)
    found = attack.perturb(model, data.x, data.y, None, EIGHT, ctx)
    once = module("attack", "fgsm").perturb(model, data.x, data.y, None, EIGHT, ctx)
    assert (found - data.x).abs().max() <= 8 / 255 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert right(network, found, data.y).sum() < right(network, once, data.y).sum()


def test_apgd_keeps_the_best_of_what_it_looked_at(victim, tmp_path):
    """More steps never leave more pixels right: of each picture the best input is kept."""
    network, data = victim
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    looked = []

    def look(_, inputs, logits):
        hits = (logits.argmax(1) == data.y) & (data.y != 255)
        looked.append(hits.flatten(1).sum(1))

    network.register_forward_hook(look)
    attack = module("attack", "apgd", steps=15, objective="js")
    found = attack.perturb(model, data.x, data.y, None, EIGHT, ctx)
    assert torch.equal(right(network, found, data.y), torch.stack(looked[:16]).amin(0))


def test_apgd_goes_to_a_target(victim, tmp_path):
    network, data = victim
    model, ctx = live(network, SEGMENTATION), context(tmp_path, SEGMENTATION)
    goal = torch.zeros_like(data.y)
    given = (model, data.x, data.y, goal, EIGHT, ctx)
    found = module("attack", "apgd", steps=15, objective="js").perturb(*given)
    assert right(network, found, goal).sum() > right(network, data.x, goal).sum()


# -- learned attackers --------------------------------------------------------------------------


def learned(name, variant, victim, folder, budget=EIGHT, **params):
    network, data = victim
    ctx = context(folder, SEGMENTATION)
    attack = module("attack", name, variant, **params)
    attack.learn(live(network, SEGMENTATION), data, data, budget, ctx)
    return attack.perturb(None, data.x, None, None, budget, ctx)


@pytest.mark.parametrize(("size", "parameters"), [("s", 440), ("m", 19_590), ("l", 25_861)])
def test_the_autoencoder_s_sizes(size, parameters):
    attack = module("attack", "malicious-autoencoder", size)
    network = attack.build(3, EIGHT)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.rand(2, 3, 45, 50)).shape == (2, 3, 45, 50)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["s", "m", "l"])
def test_a_bounded_autoencoder_hurts_within_its_budget(victim, tmp_path, variant):
    network, data = victim
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = learned("malicious-autoencoder", variant, victim, tmp_path, steps=60)
    assert (found - data.x).abs().max() <= 8 / 255 + 1e-6
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()
    # buffers too: a victim in train mode would have drifted
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not network.training


def test_the_autoencoder_logs_what_its_mean_change_does_alone(victim, tmp_path, capsys):
    network, data = victim
    found = learned("malicious-autoencoder", "s", victim, tmp_path, steps=60)
    told = re.search(r"mIoU ([.\d]+); with the mean change alone ([.\d]+)", capsys.readouterr().out)
    alone = (data.x + (found - data.x).mean(0)).clamp(0, 1)
    for text, x in zip(told.groups(), (found, alone), strict=True):
        counts = confusion(network(x).argmax(1), data.y, data.spec.outputs, 255)
        assert float(text) == pytest.approx(mean_iou(counts.view(data.spec.outputs, -1)), abs=1e-3)


def test_the_original_form_is_stronger_and_has_no_limit(victim, tmp_path):
    network, data = victim
    free = Budget(unbounded=True)
    found = learned("malicious-autoencoder", "original", victim, tmp_path, free, steps=60, batch=8)
    assert (found - data.x).abs().max() > 0.3
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum() / 2


@pytest.mark.slow
def test_a_hinge_holds_its_pictures_to_a_psnr(victim, tmp_path):
    network, data = victim
    free = Budget(unbounded=True)
    found = learned("malicious-autoencoder", "psnr-20", victim, tmp_path, free, steps=150)
    assert (found - data.x).square().mean() <= 0.01
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()


def test_a_universal_perturbation_is_one_for_all(victim, tmp_path):
    network, data = victim
    found = learned("universal", None, victim, tmp_path, steps=80)
    change = found - data.x
    assert change.abs().max() <= 8 / 255 + 1e-6
    inner = ((data.x > 0.05) & (data.x < 0.95))[:2].all(0)  # where no border cuts it off
    assert inner.sum() > 100
    assert (change[0] - change[1])[inner].abs().max() < 1e-6
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()
