"""``gauntlet check`` of victims that take one form of inputs, and of existing weights."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from harness.config.catalog import Module
from harness.conformance.checks import run_checks
from tests.unit.conformance.test_whole_checks import executor, failures, victim, workspace, write

__all__ = ["executor", "workspace"]

pytestmark = pytest.mark.slow

FIXED = """
    from torch import nn
    from harness.runtime.recipe import Recipe

    class Victim:
        head, stages = "4", ("0",)

        def build(self, spec):
            return nn.Sequential(
                nn.Conv2d({channels}, 8, {side} // 8, {side} // 8), nn.ReLU(), nn.Flatten(),
                nn.Identity(), nn.Linear(512, {classes}))

        def recipe(self, train):
            return Recipe(steps=60, batch=32, lr=0.005)
"""
TAKES = {"channels": [1], "side": [24], "classes": [10]}


def fixed(root: Path, requires, weights=None, **built) -> Module:
    """A network that takes one size, whatever the data are; its manifest says ``requires``."""
    form = {"channels": 1, "side": 24, "classes": 10} | built
    return write(root, "victim", FIXED.format(**form), hooks=["build", "recipe"],
                 requires=[requires] if requires else [], weights=weights or {},
                 smoke={"expect": {"clean_accuracy": {"min": 0.05}}})  # fmt: skip


@pytest.mark.parametrize(
    ("built", "requires"),
    [
        ({}, TAKES),
        ({"classes": 2}, TAKES | {"classes": [2]}),
        ({"channels": 3, "side": 96, "classes": 20},
         {"channels": [3], "side": [96], "classes": [20]}),
    ],
)  # fmt: skip
def test_a_victim_of_one_size_passes_with_inputs_that_fit(
    tmp_path, workspace, executor, built, requires
):
    found = list(run_checks(workspace, fixed(tmp_path, requires, **built), executor,
                            workspace.store()))  # fmt: skip
    assert [f"{one.name}: {one.detail}" for one in found if not one.ok] == []
    untried = {one.name for one in found if not one.tried}
    once = {f"runs {t}/classification" for t in ("evasion-query", "evasion-transfer", "poisoning")}
    assert untried == (once if "side" in built else set())
    assert any(one.name == "plays one gradient step evasion/classification" for one in found)


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        (None, "asked with 1x8x8 pictures and 10 classes"),
        (TAKES | {"side": [32]}, "asked with 1x32x32 pictures and 10 classes"),
        (TAKES | {"channels": [3]}, "asked with 3x24x24 pictures and 10 classes"),
        (TAKES | {"classes": [12]}, "the network has 10 outputs, and the data set 12"),
    ],
)
def test_what_a_victim_says_wrongly_of_its_inputs_is_one_line(
    tmp_path, workspace, executor, requires, said
):
    (found,) = failures(fixed(tmp_path, requires), workspace, executor)
    assert said in found.detail
    assert "requires: [{channels: [1], side: [28], classes: [10]}]" in found.detail


def test_the_largest_side_is_tried_once(tmp_path, workspace, executor):
    sides = TAKES | {"side": [8, 40]}
    found = list(run_checks(workspace, victim(tmp_path, requires=[sides]), executor,
                            workspace.store()))  # fmt: skip
    (failed,) = [one for one in found if not one.ok]
    assert failed.name == "runs at 1x40x40 evasion/classification"
    assert failed.detail.startswith("victim odd: ")


def test_a_victim_that_skips_everything_says_why(tmp_path, workspace, executor):
    found = failures(fixed(tmp_path, {"inputs": ["items"]}), workspace, executor)
    assert found[-1].name == "plays"
    assert "nothing was tested; " in found[-1].detail
    assert "the inputs are images, and victim odd needs items" in found[-1].detail


def test_existing_weights_are_imported_if_they_are_here(tmp_path, workspace, executor):
    shapes = {"0.weight": (8, 1, 3, 3), "0.bias": (8,), "4.weight": (10, 512), "4.bias": (10,)}
    files = {
        "fits": shapes,
        "not": shapes | {"4.weight": (7, 512), "4.bias": (7,)},
        "away": shapes,
    }
    folder, entries = workspace.data / "weights" / "odd", {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, sizes in files.items():
        content = save({one: torch.zeros(size) for one, size in sizes.items()})
        entries[name] = {"file": f"{name}.safetensors", "license": "MIT", "source": "here",
                         "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip
        if name != "away":
            (folder / f"{name}.safetensors").write_bytes(content)
    found = list(run_checks(workspace, fixed(tmp_path, TAKES, weights=entries), executor,
                            workspace.store()))  # fmt: skip
    (failed,) = [one for one in found if not one.ok]
    assert failed.name == "imports weights not"
    assert "4.bias has shape [7] and not [10]" in failed.detail
    assert failed.detail.endswith("; built for 1x24x24 pictures and 10 classes")
    (untried,) = [one for one in found if not one.tried]
    assert untried.name == "imports weights away"
    assert "run `gauntlet data fetch odd/away`" in untried.detail
    assert any(one.name == "imports weights fits" and one.ok for one in found)
