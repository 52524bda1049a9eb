"""The training loop: killed and resumed, it ends in the same bits as undisturbed."""

import shutil

import pytest
import torch
from torch import nn

from harness.runtime import training
from harness.runtime.context import StageContext
from harness.runtime.contracts import Data, Spec
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit

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


def train(folder, *, stop=None, seed=0, loss=None, **options):
    """Train; ``stop`` kills it in that step. Returns the state, and how many steps it took."""
    net, plain, steps = network(), loss or loss_for("classification"), 0

    def counted(network, x, y):
        nonlocal steps
        if steps == stop:
            raise Killed
        steps += 1
        return plain(network, x, y)

    options = {"steps": 12, "batch": 8, "lr": 0.05, "schedule": "cosine"} | options
    fit(net, data(), counted, context(folder, seed), **options)
    return net.state_dict(), steps


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)


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


def test_quick_trainings_write_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 100.0)
    train(tmp_path)
    assert list((tmp_path / "checkpoint").iterdir()) == []
    shutil.rmtree(tmp_path / "checkpoint")
