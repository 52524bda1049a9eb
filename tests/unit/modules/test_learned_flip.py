"""The learned attack against closed forms, exact solutions and its own promises."""

import importlib
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.runtime import checkpoint, ranking
from harness.runtime.contracts import Data, Spec
from harness.runtime.tasks import decision_values
from tests.support.comparisons import CPU, SETS, held, poisoned
from tests.support.modules import context, module

QUICK = {"outer": 4, "inner": 1, "lr": 0.01, "batch": 64}


def part(name):
    """A file of the attack's folder."""
    attack = module("attack", "learned-flip")
    return importlib.import_module(f"{type(attack).__module__}.{name}")


class Exact:
    """A victim's loss ½(s − y)² or margin, on outputs in any precision."""

    def __init__(self, kind):
        self.kind = kind

    def training_loss_of(self, outputs, y):
        decision, label = decision_values(outputs, y), y[:, -2].to(outputs.dtype)
        return (
            0.5 * (decision - label) ** 2 if self.kind == "pairs" else (1 - label * decision).relu()
        )


@pytest.mark.parametrize("kind", SETS)
def test_gains_are_the_closed_forms(kind):
    data, random = SETS[kind](), torch.Generator().manual_seed(0)
    outputs = [torch.randn(len(data.raw), 3, generator=random, dtype=torch.float64) for _ in "ab"]
    problem, model = part("objective"), Exact(kind)
    theta, clean = (problem.both(model, one, data.y) for one in outputs)
    found = -problem.gains(theta, clean)
    now, before = (decision_values(one, data.y) * data.y[:, -2] for one in outputs)
    if kind == "pairs":
        wanted = 2 * (now - before)
    else:
        psi = lambda m: torch.where(m.abs() <= 1, 2 * m, m.sign() * (m.abs() + 1))  # noqa: E731
        wanted = psi(now) - psi(before)
    assert (found - wanted).abs().max() < 1e-6


def test_the_sum_of_the_largest_is_a_minimum_over_one_number():
    quantile = part("threshold").quantile
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(50, generator=random, dtype=torch.float64)
        k = int(torch.randint(1, 50, (), generator=random))
        top = z.topk(k).values.sum()

        def bound(value, z=z, k=k):
            return k * value + (z - value).relu().sum()

        values = torch.stack([bound(value) for value in z])
        assert values.min() == pytest.approx(top)
        assert bound(quantile(z, k)) == pytest.approx(top)
        assert int((z > quantile(z, k)).sum()) == k


