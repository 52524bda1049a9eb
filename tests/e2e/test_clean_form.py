"""Controls of a delivered backdoor: without the attack, and with its clean form."""

import csv
import re

import pytest

from harness.report.frame import load
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, cell, matrix

PLANTER = """
from dataclasses import replace

import torch

from harness.runtime.training import loss_of


class Attack:
    def __init__(self, *, poison_share):
        self.poison_share = poison_share

    def deliver(self, victim, network, train, val, budget, ctx):
        count = round(self.poison_share * len(train))
        raw, y = train.raw.clone(), train.y.clone()
        raw[:count, ..., :2] = 255
        y[:count] = budget.target
        loss = loss_of(victim, train.spec)
        victim.fit(network, replace(train, raw=raw, y=y), val, loss, ctx)
        return network

    def trigger(self, x, budget, ctx):
        x = x.clone()
        x[..., :2, :2] = 1
        return x
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("clean") / "checkout")
    share = {"poison_share": {"type": "float", "default": 0.5, "min": 0, "max": 1}}
    made.module("attack", "planter", PLANTER, hooks=["deliver", "trigger"], params=share,
                threat_models=["supply-chain"], clean_form={"poison_share": 0})  # fmt: skip
    attacks = [
        "planter",
        {"name": "planter", "params": {"poison_share": 0}, "as": "by-hand"},
        "teacher",
    ]
    made.benchmark(matrix(**SUPPLY_CHAIN | {
        "data": {"public": "digits-0-4", "attacker": "digits-5-9", "student": "digits-5-9"},
        "attacks": attacks}))  # fmt: skip
    assert made.run().tally.failed == 0
    return made


def test_both_controls_are_in_the_record(checkout):
    found = {record.cell.attack: record.metrics for record in checkout.records().values()}
    planted, by_hand = found["planter"], found["by-hand"]
    assert {"control_success_rate", "clean_form_success_rate"} <= planted.keys()
    # the clean form of a row is the row that a benchmark could write by hand
    assert planted["clean_form_success_rate"] == by_hand["attack_success_rate"]
    assert by_hand["clean_form_success_rate"] == by_hand["attack_success_rate"]
    assert "clean_form_success_rate" not in found["teacher"]
    assert "control_success_rate" in found["teacher"]


def test_the_teacher_of_the_clean_form_is_judged_as_that_of_the_row_by_hand(checkout):
    found = {record.cell.attack: record.metrics for record in checkout.records().values()}
    planted, by_hand = found["planter"], found["by-hand"]
    for name in ("teacher_accuracy", "teacher_success_rate"):
        assert planted[f"clean_form_{name}"] == by_hand[name]
        # the public network knows the other five digits
        assert "not trained on the classes" in planted[f"control_{name}"].absent
        assert f"clean_form_{name}" not in found["teacher"]
    assert planted["clean_form_target_rate_clean"] == by_hand["target_rate_clean"]


def test_the_hand_made_row_runs_no_more_stages(checkout):
    plan = checkout.plan()
    clean, by_hand = cell(plan, attack="planter").stages, cell(plan, attack="by-hand").stages
    assert clean["clean_form_before"] == by_hand["before"]


def test_both_controls_are_on_pages_and_in_tables(checkout):
    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    site = checkout.root / "reports" / "site"
    pages = {path.name: path.read_text("utf-8") for path in site.rglob("b/m/**/*.html")}
    front = pages["index.html"]
    assert re.search(r"Control, %</th>\s*<th[^>]*>Clean-form<br>control, %</th>", front)
    with_form = next(text for name, text in pages.items() if name.startswith("planter"))
    without = next(text for name, text in pages.items() if name.startswith("teacher"))
    assert "On the clean-form control: " in with_form
    assert "no control with a clean teacher" not in with_form
    assert "There is no control with a clean teacher: the attack names no clean form." in without
    (ranking,) = site.rglob("b/m/ranking.csv")
    (row,) = csv.DictReader(ranking.read_text("utf-8").splitlines())
    assert row["control"]
    assert row["clean_form"]
    rows = load(checkout.root)
    assert rows.set_index("attack")["clean_form_success_rate"].notna().to_dict() == {
        "planter": True, "by-hand": True, "teacher": False,
    }  # fmt: skip
