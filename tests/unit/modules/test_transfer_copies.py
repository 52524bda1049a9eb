"""The copies over which transfer attacks average: resized, smoothed, mixed."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from harness.runtime.contracts import Budget, NotApplicable
from tests.support.modules import context, live, module, part
from tests.support.transfer_attack import (
    EPS,
    SPEC,
    by_torch,
    mixing,
    perturbed,
    smooth_network,
    train_set,
    whole,
)

diversity = part("attack", "transfer", "diversity")
smoothing = part("attack", "transfer", "smoothing")


@pytest.fixture
def given():
    return smooth_network()


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
    ctx, batch = whole(tmp_path)
    with ctx.batch(batch):
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