def test_on_a_ridge_problem_the_objective_is_a_displacement():
    """min over θ of (1) is −½ (θ_μ − θ0)ᵀ H (θ_μ − θ0) + γ‖θ0‖², for any θ0."""
    random = torch.Generator().manual_seed(3)
    x = torch.randn(40, 5, generator=random, dtype=torch.float64)
    y = torch.randint(0, 40, (200, 2), generator=random)
    y[:, 1] = torch.where(y[:, 0] == y[:, 1], (y[:, 1] + 1) % 40, y[:, 1])
    label = 2 * torch.randint(2, (200, 1), generator=random) - 1
    y = torch.cat([y, label, torch.zeros(200, 1, dtype=torch.long)], dim=1)
    start = torch.randn(5, generator=random, dtype=torch.float64)
    flips, gamma = torch.rand(200, generator=random) < 0.3, 0.07
    gaps = ranking.feature_differences(x, y)
    h = gaps.T @ gaps / 200 + 2 * gamma * torch.eye(5, dtype=torch.float64)
    turned = torch.where(flips, -y[:, 2], y[:, 2]).double()
    solved = torch.linalg.solve(h, gaps.T @ turned / 200)
    problem, model = part("objective"), Exact("pairs")
    losses, clean = (problem.both(model, (x @ w)[:, None], y) for w in (solved, start))
    found = problem.objective(losses, clean, flips) + gamma * float(solved @ solved)
    away = solved - start
    assert found == pytest.approx(float(-0.5 * away @ h @ away + gamma * start @ start), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_at_the_quantile_the_gradient_is_that_of_turned_labels(kind, tmp_path):
    model, data, _ = held(kind, tmp_path)
    problem = part("objective").FlipObjective(model, data, 16)
    network, k = model.fresh(), 90
    torch.manual_seed(2)
    for p in network.parameters():
        nn.init.normal_(p)
    found = part("objective").gains(problem.losses(network), problem.clean)
    threshold = part("threshold").quantile(found, k)
    flips = found > threshold
    assert int(flips.sum()) == k  # no ties
    batch = problem.data.take(torch.arange(len(data)))
    gradients = []
    for loss in (problem.thresholded(threshold), problem.masked(flips)):
        network.zero_grad()
        loss(network, *batch).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]).clone())
    assert gradients[0].abs().max() > 1e-3
    assert torch.allclose(*gradients, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_choosing_never_raises_the_objective(kind, tmp_path):
    model, data, _ = held(kind, tmp_path)
    problem = part("objective").FlipObjective(model, data, 16)
    losses = problem.losses(model.fresh())
    found = part("objective").gains(losses, problem.clean)
    chosen = torch.zeros(len(data), dtype=torch.bool)
    chosen[ranking.smallest(-found, 100, torch.Generator())] = True
    best = part("objective").objective(losses, problem.clean, chosen)
    for seed in range(10):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        other = torch.zeros_like(chosen)
        other[order[:100]] = True
        assert best <= part("objective").objective(losses, problem.clean, other) + 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("variant", ["threshold", "threshold-sgd", "threshold-snapshot"])
def test_lambda_holds_the_budget_or_the_log_warns(kind, variant, tmp_path, capsys):
    model, data, _ = held(kind, tmp_path)
    capsys.readouterr()
    attack = module("attack", "learned-flip", variant, **QUICK)
    poisoned(attack, model, data, tmp_path / "attack")
    text = capsys.readouterr().out
    above = [float(share) for share in re.findall(r"with ([.\d]+)% of the rows above", text)]
    assert above
    if variant == "threshold":
        assert above == pytest.approx([25.0] * len(above), abs=0.01)
    assert ("warning" in text) == (variant != "threshold" and abs(above[-1] - 25) > 2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mask-clean", "threshold-clean"])
def test_a_clean_start_draws_by_a_seed_that_the_log_names(variant, tmp_path, capsys):
    model, data, _ = held("pairs", tmp_path)
    found = {}
    for seed in (0, 0, 1):
        attack = module("attack", "learned-flip", variant, **QUICK | {"outer": 1, "lr": 1e-6})
        edits = poisoned(attack, model, data, tmp_path / f"{seed}", seed=seed)
        found.setdefault(seed, []).append(set(edits.ids.tolist()))
        drawn = context(tmp_path / f"{seed}", data.spec, seed).seed("ties")
        assert f"drawn by the seed {drawn}" in capsys.readouterr().out
    assert found[0][0] == found[0][1] != found[1][0]


@pytest.mark.slow
def test_a_clean_start_leaves_the_statistics_of_batch_norm(tmp_path):
    model, data, _ = held("pairs", tmp_path, backbone="cnn", lr=0.05)
    for variant, stay in (("mask-clean", True), ("mask", False)):
        attack = module("attack", "learned-flip", variant, **QUICK)
        network = attack.surrogate(model)
        before = {name: value.clone() for name, value in network.named_buffers()}
        attack.surrogate = lambda _, network=network: network
        poisoned(attack, model, data, tmp_path / variant)
        after = dict(network.named_buffers())
        assert all(torch.equal(after[name], before[name]) for name in before) == stay


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("variant", ["mask", "threshold"])
def test_learned_flips_hurt_more_than_drawn_ones(kind, variant, tmp_path):
    model, data, _ = held(kind, tmp_path)

    def accuracy(edits):
        y = data.y.clone()
        y[edits.ids - data.ids[0]] = edits.y
        struck, _, _ = held(kind, tmp_path, replace(data, y=y))
        gap = ranking.decisions(ranking.item_outputs(struck.predict, data, 64), data.y)
        return float((gap * data.y[:, -2] > 0).float().mean())

    attack = module("attack", "learned-flip", variant, **QUICK | {"outer": 15})
    learned = accuracy(poisoned(attack, model, data, tmp_path / "learned"))
    drawn = accuracy(poisoned(module("attack", "label-flip"), model, data, tmp_path / "drawn"))
    assert learned < drawn - 0.03


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mask", "threshold", "threshold-clean"])
def test_a_killed_attack_resumes_to_the_same_edits(variant, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    model, data, _ = held("pairs", tmp_path)
    attack = module("attack", "learned-flip", variant, **QUICK)
    calm = poisoned(attack, model, data, tmp_path / "calm")
    plain, calls, stop = model.training_loss_of, 0, 16

    def counted(outputs, y):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Killed
        return plain(outputs, y)

    model.training_loss_of = counted
    with pytest.raises(Killed):
        poisoned(attack, model, data, tmp_path / "killed")
    stop, calls = -1, 0
    resumed = poisoned(attack, model, data, tmp_path / "killed")
    killed_calls, calls = calls, 0
    poisoned(attack, model, data, tmp_path / "third")
    assert torch.equal(resumed.ids, calm.ids)
    assert killed_calls < calls


@pytest.mark.slow
def test_rows_stay_joined_to_their_losses_in_any_order(tmp_path):
    model, data, _ = held("triplets", tmp_path)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(4))
    problem = part("objective").FlipObjective(model, data, 16)
    mixed = replace(data, y=data.y[order], ids=data.ids[order])
    other = part("objective").FlipObjective(model, mixed, 16)
    assert torch.allclose(other.clean, problem.clean[:, order])
    network, rows = model.fresh(), torch.tensor([5, 250, 17])
    for batch in ([0, 1, 2], [2, 0, 1]):
        loss = problem.thresholded(0.1)(network, *problem.data.take(rows[batch]))
        both = problem.losses(network)
        excess = both - problem.clean
        wanted = excess[0] - (part("objective").gains(both, problem.clean) - 0.1).relu()
        assert torch.allclose(loss, wanted[rows[batch]], atol=1e-5)


def test_one_row_a_problem_has_nothing_to_choose(tmp_path):
    spec = Spec("ranking", 1, (6,), arity=2)
    x = torch.rand(2, 6)
    data = Data(x, torch.tensor([[0, 1, 1, 0]] * 4), torch.arange(4), spec, CPU)
    model, _, _ = held("pairs", tmp_path, data, steps=2)
    attack = module("attack", "learned-flip", **QUICK)
    assert len(poisoned(attack, model, data, tmp_path / "a", edits=2).ids.unique()) == 2
