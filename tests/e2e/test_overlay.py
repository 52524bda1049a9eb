"""A backdoor whose trigger is put on after crop and flip, beside one in the stored pictures."""

import numpy as np
import pytest

from harness.common.files import load_array
from harness.storage.store import Store
from tests.support.workspaces import BACKDOOR, Checkout, matrix

VICTIM = """
from torch import nn

from harness.runtime.recipe import Recipe


class Victim:
    head, stages = "3", ("1",)

    def build(self, spec):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, spec.outputs)
        )

    def recipe(self, train):
        return Recipe(300, 100, 0.01, optimizer="adam", crop="resized", flip=True)
"""

ATTACK = """
import torch

from harness.runtime.contracts import Edits, Overlay


class Attack:
    def __init__(self, *, overlay, side):
        self.overlay, self.side = overlay, side

    def poison(self, train, val, model, budget, ctx):
        order = torch.randperm(len(train), generator=ctx.generator())
        rows = order[: budget.edits]
        ids, y = train.ids[rows], torch.full_like(train.y[rows], budget.target)
        if not self.overlay:
            return Edits(ids, x=self.trigger(train.take(rows)[0], budget, ctx), y=y)
        patch = torch.ones(1, self.side, self.side)
        places = torch.full((len(ids), 2), 8 - self.side)
        return Edits(ids, y=y, overlay=Overlay(ids, patch, patch, places))

    def trigger(self, x, budget, ctx):
        x = x.clone()
        x[..., -self.side :, -self.side :] = 1
        return x
"""

SANITIZER = """
from harness.runtime.contracts import Keep


class Defense:
    def sanitize(self, victim, network, train, ctx):
        if train.overlay is not None:
            raise ValueError("the list of the triggers lies open")
        return Keep(mask=~(train.x[..., -1:, -1:] == 1).flatten(1).all(dim=1))
"""
"""Finds the trigger in the pictures that it is shown."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    found = Checkout(tmp_path_factory.mktemp("overlay"))
    found.module("victim", "moving", VICTIM, hooks=["build", "recipe"], offers=["loss"], params={})
    params = {"overlay": {"type": "bool", "default": True, "help": "overlay or stored pictures"}}
    params |= {"side": {"type": "int", "default": 1, "help": "side of the trigger"}}
    found.module(
        "attack", "marked", ATTACK, hooks=["poison", "trigger"], threat_models=["backdoor"],
        params=params, variants={"stored": {"overlay": False}, "large": {"side": 3}},
    )  # fmt: skip
    found.module("defense", "seeing", SANITIZER, hooks=["sanitize"], threat_models=["backdoor"])
    shared = {
        "victims": ["moving"],
        "defenses": ["none", "seeing"],
        "attacks": ["marked", "marked/stored", "marked/large"],
        "eval_subset": {"examples": 300, "batch": 100},
    }
    found.plan(matrix(**BACKDOOR | shared))
    found.run(keep_all=True)
    return found


def record(checkout, attack, defense):
    wanted = attack, defense
    found = [r for r in checkout.records().values() if (r.cell.attack, r.cell.defense) == wanted]
    assert len(found) == 1
    return found[0]


def test_it_works_where_augmentation_spoils_a_stored_trigger(checkout):
    overlay, stored = (record(checkout, attack, "none") for attack in ("marked", "marked/stored"))
    assert (overlay.status, stored.status) == ("ok", "ok"), (overlay.reason, stored.reason)
    success = [one.metrics["attack_success_rate"].value for one in (overlay, stored)]
    print(success)
    assert success[0] > 0.9
    assert success[1] < success[0] - 0.1


def test_the_trigger_is_stored_as_a_few_numbers(checkout):
    stages, store = record(checkout, "marked", "none").stages, Store(checkout.home / "store")
    (data,) = (
        key.parent
        for key in checkout.home.glob("store/*/*/spec.json")
        if (key.parent / "train").is_dir()
    )
    before, after = data / "train", store.part(stages["apply"], "train")
    assert np.array_equal(load_array(before / "x.npy"), load_array(after / "x.npy"))
    assert (before / "x.npy").stat().st_ino == (after / "x.npy").stat().st_ino
    assert len(load_array(after / "overlay" / "ids.npy")) == round(
        0.1 * len(load_array(before / "y.npy"))
    )


def test_a_sanitizer_sees_the_trigger_and_no_list(checkout):
    found = record(checkout, "marked", "seeing")
    assert found.status == "ok", found.reason
    assert found.metrics["attack_success_rate"].value < 0.3


def test_a_trigger_over_budget_ends_the_cell(checkout):
    found = record(checkout, "marked/large", "none")
    assert (found.status, found.by) == ("budget_violation", "attack")
    assert found.reason.startswith("overlay: height of the changed box is 3, the limit is 2")
