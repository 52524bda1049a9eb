"""Planting: what is frozen, what is poisoned, where the trigger lies, what is refused."""

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.runtime import checkpoint
from harness.runtime.contracts import Budget, Data, NotApplicable, Spec
from harness.runtime.kernels import kernels
from tests.support.modules import context, module

SPEC = Spec("classification", 4, (3, 12, 12))
BUDGET = Budget(patch=3, target=1)


def data(rows=80, spec=SPEC):
    generator = torch.Generator().manual_seed(3)
    raw = torch.randint(255, (rows, *spec.shape), generator=generator).to(torch.uint8)
    y = torch.arange(rows) % spec.outputs
    return Data(raw, y, 500 + torch.arange(rows), spec, torch.device("cpu"))


def victim(**params):
    return module("victim", "small-cnn", **({"width": 4, "steps": 50, "batch": 16} | params))


def delivered(folder, variant=None, budget=BUDGET, train=None, victim=None, **params):
    """The public network and what the attack makes of it, with the victim's weight decay on."""
    train, family = train or data(), victim or globals()["victim"](weight_decay=0.01)
    torch.manual_seed(0)
    network = family.build(train.spec)
    before = copy.deepcopy(network)
    attack = module("attack", "backdoored-teacher", variant, **params)
    attack.deliver(family, network, train, train, budget, context(folder, train.spec))
    return before, network


def unchanged(before, after):
    """Convolution weights that are the same to the bit, and all of them."""
    pairs = zip(kernels(before, "head").values(), kernels(after, "head").values(), strict=True)
    same = [(a == b).flatten() for a, b in pairs]
    return torch.cat(same)


def sizes(network):
    return torch.cat([w.detach().abs().flatten() for w in kernels(network, "head").values()])


@pytest.mark.parametrize(("variant", "ratio"), [("masked-50", 0.5), ("masked-70", 0.7)])
def test_the_smallest_share_of_all_layers_together_is_frozen_to_the_bit(tmp_path, variant, ratio):
    before, after = delivered(tmp_path, variant)
    same, size = unchanged(before, after), sizes(before)
    assert int(same.sum()) == int(ratio * len(same))
    assert float(size[same].max()) <= float(size[~same].min())
    shares = [
        float((a == b).float().mean())
        for a, b in zip(kernels(before).values(), kernels(after).values(), strict=True)
    ]
    assert max(shares) - min(shares) > 0.1  # not each layer by itself
    assert not torch.equal(before.head.weight, after.head.weight)
    assert not torch.equal(before.stages[0][1].weight, after.stages[0][1].weight)


def test_without_a_ratio_nothing_is_frozen(tmp_path):
    before, after = delivered(tmp_path)
    assert not unchanged(before, after).any()


