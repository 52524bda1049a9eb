"""Rounds of the learned flips beside their own training epochs and scoring passes."""

import importlib
from dataclasses import replace

import pytest
import torch

from harness.runtime import ranking
from harness.runtime.contracts import Data, Spec
from harness.runtime.model import LiveModel
from harness.runtime.recipe import Recipe, steps_per_epoch
from harness.runtime.training import fit
from tests.support.modules import context, module

ROWS, ITEMS, OUTER, INNER, BATCH = 37_918, 100, 4, 3, 512
SPEC = Spec("ranking", 5, (), items=ITEMS, arity=3)
SHARE = 0.15


@pytest.fixture(scope="module")
def subject():
    """Triplets of a hundred items known by number, and a victim as an attack holds it."""
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    items = torch.rand(ROWS, ITEMS, generator=random).topk(3, dim=1).indices
    columns = [items, torch.ones(ROWS, 1, dtype=torch.long), torch.zeros(ROWS, 1, dtype=torch.long)]
    y, ids = torch.cat(columns, dim=1), torch.arange(ROWS)
    data = Data(torch.arange(ITEMS), y, ids, SPEC, torch.device("cpu"))
    victim = module("victim", "ranker", "free")

    def build(seed=1):
        torch.manual_seed(seed)
        return victim.build(SPEC)

    network = build(2)  # another than the attacker's, or all gains are equal at first
    model = LiveModel(network, network, victim, SPEC, build, victim.loss, ["loss", "gradients"])
    return model, data, victim


def epochs(model, data, loss, folder):
    """The same training by a given loss, and after each round every item and row scored once."""
    network = model.fresh()
    rule = torch.optim.Adam(network.parameters(), 0.01)
    steps = INNER * steps_per_epoch(ROWS, BATCH)
    for done in range(OUTER):
        recipe = Recipe(steps, BATCH, 0.01, log_every=steps)
        fit(network, data, loss, context(folder, SPEC), recipe, optimizer=rule,
            name=f"round {done}")  # fmt: skip
        ranking.item_outputs(network, data, 4096)


def learned(method, model, data, folder):
    """The attack's objective, and its rounds as a function."""
    attack = module("attack", "learned-flip", f"{method}-free", outer=OUTER, inner=INNER)
    file = importlib.import_module(f"{type(attack).__module__}.objective")
    problem, count = file.FlipObjective(model, data, 4096), round(SHARE * ROWS)
    return problem, lambda: attack.solve(problem, model.fresh(), count, context(folder, SPEC))


def runs(subject, folder):
    """What is timed, by name: plain training, both methods, and their training alone."""
    model, data, victim = subject
    masked, mask = learned("mask", model, data, folder)
    above, threshold = learned("threshold", model, data, folder)
    few = masked.masked(torch.arange(ROWS) < SHARE * ROWS)
    return {
        "training on plain labels": lambda: epochs(model, data, victim.loss, folder),
        "mask's own training": lambda: epochs(model, masked.data, few, folder),
        "mask": mask,
        "threshold's own training": lambda: epochs(model, above.data, above.thresholded(3), folder),
        "threshold": threshold,
    }


@pytest.mark.parametrize(
    "what",
    ["training on plain labels", "mask's own training", "mask", "threshold's own training",
     "threshold"],
)  # fmt: skip
def test_rounds(benchmark, subject, tmp_path, what):
    benchmark.group = f"{OUTER} rounds, {ROWS} triplets, batch {BATCH}, one thread"
    rows = benchmark.pedantic(runs(subject, tmp_path)[what], rounds=5, warmup_rounds=1)
    assert rows is None or len(rows.unique()) == round(SHARE * ROWS)


def test_the_two_train_alike(subject, tmp_path):
    """What is timed is the same work: below every gain, a threshold changes no step."""
    model, data, victim = subject
    few = replace(data, y=data.y[:2000], ids=data.ids[:2000])
    problem, _ = learned("threshold", model, few, tmp_path)
    ends = []
    for loss, part in ((victim.loss, few), (problem.thresholded(1e9), problem.data)):
        network = model.fresh()
        recipe = Recipe(8, BATCH, 0.01, optimizer="adam")
        fit(network, part, loss, context(tmp_path, SPEC), recipe)
        ends.append(network.head.places.weight.detach())
    assert torch.allclose(*ends, atol=1e-5)
