"""A recipe's projection: the network is in its set after every step, also across a kill."""

import pytest
import torch

from harness.runtime import checkpoint
from harness.runtime.recipe import Average, Recipe
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit
from tests.unit.runtime.test_training import SPEC, Killed, context, data, network

STEPS = 6


class Clamp:
    """Projection of the first layer onto a box; it notes the steps and what they left."""

    def __init__(self):
        self.steps, self.largest = [], []

    @torch.no_grad()
    def __call__(self, net, step):
        self.steps.append(step)
        self.largest.append(float(net[0].weight.abs().max()))
        net[0].weight.clamp_(-0.1, 0.1)


def run(folder, project, stop=None, **fields):
    net, seen = network(), []

    def loss(net, x, y):
        if len(seen) == stop:
            raise Killed
        seen.append(float(net[0].weight.detach().abs().max()))
        return loss_for(SPEC)(net, x, y)

    recipe = Recipe(STEPS, 8, 0.5, weight_decay=0.1, project=project, **fields)
    fit(net, data(), loss, context(folder), recipe)
    return net.state_dict(), seen


def test_it_runs_before_the_first_step_and_after_each(tmp_path):
    project = Clamp()
    state, seen = run(tmp_path, project)
    assert project.steps == list(range(STEPS + 1))
    assert max(project.largest[1:]) > 0.1
    assert seen == pytest.approx([0.1] * STEPS)
    assert float(state["0.weight"].abs().max()) == pytest.approx(0.1)


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_is_told_the_step_that_it_begins_with(stop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    calm, _ = run(tmp_path / "calm", Clamp())
    with pytest.raises(Killed):
        run(tmp_path / "killed", Clamp(), stop)
    project = Clamp()
    resumed, _ = run(tmp_path / "killed", project)
    assert project.steps == list(range(stop, STEPS + 1))
    assert project.largest[0] == pytest.approx(0.1)
    assert all(torch.equal(calm[name], tensor) for name, tensor in resumed.items())


def test_snapshots_of_an_average_are_projected(tmp_path):
    """The box is convex, so the mean lies in it."""
    state, _ = run(tmp_path, Clamp(), average=Average(0, 1))
    assert float(state["0.weight"].abs().max()) <= 0.1 + 1e-6


def test_another_training_does_not_resume_from_that_of_a_projection(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    run(tmp_path, Clamp())
    assert len(run(tmp_path, None)[1]) == STEPS
