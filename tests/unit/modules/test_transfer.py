"""Transfer attacks: torchattacks' results, closed forms, the pieces, rows that stand alone."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchattacks
from torch import nn

from harness.runtime.contracts import Budget, Data, NotApplicable, Spec
from harness.runtime.model import freeze
from harness.runtime.worker.batches import Batch
from tests.support.modules import context, live, module, part

diversity = part("attack", "transfer", "diversity")
mixing = part("attack", "transfer", "mixing")
smoothing = part("attack", "transfer", "smoothing")

SPEC = Spec("classification", 5, (3, 10, 10))
EPS = 0.03
VARIANTS = ("mi-fgsm", "ni-fgsm", "vmi-fgsm", "vni-fgsm", "di-fgsm", "ti-fgsm", "ti-mi-fgsm",
            "si-ni-fgsm", "admix", "mi-di-ti")  # fmt: skip


@pytest.fixture
def given():
    """A small smooth network, inputs so far from 0 and 1 that no copy is cut off, its answers."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64, 5))
    x = 0.4 + 0.2 * torch.rand(20, 3, 10, 10)
    return freeze(network), x, network(x).argmax(1)


def perturbed(given, folder, variant=None, *, norm="linf", eps=EPS, goal=None, rows=None, **params):
    """What the attack finds for some rows of a batch."""
    network, x, y = given
    ctx, own = context(folder, SPEC), module("attack", "transfer", variant, **params)
    rows = torch.arange(len(x)) if rows is None else rows
    if own.admix and not (folder / mixing.FILE).exists():
        own.learn(None, train_set(), train_set(), Budget(norm=norm, eps=eps), ctx)
    goal = goal if goal is None else goal[rows]
    with ctx.batch(Batch(rows, 0, len(x), rows)):
        model = live(network, SPEC)
        return own.perturb(model, x[rows], y[rows], goal, Budget(norm=norm, eps=eps), ctx)


def train_set():
    generator = torch.Generator().manual_seed(2)
    raw = torch.randint(256, (60, *SPEC.shape), generator=generator).to(torch.uint8)
    return Data(raw, torch.arange(60) % 5, torch.arange(60), SPEC, torch.device("cpu"))


# -- torchattacks 3.5.1 ------------------------------------------------------------------------

REFERENCES = [
    ("MIFGSM", "mi-fgsm", {}, {}),
    ("NIFGSM", "ni-fgsm", {}, {}),
    ("SINIFGSM", "si-ni-fgsm", {}, {"m": 5}),
    ("TIFGSM", "ti-mi-fgsm", {"kernel_size": 7, "sigma": 1 / 3},
     {"len_kernel": 7, "decay": 1.0, "diversity_prob": 0.0}),
    ("VMIFGSM", "vmi-fgsm", {"samples": 3}, {"N": 3, "beta": 1.5}),
    ("VNIFGSM", "vni-fgsm", {"samples": 3}, {"N": 3, "beta": 1.5}),
    ("DIFGSM", "di-fgsm", {"resize_rate": 0.7}, {"resize_rate": 0.7}),
]  # fmt: skip


class Neighbors:
    """In place of ``torch.randn_like``: the numbers that the attack here draws."""

    def __init__(self, folder):
        with (ctx := context(folder, SPEC)).batch(Batch(torch.arange(20), 0, 20, torch.arange(20))):
            self.generator = ctx.generator("neighbours")

    def __call__(self, like):
        self.shape = like.shape
        return self

    def uniform_(self, low, high):
        return low + (high - low) * torch.rand(self.shape, generator=self.generator)


def resized(folder):
    """In place of ``input_diversity``: rows changed one by one, by the numbers drawn here."""
    with (ctx := context(folder, SPEC)).batch(Batch(torch.arange(20), 0, 20, torch.arange(20))):
        generator = ctx.generator("resized")

    def change(x):
        chances = torch.rand((20, 4), generator=generator)
        rows = zip(x, chances, strict=True)
        return torch.stack([by_torch(row, *own.tolist(), 0.5, 0.7) for row, own in rows])

    return change


