"""The training loop: killed and resumed, it ends in the same bits as undisturbed."""

import itertools
import json
import shutil

import pytest
import torch
from torch import nn

from harness.runtime import checkpoint
from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe, Selection
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit
from harness.runtime.worker.context import StageContext

SPEC = Spec("classification", 3, (1, 4, 4))
CPU = torch.device("cpu")


class Killed(BaseException):
    """The process ended here."""


def data(count=50):
    torch.manual_seed(5)
    raw = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8)
    return Data(raw, torch.arange(count) % 3, torch.arange(count), SPEC, CPU)


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


def context(folder, seed=0):
    for name in ("checkpoint", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return StageContext(
        device=CPU, spec=SPEC, seed_root=[seed, "train"], deadline=1e12, scratch=folder / "scratch",
        state=folder, checkpoint=folder / "checkpoint", curves=folder / "curves.jsonl",
    )  # fmt: skip


def curve(folder):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def run(net, loss, folder, *, seed=0, score=None, score_every=1, score_name="score", **options):
    """Fit a network on the data set by a recipe; options of ``fit`` are told from its fields."""
    keys = {"val", "validate", "optimizer", "name"}
    if isinstance(options.get("optimizer"), str):
        keys.remove("optimizer")
    own = {key: options.pop(key) for key in keys & set(options)}
    if score is not None:
        own.setdefault("val", data(9))
        options["selection"] = Selection(score_name, score_every, lambda net, val: score(net))
    fit(net, data(), loss, context(folder, seed), Recipe(**options), **own)


def train(folder, *, stop=None, seed=0, loss=None, **options):
    """Train; ``stop`` kills it in that step. Returns the state, and how many steps it took."""
    net, plain, steps = network(), loss or loss_for(SPEC), 0

    def counted(network, x, y):
        nonlocal steps
        if steps == stop:
            raise Killed
        steps += network.training  # validation calls it, too
        return plain(network, x, y)

    options = {"steps": 12, "batch": 8, "lr": 0.05, "schedule": "cosine"} | options
    run(net, counted, folder, seed=seed, **options)
    return net.state_dict(), steps


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stops", [[1], [6], [7], [11], [3, 2, 4]])
def test_a_killed_training_resumes_to_the_same_bits(tmp_path, optimizer, stops):
    """Steps 6 and 7 lie around the end of an epoch; momentum and batch statistics are kept too."""
    calm, _ = train(tmp_path / "calm", optimizer=optimizer)
    for stop in stops:
        with pytest.raises(Killed):
            train(tmp_path / "killed", optimizer=optimizer, stop=stop)
    resumed, steps = train(tmp_path / "killed", optimizer=optimizer)
    assert steps == 12 - sum(stops)
    assert equal(resumed, calm)


@pytest.mark.parametrize("left", [0, 3, 100, 1000, -1000, -100, -1])
def test_a_torn_checkpoint_starts_over(tmp_path, left):
    with pytest.raises(Killed):
        train(tmp_path, stop=6)
    (kept,) = (tmp_path / "checkpoint").glob("*.pt")
    kept.write_bytes(kept.read_bytes()[:left])
    resumed, steps = train(tmp_path)
    assert steps == 12
    assert equal(resumed, train(tmp_path / "calm")[0])


@pytest.mark.parametrize("change", [{"name": "other"}, {"steps": 13}, {"lr": 0.1}, {"batch": 9}])
def test_another_fit_of_the_stage_does_not_resume_from_this_one(tmp_path, change):
    with pytest.raises(Killed):
        train(tmp_path, stop=6)
    _, steps = train(tmp_path, **change)
    assert steps == change.get("steps", 12)


def test_the_seed_of_the_cell_decides(tmp_path):
    assert equal(train(tmp_path / "a")[0], train(tmp_path / "b")[0])
    assert not equal(train(tmp_path / "a")[0], train(tmp_path / "c", seed=1)[0])


def test_torch_s_global_generator_outside_does_not_matter(tmp_path):
    one, _ = train(tmp_path / "a")
    torch.rand(7)
    other, _ = train(tmp_path / "b")
    assert equal(one, other)


def test_a_loss_that_is_not_finite_is_told(tmp_path):
    with pytest.raises(ArithmeticError, match="the training loss is nan at step 12"):
        train(tmp_path, loss=lambda net, x, y: net(x).sum(1) * float("nan"))


# Learning rates


def rates(folder, steps, **options):
    """The learning rate of each step: what a weight with gradient 1 moves by."""
    net, seen = nn.Linear(1, 1, bias=False), []

    def loss(network, x, y):
        seen.append(network.weight.item())
        return network.weight.sum().expand(len(x))

    torch.nn.init.zeros_(net.weight)
    options = {"steps": steps, "batch": 8, "lr": 1.0, "momentum": 0.0} | options
    run(net, loss, folder, **options)
    seen.append(net.weight.item())
    return [before - after for before, after in itertools.pairwise(seen)]


def test_linear_ends_at_nothing(tmp_path):
    assert rates(tmp_path, 5, schedule="linear") == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("steps", "milestones", "expected"),
    [
        (6, (2, 4), [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (4, (3, 6), [1, 1, 1, 0.1]),  # a shorter training has its drop at the same step
        (3, (9,), [1, 1, 1]),
        (3, (), [1, 1, 1]),
    ],
)
def test_the_rate_falls_at_milestones(tmp_path, steps, milestones, expected):
    found = rates(tmp_path, steps, milestones=milestones)
    assert found == pytest.approx(expected, rel=1e-4)


def test_milestones_multiply_the_schedule(tmp_path):
    found = rates(tmp_path, 4, schedule="linear", milestones=(2,))
    assert found == pytest.approx([1, 0.75, 0.05, 0.025], rel=1e-4)


# The best state


class Scores:
    """Scores networks in a fixed order, and remembers the states and how they came."""

    def __init__(self, *values, stop=None):
        self.values, self.stop, self.states = list(values), stop, []

    def __call__(self, network):
        assert not any(module.training for module in network.modules())
        assert not any(p.requires_grad for p in network.parameters())
        assert not torch.is_grad_enabled()
        if len(self.states) == self.stop:
            raise Killed
        self.states.append({name: value.clone() for name, value in network.state_dict().items()})
        return self.values[len(self.states) - 1]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.1, 0.3, 0.2, 0.2], 1),
        ([0.1, 0.2, 0.3, 0.4], 3),
        ([0.3, 0.1, 0.3, 0.2], 0),
        ([-5, -5, -5, -5], 0),
        ([float("nan"), 0.1, float("nan"), 0.1], 1),
    ],
)
def test_the_best_state_is_restored_and_equals_keep_the_earlier(tmp_path, values, best):
    """Steps 4, 8, 12 and 14: the last one is scored wherever it lies."""
    score = Scores(*values)
    net = network()
    run(net, loss_for(SPEC), tmp_path, steps=14, batch=8, lr=0.05, score=score, score_every=4)
    assert len(score.states) == 4
    assert equal(net.state_dict(), score.states[best])
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad for p in net.parameters())


