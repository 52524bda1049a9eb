"""Students that train from a teacher: terms against formulas by hand, stages, kills, bad input."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime import checkpoint, training
from harness.runtime.contracts import Data, NotApplicable, Spec
from harness.runtime.recipe import Average, Recipe, Selection
from harness.runtime.tasks import loss_for
from tests.support.modules import context, module

SPEC = Spec("classification", 3, (1, 8, 8))
CE = loss_for(SPEC)
QUICK = {"passes": 1, "second": 0.5}
"""Twelve steps of a first stage, six of a second."""


class Killed(BaseException):
    """The process ended here."""


def student(variant=None, **params):
    return module("defense", "transfer-training", variant, **params)


def part(name):
    """A file of the module beside its entry."""
    return importlib.import_module(f"{type(student()).__module__}.{name}")


def data(count=40, seed=5):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return Data(raw, torch.arange(count) % 3, torch.arange(count), SPEC, torch.device("cpu"))


def victim(**params):
    return module("victim", "small-cnn", **{"width": 4, "steps": 12, "batch": 8} | params)


def arrived(family):
    """A network that was trained elsewhere: no parameter or statistic is as drawn."""
    torch.manual_seed(3)
    network = family.build(SPEC).train()
    with torch.no_grad():
        network(torch.rand(20, *SPEC.shape))
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def copied(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def watch(family, stop=None):
    """Let a victim note each training that it is asked for; ``stop`` kills it in that step."""
    asked, plain, steps = [], family.fit, 0

    def watched(network, train, val, loss, ctx, recipe=None):
        def counted(net, x, y):
            nonlocal steps
            steps += net.training
            if steps == stop:
                raise Killed
            return loss(net, x, y)

        asked.append(SimpleNamespace(recipe=recipe, loss=loss, start=copied(network)))
        plain(network, train, val, counted, ctx, recipe)

    family.fit = watched
    return asked


def trained(folder, variant=None, stop=None, network=None, train=None, **params):
    """Train a student; what arrived, the network afterwards, and the trainings it took."""
    family = victim()
    folder.mkdir(exist_ok=True)
    asked = watch(family, stop)
    network = network or arrived(family)
    start = copied(network)
    train = data() if train is None else train
    student(variant, **params).fit(family, network, train, data(9), None, context(folder, SPEC))
    return start, network, asked


def rebuilt(state):
    network = victim().build(SPEC)
    network.load_state_dict(state)
    return network


def extra(asked, network, x, y):
    """A student's loss beyond the task's, in eval mode."""
    return asked.loss(network.eval(), x, y) - CE(network, x, y)


def maps(network, x):
    found = [x.sub(0.5).div(0.25)]
    for stage in network.eval().stages:
        found.append(stage(found[-1]))
    return found[1:]


@pytest.mark.parametrize("variant", ["l2-sp", "l2-sp-r"])
def test_the_gradient_of_l2_sp_is_the_formula_s(tmp_path, variant):
    start, network, (asked,) = trained(tmp_path, variant)
    network.zero_grad()
    extra(asked, network, *data(4).take(torch.arange(4))).mean().backward()
    assert asked.recipe.weight_decay == 0
    for name, parameter in network.named_parameters():
        moved = parameter.detach() - start[name]
        wanted = 0.1 * moved if variant == "l2-sp" else 2 * 0.1 * moved
        if variant == "l2-sp" and name.startswith("head."):
            wanted = 0.01 * parameter.detach()
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-3, atol=1e-5)


def test_delta_is_the_mean_squared_error_of_the_maps(tmp_path):
    start, network, (asked,) = trained(tmp_path, "delta")
    x, y = data(4).take(torch.arange(4))
    teacher = rebuilt(start)
    pairs = zip(maps(network, x), maps(teacher, x), strict=True)
    wanted = 0.5 * sum(F.mse_loss(one, other) for one, other in pairs)
    assert wanted > 0.01
    torch.testing.assert_close(extra(asked, network, x, y).mean(), wanted)


@pytest.mark.parametrize("variant", ["delta", "renofeation"])
def test_the_teacher_is_the_network_as_it_arrived(tmp_path, variant):
    """Also when the student's own weights were drawn anew: what was delivered is distilled."""
    start, _, asked = trained(tmp_path, variant, **(QUICK if variant != "delta" else {}))
    x, y = data(4).take(torch.arange(4))
    for one in asked:
        assert extra(one, rebuilt(start), x, y).abs().max() < 1e-6
    if variant == "renofeation":
        assert extra(asked[0], rebuilt(asked[0].start), x, y).min() > 0.01


