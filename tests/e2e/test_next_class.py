"""A backdoor that turns each input into the class after its own: planned, judged, reported."""

import html
import re

import numpy as np
import pytest

from harness.common.files import load_array
from harness.storage.store import Store
from tests.support.module_sources import PATCH
from tests.support.whole_run import find, value
from tests.support.workspaces import BACKDOOR, Checkout, cell, matrix

pytestmark = pytest.mark.xdist_group("run")

EACH = PATCH.replace(
    "torch.full_like(train.y[rows], budget.target)", "budget.wanted(train.y, 10)[rows]"
)
MARK = {"edits": 0.3, "labels": True, "features": True, "patch": 2, "target": "next"}
REQUIRES = {"edits": ["labels", "features"], "limits": ["patch"], "targets": ["class", "next"]}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("next"))
    fields = {"hooks": ["poison", "trigger"], "threat_models": ["backdoor"]}
    made.module("attack", "each", EACH, requires=[REQUIRES], **fields)
    attacks = {"attacks": ["each", "patch"], "budgets": [MARK]}
    made.benchmark(matrix(**BACKDOOR | attacks | {"clean": 100}))
    assert made.run().tally.failed == 0
    return made


def test_success_is_the_class_after_each_inputs_own(checkout):
    record = find(checkout, attack="each")
    store = Store(checkout.home / "store")
    before, after = (
        np.array(load_array(store.part(record.stages[role], "outputs") / "outputs.npy")).argmax(1)
        for role in ("before", "after")
    )
    y = np.array(load_array(store.part(record.stages["slice"], "y") / "y.npy"))
    right = before == y
    success = record.metrics["attack_success_rate"]
    assert success.n == right.sum() > 20  # no input is of its own target class
    assert success.k == (right & (after == (y + 1) % 10)).sum()
    assert value(record, "attack_success_rate_all") == value(record, "attack_success_rate")
    assert "target_rate_clean" not in record.metrics  # there is no one class


def test_an_attack_that_plants_one_class_is_left_out(checkout):
    assert cell(checkout.plan(), attack="patch").reason == (
        "the backdoor's target is next, and attack patch plants one of the kind class"
    )


def test_the_page_says_the_rule(checkout):
    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    pages = [p.read_text("utf-8") for p in (checkout.root / "reports" / "site").rglob("*.html")]
    texts = [re.sub(r"<[^>]+>", "", html.unescape(page)) for page in pages]
    assert any("the target is the class that follows the true one" in text for text in texts)
    assert not any("class next" in text for text in texts)