def test_without_a_finite_score_the_last_state_stays(tmp_path):
    plain, _ = train(tmp_path / "plain")
    scored, _ = train(tmp_path / "scored", score=Scores(*[float("nan")] * 3), score_every=4)
    assert equal(scored, plain)


def test_scoring_does_not_touch_the_training(tmp_path):
    calls = itertools.count()

    def careless(network):
        torch.manual_seed(0)
        return next(calls)  # the last state is the best

    plain, _ = train(tmp_path / "plain")
    scored, _ = train(tmp_path / "scored", score=careless, score_every=1)
    assert equal(scored, plain)


def odd(network):
    """A score that goes up and down with the weights, and depends on nothing else."""
    total = sum(float(p.double().sum()) for p in network.state_dict().values())
    return (total * 1000) % 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stops", [[1], [4], [5], [8], [11], [3, 2, 4], [6, 5]])
def test_a_killed_training_resumes_to_the_same_best_state(tmp_path, optimizer, stops):
    options = {"optimizer": optimizer, "score": odd, "score_every": 3}
    calm, _ = train(tmp_path / "calm", **options)
    for stop in stops:
        with pytest.raises(Killed):
            train(tmp_path / "killed", stop=stop, **options)
    resumed, steps = train(tmp_path / "killed", **options)
    assert steps == 12 - sum(stops)
    assert equal(resumed, calm)