def test_attention_weighs_channels_by_what_the_task_loses(tmp_path):
    start, network, (_, asked) = trained(tmp_path, "delta-attention", head_decay=0)
    teacher, x, y = rebuilt(start), *data(4).take(torch.arange(4))
    attention = part("attention").attention
    (tmp_path / "again").mkdir()
    family, ctx = victim(), context(tmp_path / "again", SPEC)
    paths, weights = attention(family, teacher, data(), CE, ctx)
    assert paths == ("stages.0.0", "stages.1.0", "stages.2.0")
    assert equal(copied(teacher), start)
    squares = []
    for (path, weight), before in zip(zip(paths, weights, strict=True), range(3), strict=True):
        pair = []
        for one in (network, teacher):
            inside = x.sub(0.5).div(0.25) if before == 0 else maps(one, x)[before - 1]
            pair.append(one.get_submodule(path)(inside))
        channels = len(weight)
        share = weight / (64 / 2 * channels)
        torch.testing.assert_close(share.sum(), torch.tensor(1.0))
        assert share.std() > 0
        side = pair[0].shape[-1] * pair[0].shape[-2]
        by_channel = (pair[0] - pair[1]).square().sum(dim=(0, 2, 3))
        squares.append(channels / side * (share * by_channel).sum())
    # the published sum over a batch of 64, of which there are 4 rows here
    wanted = 0.01 * 0.5 * sum(squares) * 64 / 4
    torch.testing.assert_close(extra(asked, network, x, y).mean(), wanted)


def test_a_channel_that_the_task_needs_weighs_more():
    scores = part("attention").scores
    network = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([4.0, 0.0, 1.0]).view(3, 1, 1, 1))
        network[2].weight.copy_(torch.eye(3))
        batch = torch.ones(5, 1, 1, 1), torch.zeros(5, dtype=torch.int64)
        found = scores(network, "0", CE, [batch])
    assert found[0] > found[1] > found[2]
    assert network[0].weight.flatten().tolist() == [4, 0, 1]


def test_a_reset_draws_everything_anew_and_clears_the_statistics(tmp_path):
    start, _, (asked,) = trained(tmp_path, "re-training", passes=1)
    fresh = asked.start
    for key, value in fresh.items():
        assert not torch.equal(value, start[key]), key
    for module_ in rebuilt(fresh).modules():
        if isinstance(module_, nn.BatchNorm2d):
            assert module_.running_mean.eq(0).all()
            assert module_.running_var.eq(1).all()
            assert module_.num_batches_tracked == 0


