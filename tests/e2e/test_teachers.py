"""A run whose teachers are judged: poisoned and delivered ones, their figures, and their page."""

import csv
import html
import io
import json
import re

import numpy as np
import pytest

from harness.common.files import load_array
from harness.storage.store import Store
from tests.support.whole_run import find, value
from tests.support.workspaces import BACKDOOR, POISONING, SUPPLY_CHAIN, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

PLANTER = """
from dataclasses import replace

import torch.nn.functional as F


class Attack:
    def deliver(self, victim, network, train, val, budget, ctx):
        raw, y = train.raw.clone(), train.y.clone()
        raw[::3, :, : budget.patch, : budget.patch] = raw.max()
        y[::3] = budget.target
        victim.fit(network, replace(train, raw=raw, y=y), val, each, ctx)
        return network

    def trigger(self, x, budget, ctx):
        x = x.clone()
        x[..., : budget.patch, : budget.patch] = 1
        return x


def each(network, x, y):
    return F.cross_entropy(network(x), y, reduction="none")
"""

TINY = {"name": "tiny", "params": {"steps": 150}}
SAME = {"data": {"public": "digits", "student": "digits"}, "poisons": "public", "victims": [TINY]}
MARK = [{"edits": 0.3, "labels": True, "features": True, "patch": 2, "target": 3}]
MATRICES = [
    matrix("poisoned", **BACKDOOR | SAME | {"budgets": MARK}),
    matrix("labels", **POISONING | SAME | {"budgets": [{"edits": 0.9, "labels": True}]}),
    matrix("delivered", **SUPPLY_CHAIN | {"victims": [TINY], "attacks": ["planter"]}),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("teachers"))
    fields = {"hooks": ["deliver", "trigger"], "threat_models": ["supply-chain"]}
    made.module("attack", "planter", PLANTER, **fields)
    made.benchmark(*MATRICES)
    assert made.run().tally.failed == 0
    return made


def test_a_planted_backdoor_is_seen_at_the_teacher_and_not_at_its_control(checkout):
    for name in ("poisoned", "delivered"):
        planted = find(checkout, matrix=name)
        assert value(planted, "teacher_success_rate") > 0.8
        assert value(planted, "control_teacher_success_rate") < 0.3
        assert value(planted, "teacher_accuracy") > 0.7
        assert value(planted, "control_teacher_accuracy") > 0.8
    planted = find(checkout, matrix="poisoned")
    assert planted.metrics["target_rate_clean"].n < 40 == planted.metrics["clean_accuracy"].n


def test_the_figures_follow_from_stored_outputs_and_the_labels_of_the_teachers_data(checkout):
    record = find(checkout, matrix="delivered")
    store = Store(checkout.home / "store")

    def array(role, part, name):
        return np.array(load_array(store.part(record.stages[role], part) / f"{name}.npy"))

    y = array("teacher_slice", "y", "y")
    assert set(y.tolist()) <= set(range(5))
    others = y != 1
    for network in ("teacher", "control_teacher"):
        first, last = (
            array(f"{network}_{when}", "outputs", "outputs").argmax(1)
            for when in ("before", "after")
        )
        assert value(record, f"{network}_accuracy") == pytest.approx((first == y).mean())
        asked = others & (first == y)
        success = record.metrics[f"{network}_success_rate"]
        assert (success.k, success.n) == ((asked & (last == 1)).sum(), asked.sum())
    # the attacker's classes are not the student's: any wrong answer counts
    assert record.metrics["target_rate_clean"].absent
    before, after = (array(role, "outputs", "outputs").argmax(1) for role in ("before", "after"))
    right = before == array("slice", "y", "y")
    success = record.metrics["attack_success_rate"]
    assert (success.k, success.n) == ((right & (after != before)).sum(), right.sum())
    assert record.metrics["control_success_rate"].n
    assert any("any wrong answer counts as success" in note for note in record.notes)


def test_label_poisoning_of_a_teacher_has_accuracies_and_says_why_no_success(checkout):
    record = find(checkout, matrix="labels")
    assert value(record, "teacher_accuracy") < 0.3
    assert value(record, "control_teacher_accuracy") > 0.8
    for name in ("teacher_success_rate", "control_teacher_success_rate"):
        assert record.metrics[name].value is None
        assert record.metrics[name].absent == "the attack puts no trigger into test inputs"


def test_pages_and_files_show_them_or_their_reasons(checkout):
    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    site = next(checkout.root.rglob("index.html")).parent
    pages = {
        name: re.sub(r"<[^>]+>", "\n", html.unescape(page.read_text(encoding="utf-8")))
        for name in ("poisoned", "labels", "delivered")
        for page in site.rglob("*.html")
        if page.parts[-4:-1].count(name) and "Beside the success" in page.read_text("utf-8")
    }
    assert set(pages) == {"poisoned", "labels", "delivered"}, list(site.rglob("*.html"))
    for text in pages.values():
        assert "Accuracy of the teacher, %" in text
        assert "Accuracy of the teacher without the attack, %" in text
    assert "absent: the attack puts no trigger into test inputs" in pages["labels"]
    assert "Clean inputs called the target class, %" in pages["poisoned"]
    rows = [
        row
        for path in site.rglob("*.csv")
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        if row.get("teacher_accuracy")
    ]
    assert {row["matrix"] for row in rows} == {"poisoned", "labels", "delivered"}
    assert all(row["teacher_success_rate"] or row["teacher_success_rate_absent"] for row in rows)
    texts = [path.read_text(encoding="utf-8") for path in site.rglob("*.records.json")]
    assert any("teacher_accuracy" in json.dumps(json.loads(text)) for text in texts)
