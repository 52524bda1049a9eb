"""The attack that a defence trains against, as its steps call it."""

from types import SimpleNamespace

import torch
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.worker.adversary import JobAdversary
from harness.runtime.worker.job_values import JobModule
from tests.support.modules import context

SPEC = Spec("classification", 2, (1, 2, 2))


class Draws:
    def perturb(self, model, x, y, goal, budget, ctx):
        return torch.rand(x.shape, generator=ctx.generator("start"))


def test_every_step_draws_its_own_numbers_and_a_resumed_one_the_same(tmp_path):
    budget = Budget(norm="linf", eps=0.1)
    entry = JobModule(tmp_path, "attack.py:Draws", "attack", ("perturb",), {}, budget=budget)
    job = SimpleNamespace(
        module=lambda role: Draws(),
        modules={"adversary": entry},
        live=lambda *rest: None,
        ctx=context(tmp_path, SPEC),
    )
    network, x = nn.Linear(1, 1), torch.zeros(2, 1, 2, 2)
    found = []
    for step in (1, 2, 1):
        torch.manual_seed(step)  # as the training loop does
        torch.rand(step)  # whatever the loss has drawn before
        found.append(JobAdversary(job)(network, x, torch.zeros(2)))
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