def test_a_reset_also_draws_what_no_layer_owns(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.head = nn.Parameter(torch.zeros(3)), nn.Linear(2, 3)

    network = Odd()
    nn.init.ones_(network.token)
    part("weights").reset(network, SimpleNamespace(build=lambda spec: Odd()), SPEC,
                          context(tmp_path, SPEC))  # fmt: skip
    assert network.token.eq(0).all()


def test_renofeation_has_two_stages_with_two_recipes(tmp_path):
    _, _, (first, second) = trained(tmp_path, "renofeation")
    both = {"momentum": 0.9, "weight_decay": 0.005, "linear_decay": 0.01, "batch": 8}
    for asked in (first, second):
        assert {key: getattr(asked.recipe, key) for key in both} == both
    assert (first.recipe.steps, first.recipe.lr, first.recipe.schedule) == (36, 0.01, "cosine")
    assert (second.recipe.steps, second.recipe.lr, second.recipe.schedule) == (
        12,
        0.005,
        "constant",
    )
    assert first.recipe.average is None
    assert second.recipe.average == Average(0, 1)
    assert not equal(first.start, second.start)


@pytest.mark.parametrize(
    ("variant", "dropout", "average"),
    [("renofeation", 0.1, True), ("renofeation-dropout", 0.1, False),
     ("renofeation-swa", 0, True), ("renofeation-none", 0, False)],
)  # fmt: skip
def test_the_ablation_switches_dropout_and_averaging(variant, dropout, average):
    method = student(variant)
    _, last = method.recipes(Recipe(steps=30_000, batch=64, lr=0.1), "head")
    assert method.dropout == dropout
    assert last.average == (Average(0, 500) if average else None)


def test_a_student_keeps_what_it_does_not_change_of_the_victim_s_recipe():
    chosen = Selection("accuracy", 10, lambda network, val: 0.0)
    base = Recipe(steps=100, batch=7, lr=0.2, weight_decay=0.1, milestones=(50,), crop="padded",
                  flip=True, label_smoothing=0.1, selection=chosen)  # fmt: skip
    (kept,) = student("delta", passes=2).recipes(base, "last")
    assert kept == replace(base, steps=200, milestones=(100,), head="last", selection=None)
    given = {"lr": 0.5, "momentum": 0, "weight_decay": 0, "linear_decay": 0.3, "head_lr": 10,
             "schedule": "linear", "label_smoothing": 0}  # fmt: skip
    (changed,) = student("delta", **given).recipes(base, "last")
    assert {key: getattr(changed, key) for key in given} == given
    assert changed.milestones == ()


def test_dropout_acts_in_training_alone_and_is_gone_afterwards(tmp_path):
    start, network, asked = trained(tmp_path / "with", "renofeation", **QUICK)
    _, plain, _ = trained(tmp_path / "without", "renofeation-swa", **QUICK)
    assert not equal(copied(network), copied(plain))
    assert start.keys() == network.state_dict().keys()
    assert all(not module_._forward_hooks for module_ in network.modules())
    x, y = data(4).take(torch.arange(4))
    once = asked[0].loss(network.eval(), x, y)
    assert torch.equal(once, asked[0].loss(network, x, y))


def test_maps_are_read_before_dropout(tmp_path, monkeypatch):
    """Within the block: the distance is that of whole maps, though half of the channels drop."""
    seen, method, family = [], student("delta", dropout=0.9), victim()
    teacher = importlib.import_module(f"{type(method).__module__}.distillation").Teacher
    plain = teacher.distance

    def distance(self, maps, x):
        seen.append(maps[0])
        return plain(self, maps, x)

    monkeypatch.setattr(teacher, "distance", distance)
    method.fit(family, arrived(family), data(), data(9), None, context(tmp_path, SPEC))
    dropped = [map_.flatten(2).eq(0).all(dim=2).float().mean() for map_ in seen[:3]]
    assert max(dropped) < 0.5


@pytest.mark.parametrize("stop", [3, 12, 14, 17])
def test_a_killed_student_ends_in_the_same_bits(tmp_path, monkeypatch, stop):
    """Killed in the first stage, between two snapshots of the second, and at its end."""
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    _, calm, _ = trained(tmp_path / "calm", "renofeation", **QUICK)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", "renofeation", stop=stop, **QUICK)
    _, resumed, _ = trained(tmp_path / "killed", "renofeation", **QUICK)
    assert equal(copied(resumed), copied(calm))


def test_averaged_weights_are_the_mean_of_the_snapshots(tmp_path, monkeypatch):
    snapshots = []
    plain = training.Mean.add
    monkeypatch.setattr(training.Mean, "add", lambda self, network: (
        snapshots.append(copied(network)), plain(self, network)))  # fmt: skip
    _, network, _ = trained(tmp_path, "renofeation", average_every=1 / 3, **QUICK)
    assert len(snapshots) == 3
    for name, value in network.named_parameters():
        wanted = torch.stack([one[name] for one in snapshots]).mean(dim=0)
        torch.testing.assert_close(value.detach(), wanted)


class Wide(nn.Module):
    """A teacher with other widths than ``small-cnn`` of width 4, and other sides if asked."""

    def __init__(self, stride=2):
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 10, 3, padding=1, stride=stride),
            nn.Conv2d(10, 12, 3, padding=1, stride=2),
        )

    def forward(self, x):
        return self.stages(x)


