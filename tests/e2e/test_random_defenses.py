"""Random defences from plan to record: the mean over draws is attacked, the worst draw counts."""

import json

import numpy as np
import pytest

from harness.common.files import load_array
from tests.support.module_sources import VICTIM, guarded
from tests.support.workspaces import POISONING, QUERY, Checkout, cell, matrix

pytestmark = pytest.mark.xdist_group("run")

ATTACKED = "attacked = torch.is_grad_enabled() and x.requires_grad\n        "
NOISE = "return self.network(x + {} * torch.randn_like(x))"
DEFENSES = {
    "little": NOISE.format(0.05),
    "much": NOISE.format(0.3),
    "ten-times": NOISE.format("(0.5 if attacked else 0.05)"),
    "under-attack": NOISE.format("(0.3 if attacked else 0)"),
    "for-the-judge": NOISE.format("(0 if attacked else 0.3)"),
    "still": "return self.network(x)",
    "wild": (
        "out = self.network(x) * 10.0 ** torch.randint(-40, 41, (len(x), 1))\n"
        "        return torch.where(torch.rand(len(x), 1) < 0.1, torch.nan, out)"
    ),
}
HONEST, DISHONEST = ("little", "much", "still", "wild"), ("ten-times", "under-attack")
SCENES = """
from torch import nn

from harness.runtime.recipe import Recipe


class Tiny:
    head, stages = "0", ("0",)

    def __init__(self, *, steps):
        pass

    def build(self, spec):
        return nn.Sequential(nn.Conv2d(spec.shape[0], spec.outputs, 3, padding=1))

    def recipe(self, train):
        return Recipe(steps=5, batch=16, lr=0.02)
"""
NOISY_VICTIM = VICTIM.replace("return nn.Sequential(", "return Drawing(").replace(
    "class Tiny", """import torch


class Drawing(nn.Sequential):
    def forward(self, x):
        out = super().forward(x)
        return out + 0.5 * torch.randn_like(out) * (not self.training)


class Tiny""")  # fmt: skip
SEGMENTATION = {
    "data": {"student": "digit-scenes"},
    "victims": ["scenes"],
    "eval_subset": {"examples": 6, "batch": 3},
}
DRAWS, SAMPLES, N = 5, 8, 40


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("random"))
    both = {"tasks": ["classification", "segmentation"]}
    for name, forward in DEFENSES.items():
        code = guarded(ATTACKED + forward)
        checkout.module("defense", name, code, hooks=["guard"], random=True, **both)
    undeclared = guarded(ATTACKED + DEFENSES["little"])
    checkout.module("defense", "undeclared", undeclared, hooks=["guard"])
    victim = {"hooks": ["build", "recipe"], "offers": ["loss"], "entry": "victim.py:Tiny"}
    steps = {"params": {"steps": {"type": "int", "default": 30, "min": 1}}}
    ranking = {"tasks": ["classification", "ranking"]}
    checkout.module("victim", "drawing", NOISY_VICTIM, random=True, **victim, **steps, **ranking)
    checkout.module("victim", "scenes", SCENES, **victim, **steps, tasks=["segmentation"])
    sign = checkout.root / "attacks" / "sign" / "manifest.yaml"
    sign.write_text(json.dumps(json.loads(sign.read_text()) | both))
    checkout.benchmark(
        matrix(
            "white-box", defenses=["none", *DEFENSES, "undeclared"], attacks=["noop", "sign"],
            ensembles={"both": ["noop", "sign"]},
        ),
        matrix("goal", defenses=["little"], attacks=["sign"], goal={"targeted": "least_likely"}),
        matrix("few", defenses=["little"], attacks=["sign"], random={"samples": 2, "draws": 2}),
        matrix("query", **QUERY, defenses=["none", "little", "ten-times"]),
        matrix("victim", victims=["drawing"], attacks=["sign"]),
        matrix("ranking", **POISONING | {"data": {"student": "digits-ranking"}},
               victims=["drawing"]),
        matrix("scenes", **SEGMENTATION, attacks=["sign"], defenses=["much", "ten-times"]),
    )  # fmt: skip
    checkout.run()
    return checkout


@pytest.fixture(scope="module")
def find(checkout):
    records = checkout.records()

    def found(name, **labels):
        wanted = {"matrix": name, **labels}
        (record,) = (
            record
            for record in records.values()
            if all(getattr(record.cell, label) == value for label, value in wanted.items())
        )
        assert record.status == "ok", (record.status, record.reason)
        return record

    return found


def flags(record):
    return {flag.name for flag in record.flags}


def array(checkout, record, role, part):
    store = checkout.workspace().store()
    return load_array(store.part(record.stages[role], part) / "outputs.npy")


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_random_defence_is_judged_over_draws(checkout, find, defense):
    record = find("white-box", defense=defense, attack="sign")
    assert array(checkout, record, "after", "outputs").shape == (DRAWS, N, 10)
    assert array(checkout, record, "attack", "shown").shape == (SAMPLES, N, 10)
    value = record.metric
    assert value("robust_accuracy") <= value("robust_accuracy_mean") <= value("clean_accuracy")
    (note,) = (note for note in record.notes if note.startswith("the network is random"))
    assert f"worst of {DRAWS} draws" in note
    assert "cannot be compared" in note


