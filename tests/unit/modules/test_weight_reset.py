"""Weight reset: which weights are erased, when, and what of it survives a kill."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.common.keys import ROOT
from harness.config.manifest_file import load_manifest
from harness.runtime import checkpoint
from harness.runtime.contracts import NotApplicable
from tests.support.modules import module
from tests.support.students import Killed, Student, data, defend, kernels

VARIANTS = load_manifest(ROOT / "defenses" / "weight-reset").variants


def reset(variant=None, **params):
    return module("defense", "weight-reset", variant, **params)


class TwoWeights(nn.Module):
    """Two layers of one weight: one large and idle, one small and busy."""

    def __init__(self):
        super().__init__()
        self.large, self.small = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
        self.head = nn.Linear(64, 3)
        self.set(1.0, 0.01)

    @torch.no_grad()
    def set(self, large, small):
        self.large.weight.fill_(large)
        self.small.weight.fill_(small)

    def forward(self, x):
        return self.head(self.small(self.large(x)).flatten(1))


def two_weights(score, folder, **params):
    """The two weights at the start of fine-tuning, after a trial that moves them as in the text."""
    seen = []

    def fit(network, train, val, loss, ctx, recipe):
        seen.append(kernels(network).tolist())
        if len(seen) < trials:
            network.set(1.001, 0.06)

    trials = 2 if score in ("divmag", "delta", "mulmag", "post-weight") else 1
    victim = SimpleNamespace(head="head", stages=(), fit=fit, recipe=Student().recipe)
    defend(reset(score=score, share=0.4, **params), folder, victim, TwoWeights())
    assert len(seen) == trials
    return seen[-1]


@pytest.mark.parametrize(
    ("score", "large_stays"),
    [("mag", True), ("divmag", False), ("delta", False), ("mulmag", True), ("post-weight", True)],
)
def test_a_large_idle_weight_and_a_small_busy_one(score, large_stays, tmp_path):
    """One of the two goes: all layers are ranked together. |Δw·w|: 0.001 against 0.0005."""
    kept = [1.0, 0.0] if large_stays else [0.0, 0.01]
    assert two_weights(score, tmp_path) == pytest.approx(kept)
    gone = [0.0, 0.01] if large_stays else [1.0, 0.0]
    assert two_weights(score, tmp_path, descending=True) == pytest.approx(gone)


def test_without_restoring_the_weights_of_the_trial_are_pruned(tmp_path):
    assert two_weights("divmag", tmp_path, restore=False) == pytest.approx([0.0, 0.06])


def test_a_layer_that_is_emptied_is_named(tmp_path):
    lines = defend(reset(share=0.4), tmp_path, network=TwoWeights(), student=Idle())[2]
    assert lines == [
        "1 of 2 weights of convolutions erased",
        "1 of 2 kernels have no weight left",
        "no weight is left in small",
    ]


class Idle(Student):
    """A student whose training changes nothing."""

    stages = ()

    def fit(self, network, train, val, loss, ctx, recipe=None):
        self.fits.append((recipe, {k: t.clone() for k, t in network.state_dict().items()}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_not_erased_is_as_before_the_trial_to_the_bit(variant, tmp_path):
    start = Student().build().state_dict()
    student = defend(reset(variant), tmp_path)[1]
    before = student.fits[-1][1]
    changed = [name for name in start if not torch.equal(start[name], before[name])]
    if variant == "divmag-unrestored":
        assert {"head.weight", "stages.0.1.running_mean"} <= set(changed)
        return
    assert set(changed) <= {f"stages.{i}.0.weight" for i in range(3)}
    was, now = kernels(start), kernels(before)
    assert torch.equal(now, torch.where(now == 0, 0, was))
    assert 0 < int((now == 0).sum()) < len(now)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.05, 74), (0.5, 739), (0.99, 1462)])
def test_the_share_is_that_of_all_layers_together(share, count, tmp_path):
    """⌊share · 1476⌋ + 1, as in the published rule; none at 0."""
    before = defend(reset(share=share), tmp_path)[1].fits[0][1]
    assert int((kernels(before) == 0).sum()) == count
    sizes = kernels(Student().build())[kernels(before) == 0].abs()
    assert sorted(sizes.tolist()) == kernels(Student().build()).abs().sort().values[:count].tolist()


def test_a_layer_s_own_scope_takes_its_share_of_each(tmp_path):
    before = defend(reset("gradient", share=0.25), tmp_path)[1].fits[0][1]
    for i, size in enumerate((36, 288, 1152)):
        zeros = before[f"stages.{i}.0.weight"] == 0
        assert size // 4 < int(zeros.sum()) <= size // 4 + 1


def test_bands_make_up_the_whole_without_overlap(tmp_path):
    low, band, both = (
        kernels(defend(reset(share=share, spared=spared), tmp_path, Idle())[1].fits[0][1]) == 0
        for share, spared in ((0.2, 0), (0.3, 0.2), (0.5, 0))
    )
    assert not bool((low & band).any())
    assert torch.equal(low | band, both)


def test_the_trial_has_one_constant_rate_and_no_decay(tmp_path):
    student = Student(head_lr=10.0, momentum=0.0, milestones=(4,))
    student = defend(reset("divmag"), tmp_path, student)[1]
    trial, main = (recipe for recipe, _ in student.fits)
    assert (trial.steps, trial.momentum, trial.weight_decay) == (6, 0.9, 0)
    assert {trial.rate(step) for step in range(6)} == {main.lr}
    assert trial.head_lr == 1
    assert (main.steps, main.momentum, main.head_lr) == (20, 0.0, 10.0)


def test_zeros_stay_at_zero_with_momentum_and_decay(tmp_path):
    network, student, _ = defend(reset("mag-50", sparse=True), tmp_path / "a")
    zeros = kernels(student.fits[0][1]) == 0
    assert torch.equal(kernels(network) == 0, zeros)
    again = defend(reset("mag-50"), tmp_path / "b")[0]
    assert int((kernels(again) == 0).sum()) == 0


def test_rounds_grow_up_to_their_total(tmp_path):
    rounds = reset("mag-50", sparse=True, share=0.2, interval=4, growth=0.1, total=0.45)
    network, _, lines = defend(rounds, tmp_path)
    erased = [int(line.split()[0]) for line in lines if "weights" in line]
    assert erased == [int(share * 1476) + 1 for share in (0.2, 0.3, 0.4, 0.45, 0.45)]
    assert int((kernels(network) == 0).sum()) == erased[-1]


def test_rounds_erase_what_is_smallest_then_and_not_after_the_last_step(tmp_path):
    network, _, lines = defend(reset(interval=10), tmp_path)
    assert sum("weights" in line for line in lines) == 2
    assert int((kernels(network) == 0).sum()) == 0


KINDS = {
    "once": ("mag", {}),
    "sparse": ("mag-50", {"sparse": True}),
    "rounds": ("mag", {"interval": 5, "growth": 0.1}),
    "sparse rounds": ("random", {"interval": 5, "growth": 0.1, "sparse": True}),
    "trial": ("divmag", {"interval": 5, "sparse": True, "dropout": 0.2}),
}


@pytest.mark.parametrize("stop", [3, 9, 10, 11, 19, 25])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_it_ends_in_the_same_bits(kind, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    variant, params = KINDS[kind]
    if variant != "divmag":
        stop = min(stop, 19)
    calm = defend(reset(variant, **params), tmp_path / "calm")[0].state_dict()
    with pytest.raises(Killed):
        defend(reset(variant, **params), tmp_path / "killed", Student(stop))
    resumed, student, _ = defend(reset(variant, **params), tmp_path / "killed")
    assert student.steps == (26 if variant == "divmag" else 20) - stop
    assert all(torch.equal(calm[name], tensor) for name, tensor in resumed.state_dict().items())


@pytest.mark.parametrize(
    ("params", "network", "said"),
    [
        ({"score": "divmag", "trial": 0}, None, "no step"),
        ({}, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "no convolution"),
        ({"score": "divmag"}, TwoWeights(), "score alike"),
    ],
    ids=["no trial", "no convolution", "nothing moves"],
)
def test_what_cannot_be_pruned_is_said(params, network, said, tmp_path):
    with pytest.raises(NotApplicable, match=said):
        defend(reset(**params), tmp_path, Idle(), network)


@pytest.mark.parametrize(
    "params", [{"share": 0.5, "spared": 0.5}, {"spared": 0.1, "interval": 1, "growth": 0.1}]
)
def test_bands_that_reach_the_whole_are_refused(params):
    with pytest.raises(ValueError, match="less than 1"):
        reset(**params)


def test_a_teacher_with_nan_is_said(tmp_path):
    network = Student().build()
    with torch.no_grad():
        network.stages[0][0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ArithmeticError, match="not finite"):
        defend(reset(), tmp_path, network=network)


def test_scores_by_gradient_sum_over_the_batches_of_one_pass(tmp_path):
    """Erased by |g·w| of two batches, computed here by hand, the largest first."""
    student, network = Student(batch=20), Student().build().eval()
    total = 0
    for x, y in data().batches(20):
        network.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        total = total + torch.cat(
            [(p.grad * p).abs().flatten() for p in network.parameters() if p.ndim == 4]
        )
    before = defend(reset("snip", share=0.1), tmp_path, student)[1].fits[0][1]
    expected = total >= total.sort(descending=True).values[int(0.1 * len(total))]
    assert torch.equal(kernels(before) == 0, expected)


def test_taylor_takes_whole_kernels(tmp_path):
    before = defend(reset("taylor", share=0.3), tmp_path)[1].fits[0][1]
    for i in range(3):
        zeros = (before[f"stages.{i}.0.weight"] == 0).flatten(1)
        assert torch.equal(zeros.any(dim=1), zeros.all(dim=1))


def test_idle_takes_the_channels_of_the_last_convolution_that_the_images_use_least(tmp_path):
    network = Student().build().eval()
    mean = network.stages((data().x - 0.5) / 0.25).detach().mean(dim=(0, 2, 3))
    after, student, _ = defend(reset("idle", share=0.5), tmp_path)
    zeros = (student.fits[0][1]["stages.2.0.weight"] == 0).flatten(1).all(dim=1)
    assert int(zeros.sum()) == 9
    assert float(mean[zeros].max()) <= float(mean[~zeros].min()) + 1e-6
    assert torch.equal((after.stages[2][0].weight == 0).flatten(1).all(dim=1), zeros)