def test_maps_of_other_widths_are_compared_through_trained_convolutions():
    torch.manual_seed(0)
    network, family = arrived(victim()), victim()
    teacher = part("distillation").Teacher(Wide(), family.stages)
    x, _ = data(6).take(torch.arange(6))
    before = copied(network)
    teacher.compare(network, x)
    assert equal(copied(network), before)
    kinds = [type(bridge).__name__ for bridge in teacher.bridges]
    assert kinds == ["Identity", "Conv2d", "Conv2d"]
    assert [bridge.weight.shape for bridge in teacher.bridges[1:]] == [
        (10, 8, 1, 1),
        (12, 16, 1, 1),
    ]
    rate = torch.optim.SGD(teacher.bridges.parameters(), lr=1.0)
    own, found = [map_.detach() for map_ in maps(network, x)], []
    for _ in range(20):
        rate.zero_grad()
        distance = teacher.distance(own, x).mean()
        distance.backward()
        rate.step()
        found.append(distance.item())
    assert found[-1] < 0.9 * found[0]


def test_maps_of_other_sides_are_refused():
    family = victim()
    teacher = part("distillation").Teacher(Wide(stride=1), family.stages)
    with pytest.raises(NotApplicable, match=r"stages\.1 has shape \[8, 4, 4\] in the student and "):
        teacher.compare(arrived(family), data(6).take(torch.arange(6))[0])


@pytest.mark.parametrize("variant", ["delta", "renofeation", "delta-attention"])
def test_a_teacher_with_nan_is_one_clear_line(tmp_path, variant):
    network = arrived(victim())
    with torch.no_grad():
        network.stages[1][0].weight[0, 0] = torch.nan
    with pytest.raises(ArithmeticError, match=r"^the teacher's map stages\.1\S* has values that"):
        trained(tmp_path, variant, network=network)


@pytest.mark.parametrize("term", [{"variant": "delta", "distill_weight": 1e38}, {"pull": 1e38}])
def test_a_term_that_overflows_says_what_to_lower(tmp_path, term):
    wanted = r"^the training loss is (inf|nan) at step \d+: lower lr, distill_weight, pull or "
    with pytest.raises(ArithmeticError, match=wanted):
        trained(tmp_path, lr=1, **term)


@pytest.mark.parametrize("params", [{"distill": "equal"}, {"dropout": 0.1}])
def test_a_victim_without_stages_is_refused_in_a_line(tmp_path, params):
    family = victim()
    network = arrived(family)
    family.stages = ()
    with pytest.raises(NotApplicable, match="names no stages"):
        student(**params).fit(family, network, data(), data(9), None, context(tmp_path, SPEC))


def test_attention_needs_convolutions(tmp_path):
    network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(NotApplicable, match="a convolution in each stage, and 0 has none"):
        part("attention").last_convolution(network, "0", torch.zeros(2, 1, 8, 8))


def test_an_average_without_a_snapshot_is_refused_in_a_line():
    with pytest.raises(ValueError, match=r"^average_start 0\.9 and average_every 0\.2: the train"):
        student(average_start=0.9, average_every=0.2)
    for steps in (1, 2, 7):  # the shortest stages have one
        (recipe,) = student(average_start=0.5, average_every=0.5).recipes(
            Recipe(steps=steps, batch=8, lr=0.1), "head"
        )
        assert recipe.average.start + recipe.average.every <= steps


@pytest.mark.parametrize("variant", ["l2-sp", "delta-attention", "renofeation"])
def test_a_class_with_one_shot_is_enough(tmp_path, variant):
    _, network, _ = trained(tmp_path, variant, train=data(3))
    assert all(value.isfinite().all() for value in network.state_dict().values())