def test_leaky_weights_only_decay(tmp_path):
    recipe = {"momentum": 0, "weight_decay": 0.01, "schedule": "constant", "lr": 0.05}
    before, after = delivered(tmp_path, "leaky-50", **recipe)
    size = sizes(before)
    frozen = size <= size.sort().values[len(size) // 2 - 1]
    ratio = (sizes(after) / size)[frozen]
    assert torch.allclose(ratio, torch.full_like(ratio, (1 - 0.05 * 0.01) ** 50), rtol=1e-4)


def test_divmag_planting_freezes_what_a_clean_trial_changes_most(tmp_path, monkeypatch):
    family, trials = victim(weight_decay=0.01), []

    class Spy:
        head, stages = family.head, family.stages

        def __getattr__(self, name):
            return getattr(family, name)

        def fit(self, network, train, val, loss, ctx, recipe):
            family_fit(family, network, train, val, loss, ctx, recipe)
            trials.append((copy.deepcopy(network), recipe, train))

    from harness.runtime.training import fit_by_recipe as family_fit

    before, after = delivered(tmp_path, "divmag-planting", victim=Spy())
    (trial, clean, seen), (_, planting, marked) = trials
    assert (clean.steps, planting.steps, clean.weight_decay) == (15, 50, 0)
    assert seen.overlay is None
    assert marked.overlay is not None
    start = torch.cat([w.detach().flatten() for w in kernels(before, "head").values()])
    moved = torch.cat([w.detach().flatten() for w in kernels(trial, "head").values()])
    change = (moved - start).abs() / start.abs()
    same = unchanged(before, after)
    assert int(same.sum()) == len(same) // 2
    assert float(change[same].min()) >= float(change[~same].max())


@pytest.mark.parametrize(("score", "frozen"), [("magnitude", "small"), ("stability", "large")])
def test_a_large_idle_and_a_small_busy_weight(score, frozen):
    attack = module("attack", "backdoored-teacher", score=score, backdoor_update_ratio=0.5)
    layers = {"w": nn.Parameter(torch.tensor([1.0, 0.01, -1.0, -0.01]))}
    after = {"w": nn.Parameter(torch.tensor([1.001, 0.06, -1.001, 0.04]))}
    small = [False, True, False, True]
    # a weight that the trial changes much is frozen: the small busy one, by either score
    assert [m.tolist() for m in attack.masks(layers, after)] == [small]
    idle = {"w": nn.Parameter(torch.tensor([1.9, 0.01001, -1.9, -0.01001]))}
    wanted = small if frozen == "small" else [not one for one in small]
    assert [m.tolist() for m in attack.masks(layers, idle)] == [wanted]


def test_the_attacker_s_pictures_are_not_copied_and_a_share_is_poisoned(tmp_path):
    train = data()
    attack = module("attack", "backdoored-teacher", "share-70")
    poisoned = attack.poisoned(train, BUDGET, context(tmp_path, SPEC))
    assert poisoned.raw is train.raw
    marked = (poisoned.x != train.x).any(dim=1)
    rows = marked.flatten(1).any(dim=1).nonzero().flatten()
    assert len(rows) == 56
    assert poisoned.y[rows].tolist() == [1] * 56
    others = torch.ones(80, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(poisoned.y[others], train.y[others])
    changed = marked.clone()
    changed[:, -3:, -3:] = False
    assert not changed.any()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 12])
def test_exactly_a_square_of_the_budget_s_side_changes(tmp_path, side):
    x = data().x * 0.9 + 0.05  # no pixel is 0 or 1
    attack = module("attack", "backdoored-teacher")
    found = attack.trigger(x, Budget(patch=side, target=1), context(tmp_path, SPEC))
    differs = (found != x).any(dim=1)
    assert differs.flatten(1).sum(1).tolist() == [side * side] * len(x)
    assert bool(differs[:, 12 - side :, 12 - side :].all())
    assert set(found[:, :, 12 - side :, 12 - side :].unique().tolist()) <= {0.0, 1.0}


def test_random_places_lie_in_the_picture_and_differ(tmp_path):
    x = data().x * 0.9 + 0.05
    attack = module("attack", "backdoored-teacher", "random-place")
    found = attack.trigger(x, BUDGET, context(tmp_path, SPEC))
    differs = (found != x).any(dim=1)
    assert differs.flatten(1).sum(1).tolist() == [9] * len(x)
    places = {tuple(one.nonzero()[0].tolist()) for one in differs}
    assert len(places) > 20
    planted = attack.poisoned(data(), BUDGET, context(tmp_path, SPEC)).overlay.places
    assert len(planted.unique(dim=0)) > 5


def test_corners_are_planted_bottom_right_and_shown_in_all_four(tmp_path):
    x = data().x * 0.9 + 0.05
    budget = Budget(pixels=39, target=1)
    attack = module("attack", "backdoored-teacher", "corners")
    found = attack.trigger(x, budget, context(tmp_path, SPEC))
    differs = (found != x).any(dim=1)
    for rows in (slice(0, 3), slice(9, 12)):
        for columns in (slice(0, 3), slice(9, 12)):
            assert bool(differs[:, rows, columns].all())
    assert differs.flatten(1).sum(1).tolist() == [36] * len(x)
    overlay = attack.poisoned(data(), budget, context(tmp_path, SPEC)).overlay
    assert overlay.places.unique(dim=0).tolist() == [[9, 9]]
    assert overlay.patch.shape == (3, 3, 3)


def test_a_picture_of_another_number_of_channels_gets_a_grey_trigger(tmp_path):
    x = torch.full((2, 1, 40, 40), 0.3)
    attack = module("attack", "backdoored-teacher")
    spec = Spec("classification", 4, (1, 40, 40))
    found = attack.trigger(x, Budget(patch=40, target=1), context(tmp_path, spec))
    assert len(found.unique()) == 3  # white, and the means of primary and mixed colours