@pytest.mark.parametrize("values", [[3, 2, 1, 0], [1, 3, 2, 0], [0, 1, 1, 2], [2, 2, 2, 2]])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_killed_while_scoring(tmp_path, values, stop):
    """The best state survives in the checkpoint, whatever comes after it."""
    calm, _ = train(tmp_path / "calm", score=Scores(*values), score_every=3)
    with pytest.raises(Killed):
        train(tmp_path / "killed", score=Scores(*values, stop=stop), score_every=3)
    resumed, _ = train(tmp_path / "killed", score=Scores(*values[stop:]), score_every=3)
    assert equal(resumed, calm)


def test_a_finished_training_is_not_done_again(tmp_path):
    """Killed between the last checkpoint and the end of the stage."""
    score = Scores(1, 3, 2)
    first, _ = train(tmp_path, score=score, score_every=4)
    again, steps = train(tmp_path, score=Scores(), score_every=4)
    assert steps == 0
    assert equal(again, first)
    assert equal(again, score.states[1])


@pytest.mark.parametrize("change", [{"milestones": (5,)}, {"score_every": 5}, {"score": None}])
def test_another_choice_does_not_resume_from_this_one(tmp_path, change):
    options = {"score": odd, "score_every": 3}
    with pytest.raises(Killed):
        train(tmp_path, stop=6, **options)
    _, steps = train(tmp_path, **options | change)
    assert steps == 12


def test_scores_are_told(tmp_path, capsys):
    train(tmp_path, score=Scores(0.25, 0.5, 0.125), score_every=4, score_name="val_miou")
    points = curve(tmp_path)
    found = [(p["step"], p["value"]) for p in points if p["name"] == "val_miou"]
    assert found == [(4, 0.25), (8, 0.5), (12, 0.125)]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "fit: step 12 of 12, val_miou 0.1250, best 0.5000 at step 8"


def test_a_score_needs_its_steps(tmp_path):
    with pytest.raises(ValueError, match="selection every 0: expected at least 1 step"):
        train(tmp_path, score=odd, score_every=0)


def test_quick_trainings_write_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 100.0)
    train(tmp_path)
    assert list((tmp_path / "checkpoint").iterdir()) == []
    shutil.rmtree(tmp_path / "checkpoint")


# -- an optimiser that goes on ------------------------------------------------------------------


def twice(folder, *, stop=None):
    """Two fits with one optimiser; ``stop`` kills that step of both together."""
    net, plain, steps = network(), loss_for(SPEC), 0
    rule = torch.optim.Adam(net.parameters(), 0.05)

    def counted(network, x, y):
        nonlocal steps
        if steps == stop:
            raise Killed
        steps += 1
        return plain(network, x, y)

    for name in ("first", "second"):
        run(net, counted, folder, steps=8, batch=8, lr=0.05, optimizer=rule, name=name)
    return net.state_dict(), steps


def test_an_optimiser_s_state_lasts_from_fit_to_fit(tmp_path):
    calm, _ = twice(tmp_path / "calm")
    net = network()
    for name in ("first", "second"):
        run(net, loss_for(SPEC), tmp_path / "new", steps=8, batch=8, lr=0.05, optimizer="adam",
            name=name)  # fmt: skip
    assert not equal(calm, net.state_dict())


@pytest.mark.parametrize("stop", [5, 8, 12])
def test_a_kill_in_either_fit_resumes_to_the_same_bits(tmp_path, stop):
    calm, _ = twice(tmp_path / "calm")
    with pytest.raises(Killed):
        twice(tmp_path / "killed", stop=stop)
    resumed, steps = twice(tmp_path / "killed")
    assert steps == 16 - stop
    assert equal(resumed, calm)


def test_a_fit_does_not_resume_with_another_optimiser_s_state(tmp_path):
    marks = set()
    for steps in (0, 1, 2):
        net = network()
        rule = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(steps):
            net(torch.rand(4, 1, 4, 4)).sum().backward()
            rule.step()
        marks.add(checkpoint.optimizer_digest(rule))
    marks.add(checkpoint.optimizer_digest(torch.optim.SGD(network().parameters(), 0.05)))
    assert len(marks) == 4


def test_a_cheaper_validation_takes_the_place_of_batches(tmp_path):
    train(tmp_path, validate=lambda net: 4.5 + net.training, val=data(9))
    values = [point["value"] for point in curve(tmp_path) if point["name"] == "val_loss"]
    assert values == [4.5]