def by_torch(row, size, top, left, changes, probability, rate):
    """One row, resized and padded by torch."""
    if changes >= probability:
        return row
    side, other = row.shape[-1], round(row.shape[-1] * rate)
    low, high = sorted((side, other))
    size = low + int(size * (high - low))
    top, left = (int(one * (high - size + 1)) for one in (top, left))
    small = F.interpolate(row[None], (size, size), mode="bilinear", align_corners=False)
    padded = F.pad(small, [left, high - size - left, top, high - size - top])
    return F.interpolate(padded, (side, side), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize(("name", "variant", "own", "their"), REFERENCES)
def test_each_step_is_that_of_torchattacks(
    given, tmp_path, monkeypatch, name, variant, own, their, steps
):
    """To 1e-6 on all but one number in 500, whose momentum may be near zero."""
    network, x, y = given
    reference = getattr(torchattacks, name)(network, eps=EPS, alpha=EPS / 8, steps=steps, **their)
    if name == "DIFGSM":
        reference.input_diversity = resized(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn_like", Neighbors(tmp_path))
        wanted = reference(x, y)
    found = perturbed(given, tmp_path, variant, steps=steps, rel_stepsize=1 / 8, **own)
    assert ((found - wanted).abs() > 1e-6).float().mean() <= 0.002
    assert (wanted - x).abs().max() == pytest.approx(EPS * steps / 8, rel=1e-3)


# -- closed forms and rules --------------------------------------------------------------------


@pytest.fixture
def linear():
    """A linear network of two classes, by whose gradient each row has one best corner."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(300, 2))
    x = 0.4 + 0.2 * torch.rand(6, 3, 10, 10)
    return freeze(network), x, network(x).argmax(1)


def ascent(network, y):
    weight = network[1].weight
    return (weight[1 - y] - weight[y]).view(-1, 3, 10, 10)


@pytest.mark.parametrize("variant", [None, "ni-fgsm", "vni-fgsm", "si-ni-fgsm", "admix"])
def test_on_a_linear_network_it_ends_at_the_best_point_of_the_ball(linear, tmp_path, variant):
    network, x, y = linear
    up = ascent(network, y)
    corner = perturbed(linear, tmp_path, variant)
    assert torch.allclose(corner - x, EPS * up.sign(), atol=1e-6)
    edge = perturbed(linear, tmp_path, variant, norm="l2", eps=0.3)
    wanted = 0.3 * up / up.flatten(1).norm(dim=1)[:, None, None, None]
    assert torch.allclose(edge - x, wanted, atol=1e-5)


def test_smoothed_steps_follow_the_smoothed_gradient(linear, tmp_path):
    network, x, y = linear
    up = smoothing.smooth(ascent(network, y), 15, 3**-0.5)
    found = perturbed(linear, tmp_path, "ti-fgsm") - x
    assert torch.equal(found.sign(), up.sign())
    assert (up.sign() != ascent(network, y).sign()).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_rules_are_kept_and_a_row_does_not_depend_on_others(given, tmp_path, variant, norm):
    network, x, y = given
    x = (x * 4 - 1.5).clamp(0, 1)  # a third of the numbers at either end
    given, eps = (network, x, y), {"linf": 0.1, "l2": 1.0}[norm]
    budget = {"norm": norm, "eps": eps, "samples": 2 if variant.startswith("v") else 0}
    found = perturbed(given, tmp_path, variant, **budget)
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert found.min() >= 0
    assert found.max() <= 1
    change = (found.double() - x).flatten(1)
    reach = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert reach.max() <= eps * (1 + 1e-6)
    assert reach.min() >= 0.7 * eps
    for rows in (torch.arange(5), torch.tensor([7, 3, 19])):
        alone = perturbed(given, tmp_path, variant, rows=rows, **budget)
        # sums of batches of other sizes are rounded differently
        assert ((alone - found[rows]).abs() > 1e-5).float().mean() <= 0.005


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_goal_is_approached(given, tmp_path, variant):
    network, x, y = given
    goal = (y + 2) % 5
    less = {"samples": 3} if variant.startswith("v") else {}
    less |= {"kernel_size": 3} if "ti" in variant else {}  # 15 is more than the picture
    found = perturbed(given, tmp_path, variant, eps=0.2, goal=goal, **less)
    before, after, away = (
        F.cross_entropy(network(one), goal)
        for one in (x, found, perturbed(given, tmp_path, variant, eps=0.2, **less))
    )
    assert after < min(before, away) - 0.25


def test_rows_beyond_the_boundary_of_the_surrogate_go_on(given, tmp_path):
    network, _, y = given
    losses = [
        F.cross_entropy(network(perturbed(given, tmp_path, steps=steps, eps=0.2)), y).item()
        for steps in (2, 5, 10)
    ]
    assert (network(perturbed(given, tmp_path, steps=5, eps=0.2)).argmax(1) != y).all()
    assert losses[0] + 0.1 < losses[1] < losses[2] - 0.1


def test_a_network_without_a_gradient_leaves_all_as_it_is(given, tmp_path):
    network, x, y = given
    nn.init.zeros_(network[3].weight)
    for variant in ("vni-fgsm", "mi-di-ti"):
        assert torch.equal(perturbed((network, x, y), tmp_path, variant), x)


# -- copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.6, 0.9, 1.0, 1.1, 1.6])
def test_rows_are_resized_as_torch_does_each_by_its_own_numbers(rate):
    random = torch.Generator().manual_seed(0)
    x, chances = torch.rand(40, 3, 9, 9, generator=random), torch.rand(40, 4, generator=random)
    found = diversity.resize_and_pad(x, chances, 0.6, rate)
    rows = zip(x, chances, strict=True)
    wanted = torch.stack([by_torch(row, *own.tolist(), 0.6, rate) for row, own in rows])
    assert torch.allclose(found, wanted, atol=1e-5)
    same = (found == x).flatten(1).all(1)
    assert rate == 1 or 0 < same.sum() < 40
    wide = torch.rand(40, 2, 9, 14, generator=random)
    assert diversity.resize_and_pad(wide, chances, 0.6, rate).shape == wide.shape


def test_the_kernel_is_gaussian_and_keeps_constants_away_from_the_edges():
    found = smoothing.kernel(15, 3**-0.5)
    assert found.sum().item() == pytest.approx(1)
    assert (found[7, 14] / found[7, 7]).item() == pytest.approx(torch.tensor(-1.5).exp().item())
    flat = smoothing.smooth(torch.ones(1, 2, 20, 20), 15, 3**-0.5)
    assert torch.allclose(flat[:, :, 7:13, 7:13], torch.ones(1, 2, 6, 6))
    assert flat[0, 0, 0, 0] < 0.5


def test_added_pictures_are_of_other_classes_and_all_of_them_are_drawn(tmp_path):
    train = train_set()
    pool = mixing.Pool.of(train, torch.arange(30))
    assert torch.equal(pool.pictures, train.raw[:30])
    y, chance = torch.arange(2000) % 5, torch.rand(2000, generator=torch.Generator().manual_seed(0))
    drawn = pool.others(y, chance)
    same = (drawn[:, None] == train.x[:30]).flatten(2).all(2)
    assert torch.equal(same.sum(1), torch.ones(2000, dtype=torch.int64))
    assert (train.y[same.int().argmax(1)] != y).all()
    assert same.any(0).all()
    with pytest.raises(NotApplicable, match="other classes"):
        mixing.Pool.of(train, torch.tensor([0, 5])).others(y[:1], chance[:1])


def test_admix_takes_the_mean_gradient_of_mixed_copies(given, tmp_path):
    """One step with one picture and two scales, by hand."""
    network, x, y = given
    params = {"steps": 1, "rel_stepsize": 1, "scale_copies": 2, "admix_images": 1, "eta": 0.5}
    found = perturbed(given, tmp_path, "admix", **params)
    ctx = context(tmp_path, SPEC)
    with ctx.batch(Batch(torch.arange(20), 0, 20, torch.arange(20))):
        chance = ctx.draw((20,), partial(torch.rand, generator=ctx.generator("mixed")))
    added = mixing.Pool.load(tmp_path / mixing.FILE, torch.device("cpu")).others(y, chance)
    mixed = x + 0.5 * added
    total = torch.zeros_like(x)
    for scale in (1, 0.5):
        copy = (scale * mixed).clamp(0, 1).requires_grad_()
        F.cross_entropy(network(copy), y, reduction="sum").backward()
        total += scale * copy.grad
    assert ((found - x - EPS * total.sign()).abs() > 1e-6).float().mean() < 0.002


def test_admix_without_pictures_is_declined(given, tmp_path):
    network, x, y = given
    attack = module("attack", "transfer", "admix")
    with pytest.raises(NotApplicable, match="learn"):
        attack.perturb(live(network, SPEC), x, y, None, Budget(norm="linf", eps=EPS),
                       context(tmp_path, SPEC))  # fmt: skip


def test_only_admix_learns(tmp_path):
    train, budget = train_set(), Budget(norm="linf", eps=EPS)
    for variant, files in (("mi-fgsm", 0), ("admix", 1)):
        attack = module("attack", "transfer", variant, pool=10)
        attack.learn(None, train, train, budget, context(tmp_path, SPEC))
        assert len(list(tmp_path.iterdir())) == files
    assert len(mixing.Pool.load(tmp_path / mixing.FILE, torch.device("cpu")).y) == 10


def test_no_copy_leaves_the_box(given, tmp_path):
    network, _, y = given
    seen = []
    network.register_forward_hook(lambda network, inputs, _: seen.append(inputs[0].detach()))
    x = torch.rand(20, 3, 10, 10, generator=torch.Generator().manual_seed(3)).round()
    for variant in ("vni-fgsm", "admix", "mi-di-ti"):
        perturbed((network, x, y), tmp_path, variant, eps=0.3, steps=3)
    values = torch.cat(seen)
    assert values.min() >= 0
    assert values.max() <= 1 + 1e-6