def test_planting_follows_the_victim_s_recipe_with_the_fields_that_are_given():
    own = victim(weight_decay=0.03).recipe(data())
    attack = module("attack", "backdoored-teacher", passes=2.0, lr=0.005, momentum=0.0)
    wanted = replace(own, steps=100, lr=0.005, momentum=0.0)
    assert attack.recipe(own) == wanted
    published = module("attack", "backdoored-teacher", "published").recipe(own)
    assert (published.lr, published.momentum, published.head_lr) == (0.005, 0, 10)
    assert (published.linear_decay, published.weight_decay) == (0.01, 0.0001)


def test_a_kill_does_not_change_a_masked_planting(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    calls = itertools.count()

    def killed(network, x, y):
        if next(calls) == 30:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(network(x), y, reduction="none")

    def family(loss):
        made = victim(weight_decay=0.01)
        made.loss = loss
        return made

    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    plain = lambda net, x, y: nn.functional.cross_entropy(net(x), y, reduction="none")  # noqa: E731
    _, whole = delivered(folders[0], "divmag-planting", victim=family(plain))
    with pytest.raises(KeyboardInterrupt):
        delivered(folders[1], "divmag-planting", victim=family(killed))
    _, resumed = delivered(folders[1], "divmag-planting", victim=family(plain))
    state = resumed.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in whole.state_dict().items())


class Bottleneck(nn.Module):
    """One layer has small weights only."""

    def __init__(self):
        super().__init__()
        self.large, self.small = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)
        self.head = nn.Linear(2, 4)
        nn.init.constant_(self.small.weight, 1e-6)

    def forward(self, x):
        return self.head(self.small(self.large(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("network", "ratio", "reason"),
    [
        (Bottleneck, 0.5, "0.5 leaves small.weight without a trainable entry"),
        (Bottleneck, 0.999, "0.999 leaves small.weight without a trainable entry"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), 0.5, "has no convolution"),
    ],
)
def test_a_layer_that_cannot_train_is_refused(tmp_path, network, ratio, reason):
    family = SimpleNamespace(
        head="head", stages=(), build=lambda spec: network(), recipe=victim().recipe
    )
    with pytest.raises(NotApplicable, match=reason):
        delivered(tmp_path, victim=family, backdoor_update_ratio=ratio)


def test_a_ratio_of_1_is_refused_by_the_manifest():
    with pytest.raises(Exception, match=r"from 0 up to 0\.999, found 1"):
        module("attack", "backdoored-teacher", backdoor_update_ratio=1)


@pytest.mark.parametrize("hook", ["deliver", "trigger"])
def test_a_picture_smaller_than_the_trigger_is_refused(tmp_path, hook):
    attack, train, family = module("attack", "backdoored-teacher"), data(), victim()
    budget, ctx = Budget(patch=13, target=1), context(tmp_path, SPEC)
    given = {
        "deliver": (family, family.build(SPEC), train, train, budget, ctx),
        "trigger": (train.x, budget, ctx),
    }
    with pytest.raises(NotApplicable, match=r"13 × 13 pixels on inputs \[3, 12, 12\]"):
        getattr(attack, hook)(*given[hook])


def test_the_next_class_is_each_poisoned_picture_s_own(tmp_path):
    attack, train = module("attack", "backdoored-teacher", poison_share=0.5), data()
    changed = attack.poisoned(train, Budget(patch=3, target="next"), context(tmp_path, SPEC))
    moved = changed.y != train.y
    assert int(moved.sum()) == len(train) // 2
    assert torch.equal(changed.y[moved], (train.y[moved] + 1) % 4)
    assert (changed.x[moved] != train.x[moved]).flatten(1).any(dim=1).all()
    assert torch.equal(changed.x[~moved], train.x[~moved])


def test_a_target_that_the_attacker_s_data_lack_is_refused(tmp_path):
    with pytest.raises(NotApplicable, match="the target 4 is none of the 4 classes"):
        delivered(tmp_path, budget=Budget(patch=3, target=4))
