"""Each honest mistake of a network is found under its name, and under no other."""

import copy

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Spec
from harness.runtime.gradients import straight_through
from harness.runtime.worker import probe_names as names
from harness.runtime.worker.stages.network_checks import CHECKS, find_mistakes

SPEC = Spec("classification", 3, (1, 4, 4))
SCENES = Spec("segmentation", 3, (1, 4, 4))
ITEMS = Spec("ranking", 2, (6,), arity=2)


class Linear(nn.Module):
    """Honest: a linear layer on flat inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 3)
        self.register_buffer("out", torch.zeros(64, 3))
        self.asked = 0

    def logits(self, x):
        return self.layer(x.flatten(1))

    def forward(self, x):
        return self.logits(x)


def network(forward):
    """A network with this ``forward(self, x)``."""
    return type("Made", (Linear,), {"forward": forward})().eval().requires_grad_(False)


def in_buffer(self, x):
    if torch.is_grad_enabled():
        return self.logits(x)
    self.out[: len(x)].copy_(self.logits(x))
    return self.out[: len(x)]


def in_place(self, x):
    return self.logits(x.sub_(0.5))


def in_place_attacked(self, x):
    return self.logits(x.mul_(0.5) if x.requires_grad else x * 0.5)


def in_place_unattacked(self, x):
    return self.logits(x if x.requires_grad else x.mul_(7).round_().div_(7))


def remembered(self, x):
    self.kept = getattr(self, "kept", {})
    key = (x.shape, float(x.detach().flatten()[0]))
    return self.kept.setdefault(key, self.logits(x.detach()))


def batch_statistics(self, x):
    return self.logits((x - x.mean(0)) / (x.std(0, correction=0) + 1e-5))


def relative(self, x):
    out = self.logits(x)
    return out - out.mean(0, keepdim=True)


def first_batch(self, x):
    """Sets itself by the first batch that it sees."""
    self.mean = getattr(self, "mean", x.mean(0))
    return self.logits(x - self.mean)


def by_place(self, x):
    return self.logits(x) + torch.arange(len(x))[:, None]


def running(self, x):
    self.asked += 1
    return self.logits(x) * (1 + self.asked)


def one_row_refused(self, x):
    if len(x) == 1:
        raise ValueError("Expected more than 1 value per channel")
    return self.logits(x)


def even_only(self, x):
    return self.logits(x.unflatten(0, (-1, 2 if len(x) > 1 else 1)).flatten(0, 1))


def turns_gradients_off(self, x):
    out = self.logits(x)
    torch.set_grad_enabled(False)
    return out


def turns_gradients_on(self, x):
    with torch.enable_grad():
        return self.layer(x.flatten(1).requires_grad_(True) * 1)


MISTAKES = {
    names.FORM: [
        (lambda self, x: (self.logits(x), x), "returned tuple"),
        (lambda self, x: self.logits(x).argmax(1), "shape [12] for 12 inputs"),
        (lambda self, x: self.logits(x)[:, :2], "the network has 2 outputs, and the data set 3"),
    ],
    names.FLOAT32: [
        (lambda self, x: self.logits(x).half(), "float16"),
        (lambda self, x: self.logits(x).bfloat16(), "bfloat16"),
        (lambda self, x: self.logits(x).double(), "float64"),
        (lambda self, x: (self.logits(x) * 1000).long(), "int64"),
    ],
    names.PLACE: [
        (turns_gradients_off, "global setting"),
        (turns_gradients_on, "carry a graph"),
        (lambda self, x: self.logits(x).to("meta"), "on meta"),
    ],
    names.UNCHANGED: [
        (in_place, "x = x.clone()"),
        (in_place_attacked, "x = x.clone()"),
        (in_place_unattacked, "x = x.clone()"),
    ],
    names.OWN_MEMORY: [
        (in_buffer, "one buffer"),
        (remembered, "one buffer"),
        (lambda self, x: x.flatten(1)[:, :3], "view of it"),
        (lambda self, x: self.layer.bias.expand(len(x), 3), "one buffer"),
    ],
    names.REPEAT: [
        (running, "a later call"),
        (lambda self, x: self.logits(x) + torch.randn(len(x), 3), "a later call"),
    ],
    names.BATCH: [
        (batch_statistics, "running statistics"),
        (relative, "the other inputs"),
        (by_place, "the order"),
        (first_batch, "an earlier one"),
    ],
    names.ONE_ROW: [
        (lambda self, x: self.logits(x).squeeze(), "[3] for 1 inputs, expected [1, 3]; keep"),
        (one_row_refused, "ends in ValueError"),
    ],
    names.ANY_SIZE: [(even_only, "a batch of 3 rows ends in RuntimeError")],
}
CASES = [(name, *case) for name, cases in MISTAKES.items() for case in cases]


def mistakes(made, spec=SPEC, x=None):
    x = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)) if x is None else x
    kept, x = x, x.clone()
    found = find_mistakes(lambda: copy.deepcopy(made), x, spec)
    assert torch.equal(kept, x)
    assert tuple(found) == names.NETWORK
    return {name: text for name, text in found.items() if text}


@pytest.mark.parametrize(("name", "forward", "said"), CASES)
def test_a_mistake_is_found_under_its_name_only(name, forward, said):
    with torch.random.fork_rng():
        found = mistakes(network(forward))
    assert list(found) == [name]
    assert said in found[name]
    assert ";" in found[name], "it says what to do"
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_every_check_has_a_mistake_that_it_finds():
    assert set(MISTAKES) == set(names.NETWORK) - {names.REBUILD} == set(CHECKS)


@pytest.mark.parametrize(
    "forward",
    [
        Linear.forward,
        lambda self, x: self.logits(x.clone().sub_(0.5)),
        lambda self, x: self.logits(x.double().float()),
        lambda self, x: self.logits(straight_through(lambda v: (v * 7).round() / 7, x)),
        lambda self, x: self.logits(x).squeeze(-1).float(),
        lambda self, x: self.out[: len(x)].copy_(self.logits(x)).clone(),
        lambda self, x: self.layer.bias.expand(len(x), 3).clone(),
        lambda self, x: torch.where(x.flatten(1)[:, :1] > 0.7, torch.nan, self.logits(x)),
    ],
)
def test_the_honest_twin_passes(forward):
    assert not mistakes(network(forward))


def test_answers_that_batches_only_round_pass():
    """Convolutions and products are summed in another order in another batch."""

    def forward(self, x):
        out = self.logits(x)
        return out * (1 + 1e-6 * len(x))

    assert not mistakes(network(forward))


def test_a_network_of_batch_norm_without_running_statistics_is_named():
    """F4: batch statistics are not in the state of the network, so eval mode uses the batch's."""
    for running_statistics in (True, False):
        made = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3, track_running_stats=running_statistics),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ).eval()
        assert list(mistakes(made)) == ([] if running_statistics else [names.BATCH])


def test_segmentation_and_ranking_are_asked_too():
    scenes = nn.Conv2d(1, 4, 3, padding=1).eval()  # one output more, for void
    assert not mistakes(scenes, SCENES, torch.rand(5, 1, 4, 4))
    half = nn.Sequential(scenes, type("Half", (nn.Module,), {"forward": lambda _, x: x.half()})())
    assert list(mistakes(half, SCENES, torch.rand(5, 1, 4, 4))) == [names.FLOAT32]
    numbers = torch.arange(12)
    table = nn.Embedding(12, 2).eval()
    assert not mistakes(table, ITEMS, numbers)
    view = type("View", (nn.Module,), {"forward": lambda self, x: self.w[: len(x)]})()
    view.w = nn.Parameter(torch.zeros(12, 2))
    assert list(mistakes(view.eval().requires_grad_(False), ITEMS, numbers)) == [names.OWN_MEMORY]