def test_an_attack_sees_the_mean_over_draws_and_each_pass_is_counted(find):
    plain = find("white-box", defense="none", attack="sign").cost["attack"]
    drawn = find("white-box", defense="still", attack="sign").cost["attack"]
    assert drawn == {direction: SAMPLES * rows for direction, rows in plain.items()}
    assert find("few", defense="little").cost["attack"]["backward"] == 2 * plain["backward"]


def test_a_network_that_declares_draws_and_has_none_is_judged_as_without(find):
    plain = find("white-box", defense="none", attack="sign")
    still = find("white-box", defense="still", attack="sign")
    for name, figure in plain.metrics.items():
        assert still.metric(name) == pytest.approx(figure.value), name
    assert still.metric("draws_differ") == 0
    assert not flags(still)


@pytest.mark.parametrize("attack", ["noop", "sign"])
@pytest.mark.parametrize("defense", HONEST)
def test_honest_draws_raise_no_flag_of_a_comparison(find, defense, attack):
    found = flags(find("white-box", defense=defense, attack=attack))
    compared = {"batch_dependent", "different_under_attack", "undeclared_random", "noop_differs"}
    assert not found & compared


@pytest.mark.parametrize("defense", [*DISHONEST, "for-the-judge"])
def test_draws_of_an_attack_that_are_not_the_judge_s_are_flagged(find, defense):
    record = find("white-box", defense=defense, attack="sign")
    (flag,) = (one for one in record.flags if one.name == "different_under_attack")
    assert "which draws do not explain" in flag.text


def test_draws_that_differ_wildly_are_told(find):
    record = find("white-box", defense="wild", attack="sign")
    assert record.metric("draws_differ") > 0.1
    assert "nonfinite_outputs" in flags(record)


def test_undeclared_draws_are_found_at_run_time(find):
    for attack in ("noop", "sign"):
        found = flags(find("white-box", defense="undeclared", attack=attack))
        assert "undeclared_random" in found
        assert "batch_dependent" not in found
    assert not flags(find("white-box", defense="none", attack="sign"))


def test_an_ensemble_of_random_cells_keeps_the_mean_clean_score(find):
    both, sign = (find("white-box", defense="much", attack=name) for name in ("both", "sign"))
    assert both.metrics["clean_accuracy"] == sign.metrics["clean_accuracy"]
    assert both.metric("robust_accuracy") <= sign.metric("robust_accuracy")


def test_goals_of_a_random_network_are_those_that_the_attack_had(checkout, find):
    record = find("goal")
    store = checkout.workspace().store()
    goal = load_array(store.part(record.stages["attack"], "goal") / "goal.npy")
    y = load_array(store.part(record.stages["slice"], "y") / "y.npy")
    after = array(checkout, record, "after", "outputs").argmax(axis=2)
    reached = ((after == goal) & (goal != y)).any(axis=0)
    clean = (array(checkout, record, "before", "outputs").argmax(axis=2) == y).all(axis=0)
    assert record.metrics["attack_success_rate"].k == (reached & clean).sum()


def test_too_few_draws_are_not_compared_and_that_is_said(find):
    record = find("few")
    assert any("is not compared" in note for note in record.notes)
    assert "different_under_attack" not in flags(record)


def test_queries_are_single_draws_and_compared_too(checkout, find):
    plain, drawn = (find("query", defense=name) for name in ("none", "little"))
    assert drawn.queries["max"] <= 3
    assert drawn.cost["attack"]["forward"] == plain.cost["attack"]["forward"]
    assert array(checkout, drawn, "attack", "shown").shape == (SAMPLES, N, 10)
    # no gradient is asked for: the noise is that of the judge
    for defense in ("little", "ten-times"):
        assert "different_under_attack" not in flags(find("query", defense=defense))


def test_a_random_victim_is_judged_over_draws_without_a_defence(checkout, find):
    record = find("victim")
    assert array(checkout, record, "after", "outputs").shape[0] == DRAWS
    assert not flags(record) & {"different_under_attack", "noop_differs"}


def test_a_random_ranker_is_right_if_every_draw_is(checkout, find):
    record = find("ranking")
    assert array(checkout, record, "after", "outputs").shape[0] == DRAWS
    assert record.metric("accuracy") <= record.metric("accuracy_mean")
    assert record.metric("draws_differ") > 0


@pytest.mark.parametrize(("defense", "flagged"), [("much", False), ("ten-times", True)])
def test_random_maps_are_judged_by_the_worst_draw(checkout, find, defense, flagged):
    record = find("scenes", defense=defense)
    maps = array(checkout, record, "after", "outputs")
    assert maps.shape[:2] == (DRAWS, 6)
    assert maps.dtype == np.uint8
    assert record.metric("miou") <= record.metric("miou_mean")
    assert ("different_under_attack" in flags(record)) is flagged


def test_what_draws_has_the_same_result_again(checkout):
    plan = checkout.plan()
    drawn = cell(plan, matrix="white-box", defense="much", attack="sign")
    first = checkout.records()[drawn.id]
    second = Checkout(checkout.root.parent / "again")
    code = guarded(ATTACKED + DEFENSES["much"])
    second.module("defense", "much", code, hooks=["guard"], random=True,
                  tasks=["classification", "segmentation"])  # fmt: skip
    sign = second.root / "attacks" / "sign" / "manifest.yaml"
    sign.write_text((checkout.root / "attacks" / "sign" / "manifest.yaml").read_text())
    second.benchmark(matrix("white-box", defenses=["much"], attacks=["sign"]))
    second.run()
    assert second.results()[drawn.id] == first.result
