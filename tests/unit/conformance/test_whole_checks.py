"""``gauntlet check`` of whole modules: one honest mistake each, and honest twins."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from harness.common.keys import ROOT
from harness.config.catalog import FOLDERS, Catalog, Module
from harness.config.manifest_file import load_manifest
from harness.conformance.checks import run_checks
from harness.conformance.runner import CheckResult
from harness.executors.local import LocalExecutor
from harness.runtime.worker import probe_names as names
from harness.workspace import Workspace

pytestmark = pytest.mark.slow

NET = """
    import torch
    from torch import nn
    from harness.runtime.recipe import Recipe
    from harness.runtime.training import fit

    class Net(nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(spec.shape[0], 8, 3, padding=1), nn.BatchNorm2d(8{stats}), nn.ReLU(),
                nn.AvgPool2d(2), nn.Flatten())
            self.head = nn.Linear(128, spec.outputs)
            self.shift = 0.0

        def forward(self, x):
            {before}
            out = self.head(self.body(x)) + self.shift
            {after}
            return out

    class Victim:
        head, stages = "head", ("body",)

        def build(self, spec):
            return Net(spec)

        def recipe(self, train):
            return Recipe(steps=80, batch=64, lr=0.05)

        def fit(self, network, train, val, loss, ctx, recipe=None):
            fit(network, train, loss, ctx, recipe or self.recipe(train))
            {fitted}
"""
GUARD = """
    import torch
    from torch import nn
    from harness.runtime.gradients import straight_through

    class Guard(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            x = {x}
            return {out}

    class Defense:
        def guard(self, network, ctx):
            return Guard(network)
"""
STEP = """
    import torch
    from harness.runtime.gradients import ball, project

    class Attack:
        buffer = torch.zeros(64, 1, 8, 8)

        def perturb(self, model, x, y, goal, budget, ctx):
            norm, eps = ball(budget, x)
            at = x.clone().requires_grad_()
            labels, sign = (y, 1) if goal is None else (goal, -1)
            (gradient,) = torch.autograd.grad(sign * model.loss(at, labels).sum(), at)
            {before}
            out = project(x + eps * gradient.sign(), x, norm, eps)
            return {out}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    shared = tmp_path_factory.getbasetemp()
    home = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    return Workspace(ROOT, home / "conformance")


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor()) as one:
        yield one


def write(root: Path, kind: str, code: str, name: str = "odd", **fields: object) -> Module:
    """A module's folder outside the checkout."""
    folder = root / FOLDERS[kind] / name
    folder.mkdir(parents=True)
    (folder / f"{kind}.py").write_text(dedent(code))
    more: dict[str, dict[str, object]] = {
        "victim": {"hooks": ["build", "recipe", "fit"], "offers": ["loss", "features", "gradients"],
                   "smoke": {"expect": {"clean_accuracy": {"min": 0.5}}}},
        "defense": {"hooks": ["guard"], "threat_models": ["evasion"],
                    "smoke": {"expect": {"robust_accuracy": {"max": 1}}}},
        "attack": {"hooks": ["perturb"], "threat_models": ["evasion"], "needs": ["loss"],
                   "requires": [{"limits": ["linf", "l2"]}],
                   "smoke": {"expect": {"attack_success_rate": {"min": 0.1}}}},
    }  # fmt: skip
    manifest = {"schema": "manifest/1", "kind": kind, "name": name, "summary": "a test's",
                "license": "MIT", "tasks": ["classification"],
                "entry": f"{kind}.py:{kind.capitalize()}"}  # fmt: skip
    (folder / "manifest.yaml").write_text(json.dumps(manifest | more[kind] | fields))
    return Module(folder, load_manifest(folder / "manifest.yaml"))


def victim(root: Path, before="pass", after="pass", stats="", fitted="pass", **fields) -> Module:
    return write(root, "victim", NET.format(**locals()), **fields)


def guard(root: Path, x="x", out="self.network(x)", **fields) -> Module:
    return write(root, "defense", GUARD.format(x=x, out=out), **fields)


def attack(root: Path, before="pass", out="out", **fields) -> Module:
    return write(root, "attack", STEP.format(before=before, out=out), **fields)


def failures(module: Module, workspace: Workspace, executor: LocalExecutor) -> list[CheckResult]:
    found = list(run_checks(workspace, module, executor, workspace.store()))
    assert len(found) >= 2
    return [one for one in found if not one.ok]


HONEST = [
    (victim, {}),
    (guard, {"x": "straight_through(lambda v: (v * 7).round() / 7, x)"}),
    (attack, {}),
]


