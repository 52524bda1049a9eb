"""Each honest mistake of an attack's hook is found under its name, and under no other."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.common.files import read_json, save_array
from harness.runtime.contracts import Budget, QueryRefused, Spec
from harness.runtime.worker import loader
from harness.runtime.worker import probe_names as names
from harness.runtime.worker.job import Job
from harness.runtime.worker.job_values import JobModule, Options
from harness.runtime.worker.stages.attack_checks import CHECKS, probe_attack

BUFFER = torch.zeros(64, 1, 4, 4)
STEP = 0.1


class Honest:
    """One step, for each row by itself."""

    def perturb(self, model, x, y, goal, budget, ctx):
        return (x + STEP * self.sign(model, x, y)).clamp(0, 1)

    def trigger(self, x, budget, ctx):
        return self.perturb(None, x, None, None, budget, ctx)

    def sign(self, model, x, y):
        if model is None:
            return torch.ones_like(x)
        at = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model.loss(at, y).sum(), at)
        return gradient.sign()


def attack(perturb):
    """A class of attacks with this ``perturb(self, model, x, y, goal, budget, ctx)``."""
    return type("Made", (Honest,), {"perturb": perturb})


def in_place(self, model, x, y, goal, budget, ctx):
    return x.add_(STEP).clamp(0, 1)


def labels_in_place(self, model, x, y, goal, budget, ctx):
    y.add_(1)
    return x.clone()


def in_buffer(self, model, x, y, goal, budget, ctx):
    """The case ``alias``: its result is written into a buffer that is allocated once."""
    BUFFER[: len(x)].copy_(Honest.perturb(self, model, x, y, goal, budget, ctx))
    return BUFFER[: len(x)]


def by_mean(self, model, x, y, goal, budget, ctx):
    return (x + STEP * (x - x.mean(0)).sign()).clamp(0, 1)


def by_place(self, model, x, y, goal, budget, ctx):
    signs = torch.where(torch.arange(len(x)) % 2 == 0, 1.0, -1.0)[:, None, None, None]
    return (x + STEP * signs).clamp(0, 1)


def first_batch(self, model, x, y, goal, budget, ctx):
    """One change for every input, from the first batch that it sees."""
    self.change = getattr(self, "change", (x[-1] - x[0]).sign())
    return (x + STEP * self.change).clamp(0, 1)


def squeezed(self, model, x, y, goal, budget, ctx):
    return Honest.perturb(self, model, x, y, goal, budget, ctx).squeeze(0)


def two_rows_at_least(self, model, x, y, goal, budget, ctx):
    if len(x) < 2:
        raise ValueError("needs a pair")
    return x.clone()


def changed(convert):
    def perturb(self, model, x, y, goal, budget, ctx):
        return convert(Honest.perturb(self, model, x, y, goal, budget, ctx))

    return perturb


MISTAKES = {
    names.FORM: [
        (changed(lambda x: x[:, 0]), "shape [8, 4, 4], expected"),
        (changed(tuple), "a tuple"),
    ],
    names.FLOAT32: [(changed(torch.Tensor.half), "float16"), (changed(torch.Tensor.double), "64")],
    names.UNCHANGED: [(in_place, "x.clone()"), (labels_in_place, "y.clone()")],
    names.OWN_MEMORY: [
        (lambda self, model, x, y, goal, budget, ctx: x, "the input"),
        (lambda self, model, x, y, goal, budget, ctx: x.view_as(x), "a view of it"),
        (in_buffer, "one buffer"),
    ],
    names.BATCH: [
        (by_mean, "the other inputs"),
        (by_place, "the order"),
        (first_batch, "an earlier one"),
    ],
    names.ONE_ROW: [(squeezed, "expected [1, 1, 4, 4]"), (two_rows_at_least, "ends in ValueError")],
}
CASES = [(name, *case) for name, cases in MISTAKES.items() for case in cases]


class Victim:
    """Honest victim of the jobs below."""

    head, stages = "1", ()

    def build(self, spec):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


class NormalisesInPlace(Victim):
    """Victim that an attack must not be blamed for."""

    def build(self, spec):
        forward = lambda self, x: self[1](self[0](x.sub_(0.5)))  # noqa: E731
        return type("InPlace", (nn.Sequential,), {"forward": forward})(*super().build(spec))


def findings(
    tmp_path: Path,
    make: Callable[[], object],
    *,
    victim: type = Victim,
    hook: str = "perturb",
    **budget: object,
) -> dict[str, str]:
    """What the stage finds in an attack."""
    generator = np.random.default_rng(0)
    save_array(tmp_path / "x" / "x.npy", generator.random((20, 1, 4, 4), dtype=np.float32))
    save_array(tmp_path / "y" / "y.npy", generator.integers(0, 2, 20))
    (tmp_path / "weights").mkdir()
    torch.manual_seed(0)
    network = Victim().build(None)
    save_file(network.state_dict(), tmp_path / "weights" / "network.safetensors")
    roles = {"attack": ("loss",), "victim": ()}
    places = {"slice_x": "x", "slice_y": "y", "weights": "weights"}
    job = Job(
        stage="probe_attack",
        spec=Spec("classification", 3, (1, 4, 4)),
        device=torch.device("cpu"),
        seed_root=[0],
        deadline=100,
        modules={
            role: JobModule(tmp_path, "x.py:X", role, (), {}, needs)
            for role, needs in roles.items()
        },
        inputs={name: tmp_path / folder for name, folder in places.items()},
        options=Options(1, Budget(norm="linf", eps=STEP, **budget), hook=hook),
        folder=tmp_path,
        checkpoint=tmp_path / "checkpoint",
        loaded={"victim": victim()},
    )
    with patch.object(loader, "construct", lambda *_: make()):
        probe_attack(job)
    found = read_json(tmp_path / "out" / "findings" / names.FINDINGS)
    assert set(found) == set(names.ATTACK)
    return {name: text for name, text in found.items() if text}


@pytest.mark.parametrize(("name", "perturb", "said"), CASES)
@pytest.mark.parametrize("hook", ["perturb", "trigger"])
def test_a_mistake_is_found_under_its_name_only(tmp_path, name, perturb, said, hook):
    if (perturb, hook) == (labels_in_place, "trigger"):
        perturb, said = in_place, "x.clone()"  # a trigger gets no labels
    found = findings(tmp_path, attack(perturb), hook=hook)
    assert list(found) == [name]
    assert said in found[name]
    assert ";" in found[name], "it says what to do"


def test_every_check_has_a_mistake_that_it_finds():
    assert set(MISTAKES) == set(names.ATTACK) == set(CHECKS)


@pytest.mark.parametrize("hook", ["perturb", "trigger"])
@pytest.mark.parametrize("victim", [Victim, NormalisesInPlace])
def test_the_honest_twin_passes_whatever_the_victim_does(tmp_path, hook, victim):
    assert not findings(tmp_path, Honest, hook=hook, victim=victim)


def test_a_query_attack_asks_and_is_refused_in_the_stage(tmp_path):
    """As an oracle does; each batch starts with all its queries."""
    seen = []

    def perturb(self, model, x, y, goal, budget, ctx):
        assert not hasattr(model, "loss")
        left = model.left().tolist()
        model.predict(x)
        model.predict(x[:1], rows=torch.tensor([0]))
        with pytest.raises(QueryRefused):
            model.predict(x)
        seen.append((left, model.left().tolist()))
        return x.clone()

    assert not findings(tmp_path, attack(perturb), queries=2)
    assert ([2] * 8, [0] + [1] * 7) in seen
    assert ([2], [0]) in seen