@pytest.mark.parametrize(("make", "parts"), HONEST, ids=lambda one: getattr(one, "__name__", ""))
def test_an_honest_module_passes_every_check(tmp_path, workspace, executor, make, parts):
    module = make(tmp_path, **parts)
    found = list(run_checks(workspace, module, executor, workspace.store()))
    # the control "none" reaches what the guard's expectation asks, which asks nothing
    assert [
        f"{c.name}: {c.detail}" for c in found if not c.ok and "control fails" not in c.name
    ] == []
    assert all(one.tried for one in found)
    if make is not attack:
        assert sum(one.name.startswith("plays ") for one in found) >= 5


MISTAKES = [
    (names.FLOAT32, victim, {"after": "out = out.half()"}),
    (names.FLOAT32, victim, {"after": "out = out.bfloat16()"}),
    (names.FLOAT32, victim, {"after": "out = out.double()"}),
    (names.UNCHANGED, victim, {"before": "x = x.sub_(0.5)"}),
    (names.BATCH, victim, {"stats": ", track_running_stats=False"}),
    (names.ONE_ROW, victim, {"after": "out = out.squeeze()"}),
    (names.FLOAT32, guard, {"out": "self.network(x).half()"}),
    (names.UNCHANGED, guard, {"x": "x.mul_(0.9)"}),
    (names.OWN_MEMORY, guard,
     {"out": "self.__dict__.setdefault('buffer', torch.zeros(64, 10))[:len(x)]"
             ".copy_(self.network(x)) if not torch.is_grad_enabled() else self.network(x)"}),
    (names.BATCH, guard, {"out": "(lambda y: y - y.mean(0))(self.network(x))"}),
    (names.ONE_ROW, guard, {"out": "self.network(x).squeeze()"}),
    (names.UNCHANGED, attack, {"before": "x.add_(0)\n            x.mul_(0.9)"}),
    (names.OWN_MEMORY, attack, {"out": "self.buffer[:len(x)].copy_(out)"}),
    (names.FLOAT32, attack, {"out": "out.double()"}),
    (names.BATCH, attack, {"before": "gradient = gradient - gradient.mean(0)"}),
    (names.ONE_ROW, attack, {"out": "out.squeeze(0)"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "parts"), MISTAKES)
def test_a_mistake_fails_its_check_alone_with_one_line(
    tmp_path, workspace, executor, name, make, parts
):
    module = make(tmp_path, **parts)
    (found,) = failures(module, workspace, executor)
    assert found.name == f"{name} evasion/classification"
    side = {"defense": "defence"}.get(module.manifest.kind, module.manifest.kind)
    assert found.detail.startswith(f"{side} odd: ")
    assert "; " in found.detail
    assert "\n" not in found.detail


IGNORES = "(gradient,) = torch.autograd.grad(model.loss(at, y).sum(), at)"
FLIPPED = "gradient = gradient if goal is None else -gradient"
DECLINES = "assert goal is None"


@pytest.mark.parametrize("before", [IGNORES.replace("at, y", "at := x.clone().requires_grad_(), y"),
                                    FLIPPED, DECLINES])  # fmt: skip
def test_an_attack_that_does_not_aim_says_so_or_fails(tmp_path, workspace, executor, before):
    (found,) = failures(attack(tmp_path / "a", before), workspace, executor)
    assert found.name == "aims evasion/classification"
    assert "requires: [{goals: [untargeted]}]" in found.detail
    said = [{"limits": ["linf", "l2"], "goals": ["untargeted"]}]
    assert failures(attack(tmp_path / "b", before, requires=said), workspace, executor) == []


def test_weights_that_do_not_hold_all_that_was_trained_fail_the_rebuild(
    tmp_path, workspace, executor
):
    found = failures(victim(tmp_path, fitted="network.shift = torch.arange(10) * 1.0"),
                     workspace, executor)  # fmt: skip
    assert {one.name.partition(" ")[0] for one in found} <= {"rebuild", "answers", "expects"}
    assert any(one.name.startswith("rebuild evasion") for one in found)


def test_training_that_leaves_another_network_is_one_line(tmp_path, workspace, executor):
    made = victim(tmp_path, fitted="network.head = nn.Linear(128, 3)")
    (found,) = failures(made, workspace, executor)
    assert found.name == "runs evasion/classification"
    assert found.detail.startswith("victim odd: ")


def test_an_attack_that_reads_half_of_a_budget_fails_its_edge(tmp_path, workspace, executor):
    """F20: it says that it keeps norm and patch, and keeps the norm alone."""
    told = attack(tmp_path / "a", requires=[{"limits": ["linf", "l2", "patch"]}])
    found = failures(told, workspace, executor)
    assert [one.name for one in found if "patch 3×3" not in one.name] == []
    assert len(found) == 1
    assert failures(attack(tmp_path / "b"), workspace, executor) == []


def test_an_attack_with_one_radius_for_all_channels_fails_its_edge(tmp_path, workspace, executor):
    limits = [{"limits": ["linf", "l2", "per_channel"]}]
    told = attack(tmp_path, "eps = budget.eps or 1.0", requires=limits)
    (found,) = failures(told, workspace, executor)
    assert found.name.endswith("× (0.25) = (8)/255")
    assert "L∞ distance of channel 0" in found.detail


@pytest.mark.parametrize("noise", ["torch.randn_like(y) * 0.01"])
def test_random_answers_are_exempt_from_equality_alone(tmp_path, workspace, executor, noise):
    out = f"(lambda y: y + {noise})(self.network(x))"
    (found,) = failures(guard(tmp_path / "a", out=out), workspace, executor)
    assert found.name == f"{names.REPEAT} evasion/classification"
    found = failures(guard(tmp_path / "b", out=out, random=True), workspace, executor)
    assert [one.name for one in found if "control fails" not in one.name] == []
    out = f"(lambda y: (y + {noise}).half())(self.network(x))"
    (found,) = failures(guard(tmp_path / "c", out=out, random=True), workspace, executor)
    assert found.name == f"{names.FLOAT32} evasion/classification"


@pytest.mark.parametrize(("under_attack", "fails"), [("0.05", False), ("0.5", True)])
def test_draws_are_compared_between_attack_and_judge(
    tmp_path, workspace, executor, under_attack, fails
):
    scale = f"({under_attack} if torch.is_grad_enabled() and x.requires_grad else 0.05)"
    made = guard(tmp_path, x=f"x + {scale} * torch.randn_like(x)", random=True)
    found = [one.name for one in failures(made, workspace, executor)]
    assert ("answers alike evasion/classification" in found) is fails
    assert not [name for name in found if "answers alike" not in name and "control" not in name]


def test_an_attack_that_says_so_may_depend_on_its_batch(tmp_path, workspace, executor):
    made = attack(tmp_path, "gradient = gradient - gradient.mean(0)", batch_dependent=True)
    assert failures(made, workspace, executor) == []


@pytest.mark.parametrize("make", [guard, attack])
def test_a_mistake_of_the_reference_victim_is_not_put_down_to_the_module(
    tmp_path, workspace, executor, make
):
    """A fork whose small-cnn normalises in place."""
    modules = dict(workspace.catalog.modules)
    broken = victim(tmp_path / "fork", before="x = x.sub_(0.5)", name="small-cnn")
    modules["victim", "small-cnn"] = broken
    fork = Workspace(ROOT, workspace.home)
    fork.__dict__["catalog"] = Catalog(ROOT, modules)
    found = failures(make(tmp_path / "mine"), fork, executor)
    assert found, "it is said, not passed over"
    assert not [one for one in found if "odd: " in one.detail]
    (first, *_) = found
    assert "small-cnn" in first.name + first.detail
    assert "not this module" in first.detail


def test_a_fork_without_a_reference_attack_is_told_what_was_not_tried(
    tmp_path, workspace, executor
):
    modules = {key: one for key, one in workspace.catalog.modules.items() if key[1] != "pgd"}
    fork = Workspace(ROOT, workspace.home)
    fork.__dict__["catalog"] = Catalog(ROOT, modules)
    found = list(run_checks(fork, victim(tmp_path), executor, fork.store()))
    assert [one.name for one in found if not one.ok] == []
    (missing,) = [one for one in found if not one.tried]
    assert missing.name == "plays gradients of logits evasion/classification"
    assert missing.detail == "attack pgd is not in this checkout"


def test_an_attack_of_the_checkout_that_is_broken_is_named_itself(tmp_path, workspace, executor):
    """A fork whose pgd raises."""
    code = workspace.catalog.modules["attack", "pgd"].folder
    broken = tmp_path / "attacks" / "pgd"
    broken.mkdir(parents=True)
    (broken / "manifest.yaml").write_text((code / "manifest.yaml").read_text())
    text = (code / "attack.py").read_text()
    body = (
        "\n    def perturb(self, model, x, y, goal, budget, ctx):"
        "\n        raise ValueError('fork')\n"
    )
    (broken / "attack.py").write_text(f"{text}\n\nclass Fork(PGD):{body}\n\nPGD = Fork\n")
    modules = dict(workspace.catalog.modules)
    modules["attack", "pgd"] = Module(broken, load_manifest(broken / "manifest.yaml"))
    fork = Workspace(ROOT, workspace.home)
    fork.__dict__["catalog"] = Catalog(ROOT, modules)
    (found,) = failures(victim(tmp_path), fork, executor)
    assert found.name == "reference attack pgd evasion/classification"
    assert found.detail.startswith("not this module, it fails on small-cnn alone: ")
