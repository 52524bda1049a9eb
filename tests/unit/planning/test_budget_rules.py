"""Limits that mean nothing on their data: each is refused in one line, the edges are not."""

import re
from pathlib import Path

import numpy as np
import pytest

from harness.commands.check import check
from harness.common.errors import UserError
from harness.common.keys import ROOT
from harness.config.benchmark import check_benchmarks
from harness.planning.budget_rules import budget_errors
from tests.support.errors import raises_error
from tests.support.matrix_errors import (
    DISHES,
    RANKING,
    SCENES,
    amounts,
    assert_one_line,
    matrix_errors,
    shots,
)
from tests.support.sources import all_sets
from tests.support.workspaces import (
    BACKDOOR,
    POISONING,
    QUERY,
    SUPPLY_CHAIN,
    TRANSFER,
    Checkout,
    matrix,
)

FEATURES = {"data": {"student": "pubfig"}}
EDITS = {"edits": 0.1, "labels": True, "features": True, "patch": 2, "target": 3}
PUBLIC = BACKDOOR | {
    "data": {"public": {"name": "digits-0-4", "train_fraction": 0.5}, "student": "digits"},
    "poisons": "public",
}


def budget(limits: dict, of: dict | None = None) -> dict:
    return (of or {}) | {"budgets": [limits]}


def training(limits: dict) -> dict:
    return {"defenses": [{"name": "trainer", "adversary": {"attack": "sign", "budget": limits}}]}


def linf(eps: float) -> dict:
    return {"norm": "linf", "eps": eps}


def l2(eps: float) -> dict:
    return {"norm": "l2", "eps": eps}


# matrix, the key, what is said
WRONG = [
    (
        budget(linf(8)),
        "budgets[0].eps",
        "eps 8 is larger than the range of pixels [0, 1]; write 8/255?",
    ),
    (budget(linf(255)), "budgets[0].eps", "write 255/255?"),
    (budget(linf(256)), "budgets[0].eps", "write at most 1"),
    (budget(linf(1.5)), "budgets[0].eps", "write at most 1"),
    (budget(linf(np.nextafter(1, 2))), "budgets[0].eps", "larger than the range of pixels"),
    (budget(linf(2), FEATURES), "budgets[0].eps", "larger than the range of features"),
    (budget(linf(1e-6)), "budgets[0].eps", "eps 1e-06 is within the judge's tolerance of 1e-06"),
    (budget(l2(1e-7)), "budgets[0].eps", "within the judge's tolerance"),
    (
        budget(l2(1000)),
        "budgets[0].eps",
        "larger than the largest L2 distance of digits, √64; write 1000/255?",
    ),
    (budget(l2(8.001)), "budgets[0].eps", "write at most sqrt(64) = 8"),
    (budget(l2(96.1), SCENES), "budgets[0].eps", "√9216; write at most sqrt(9216) = 96"),
    (budget(l2(24), FEATURES), "budgets[0].eps", "√542; write 24/255?"),
    (budget(linf(0)), "budgets[0].eps", "expected more than 0, found 0"),
    (budget(linf(-0.1)), "budgets[0].eps", "expected more than 0, found -0.1"),
    (
        budget({"norm": "l2", "minimal": True}, SCENES),
        "budgets[0].minimal",
        "the nearest wrong input of digit-scenes: in segmentation no input has one class",
    ),
    (budget({"minimal": True}), "budgets[0].minimal", "minimal without a norm; add norm: linf"),
    (budget({"norm": "l2"}), "budgets[0].norm", "a norm without eps; add eps, or minimal: true"),
    (budget(l2(1) | {"minimal": True}), "budgets[0].minimal", "minimal beside a bound"),
    (
        budget({"norm": "l2", "minimal": True}, {"goal": {"targeted": "next"}}),
        "budgets[0].minimal",
        "the nearest wrong input beside a goal",
    ),
    (
        budget({"norm": "l2", "minimal": True}, TRANSFER),
        "budgets[0].minimal",
        "evasion-transfer has no budget field minimal",
    ),
    (
        budget(linf(0.1) | {"queries": 0}, QUERY),
        "budgets[0].queries",
        "expected at least 1, found 0",
    ),
    (
        budget(linf(0.1) | {"per_channel": [0.2, 0.2]}),
        "budgets[0].per_channel",
        "per_channel has 2 channels, and digits has 1; write 1 channel",
    ),
    (
        budget(linf(0.1) | {"per_channel": [0.2]}, SCENES),
        "budgets[0].per_channel",
        "per_channel has 1 channel, and digit-scenes has 3; write 3 channels",
    ),
    (
        budget(linf(0.1) | {"per_channel": [0.2]}, FEATURES),
        "budgets[0].per_channel",
        "per_channel on pubfig, which has no pictures; remove it",
    ),
    (
        budget(linf(4) | {"per_channel": [0.2, 0.25, 0.2501]}, SCENES),
        "budgets[0].per_channel",
        "the radius of channel 2, eps × 0.2501 = 1.0004, is larger than the range of pixels",
    ),
    (
        budget(linf(1e-3) | {"per_channel": [0.2, 1e-3, 0.2]}, SCENES),
        "budgets[0].per_channel",
        "the radius of channel 1, eps × 0.001 = 1e-06, is within the judge's tolerance of 1e-06",
    ),
    (
        training(linf(0.1) | {"per_channel": [0.2, 0.2]}),
        "defenses[0].adversary.budget.per_channel",
        "per_channel has 2 channels, and digits has 1",
    ),
    (budget({"patch": 0}), "budgets[0].patch", "expected at least 1, found 0"),
    (
        budget({"patch": 9}),
        "budgets[0].patch",
        "patch 9 is larger than a picture of digits, 8×8; write at most 8",
    ),
    (budget({"patch": 49}, SCENES), "budgets[0].patch", "48×64; write at most 48"),
    (
        FEATURES | {"keep": {"attention": True}},
        "keep.attention",
        "which has no pictures with one class each; remove it",
    ),
    (budget({"pixels": 0}), "budgets[0].pixels", "expected at least 1, found 0"),
    (
        budget({"pixels": 64}),
        "budgets[0].pixels",
        "64 pixels may change, and a picture of digits has 64; write at most 63",
    ),
    (
        budget({"pixels": 1}, FEATURES),
        "budgets[0].pixels",
        "which has no pictures; write norm and eps",
    ),
    (
        budget({"edits": 0.1, "labels": True, "pixels": 2}, POISONING),
        "budgets[0].pixels",
        "a bound on inputs, but only labels may change; remove it, or add features: true",
    ),
    (
        budget({"patch": 1}, FEATURES),
        "budgets[0].patch",
        "which has no pictures; write norm and eps",
    ),
    (
        budget({"edits": 0.0005, "labels": True}, POISONING),
        "budgets[0].edits",
        "edits 0.0005 of 1,000 training examples rounds to 0 examples; write at least 1/1000",
    ),
    (
        budget({"edits": 0.0002, "labels": True}, RANKING),
        "budgets[0].edits",
        "of 2,000 training examples",
    ),
    (
        budget(
            {"edits": 1 / 501, "labels": True},
            POISONING | {"data": {"student": {"name": "digits", "train_fraction": 0.1}}},
        ),
        "budgets[0].edits",
        "of 100 training examples",
    ),
    (budget(EDITS | {"edits": 0.002}, PUBLIC), "budgets[0].edits", "of 248 training examples"),
    (
        budget({"edits": 0, "labels": True}, POISONING),
        "budgets[0].edits",
        "expected more than 0, found 0",
    ),
    (
        budget({"edits": 50, "labels": True}, POISONING),
        "budgets[0].edits",
        "expected at most 1, found 50; write a share, such as 0.05",
    ),
    (
        budget({"edits": 0.1, "labels": True, **linf(0.1)}, POISONING),
        "budgets[0].eps",
        "only labels may change; remove it, or add features: true",
    ),
    (
        budget({"edits": 0.1, "labels": True, "patch": 2}, POISONING),
        "budgets[0].patch",
        "only labels may change",
    ),
    (
        budget({"edits": 0.1, "labels": True, "features": True}, RANKING),
        "budgets[0].features",
        "write labels: true alone",
    ),
    (
        budget(EDITS | {"target": 10}, BACKDOOR),
        "budgets[0].target",
        "target 10 is no class of digits, which has 10; write a number from 0 to 9",
    ),
    (
        budget(EDITS | {"target": "nxt"}, BACKDOOR),
        "budgets[0].target",
        'expected the number of a class or next, found "nxt"; count classes from 0',
    ),
    (budget(EDITS | {"target": 7}, PUBLIC), "budgets[0].target", "digits-0-4, which has 5"),
    (
        budget({"patch": 2, "target": 5}, SUPPLY_CHAIN),
        "budgets[0].target",
        "digits-5-9, which has 5",
    ),
    (
        budget(
            {"patch": 2, "target": 5},
            SUPPLY_CHAIN | {"data": {"public": "digits-0-4", "student": "digits"}},
        ),
        "budgets[0].target",
        "digits-0-4, which has 5",
    ),
    (
        budget({"patch": 2, "target": -1}, SUPPLY_CHAIN),
        "budgets[0].target",
        "expected at least 0, found -1",
    ),
    (budget({"patch": 9, "target": 1}, SUPPLY_CHAIN), "budgets[0].patch", "write at most 8"),
    (budget(linf(3), TRANSFER), "budgets[0].eps", "write 3/255?"),
    (training(linf(8)), "defenses[0].adversary.budget.eps", "write 8/255?"),
    (training({"patch": 9}), "defenses[0].adversary.budget.patch", "write at most 8"),
    (training(l2(1e-8)), "defenses[0].adversary.budget.eps", "within the judge's tolerance"),
    ({"goal": {"targeted": 10}}, "goal.targeted", "target 10 is no class of digits"),
    ({"goal": {"targeted": 11}} | SCENES, "goal.targeted", "digit-scenes, which has 11"),
    (
        budget({"edits": 0.01, "labels": True}, POISONING | amounts("train_examples", [500, 20])),
        "budgets[0].edits",
        "0.01 of 20 training examples rounds to 0 examples; write at least 1/20",
    ),
    (
        budget({"edits": 0.001, "labels": True}, POISONING | shots(10)),
        "budgets[0].edits",
        "0.001 of 100 training examples rounds to 0 examples; write at least 1/100",
    ),
]


@pytest.mark.parametrize(("changes", "key", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_a_limit_that_means_nothing_is_one_line_with_its_place(tmp_path, changes, key, words):
    assert_one_line(tmp_path, changes, key, words)


RIGHT = [
    budget(linf(4) | {"per_channel": [0.25]}),
    budget(linf(4) | {"per_channel": [0.2023, 0.1994, 0.2010]}, SCENES),
    {},
    budget(linf(1)),
    budget(linf(1.1e-6)),
    budget(linf(1 / 255)),
    budget(linf(1), FEATURES),
    budget(l2(8)),
    budget(l2(96), SCENES),
    budget(l2(542**0.5), FEATURES),
    budget({"patch": 1}),
    budget({"patch": 8}),
    budget({"patch": 48}, SCENES),
    budget({"pixels": 63}),
    budget({"pixels": 4, "target": 4}, SUPPLY_CHAIN),
    budget({"unbounded": True}),
    budget(linf(0.1) | {"queries": 1}, QUERY),
    budget({"edits": 0.000501, "labels": True}, POISONING),
    budget({"edits": 0.001, "labels": True}, POISONING),
    budget({"edits": 1, "labels": True}, POISONING),
    budget({"edits": 0.001, "features": True, **linf(0.1)}, POISONING),
    budget({"edits": 0.001, "features": True, **l2(1 / 255)}, POISONING),
    budget({"edits": 0.001, "features": True, **linf(0.5 / 255)}, POISONING),
    budget({"edits": 0.0003, "labels": True}, RANKING),
    budget({"edits": 0.0003, "labels": True, "features": False}, RANKING),
    budget({"edits": 1, "labels": True}, POISONING | DISHES),
    budget(EDITS | {"target": 0}, BACKDOOR),
    budget(EDITS | {"target": 9, "features": False}, BACKDOOR),
    budget(EDITS | {"target": 4, "edits": 1 / 248}, PUBLIC),
    budget({"patch": 8, "target": 4}, SUPPLY_CHAIN),
    training(linf(1)),
    training({"patch": 8}),
    training({"unbounded": True}),
    {"goal": {"targeted": 9}},
    {"goal": {"targeted": "least_likely"}},
    {"goal": {"targeted": 10}} | SCENES,
    budget({"edits": 0.01, "labels": True}, POISONING | shots(10)),
]


@pytest.mark.parametrize("changes", RIGHT, ids=lambda value: str(value)[:60])
def test_the_edges_are_right(tmp_path, changes):
    assert matrix_errors(tmp_path, **changes) == []


def with_eps(tmp_path: Path, written: str) -> Checkout:
    """As a person writes it: the file's text, not its values, decides."""
    checkout = Checkout(tmp_path)
    checkout.benchmark(matrix())
    file = checkout.root / "benchmarks" / "b" / "benchmark.yaml"
    file.write_text(file.read_text().replace('"eps": 0.1', f'"eps": {written}'))
    return checkout


@pytest.mark.parametrize("written", [".inf", "-.inf", ".nan", "1e999", "8/0"])
def test_numbers_that_are_none(tmp_path, written):
    with pytest.raises(UserError) as caught:
        with_eps(tmp_path, written).plan()
    assert re.search(
        r"benchmark\.yaml:\d+:\d+: matrices\[0\]\.budgets\[0\]\.eps: ", str(caught.value)
    )


@pytest.mark.parametrize(
    ("written", "code"),
    [("-8/255", "eps-negative"), ("0/255", "eps-zero"), ("8", "eps-without-fraction")],
)
def test_numbers_out_of_range_and_forgotten_fractions(tmp_path, written, code):
    where = "<tmp>/benchmarks/b/benchmark.yaml:31:6: matrices[0].budgets[0].eps"
    with raises_error(code, where=where):
        with_eps(tmp_path, written).plan()


def test_plan_and_check_say_all_at_once(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.benchmark(
        matrix("one", budgets=[linf(8), l2(1e-9)], attacks=["noop", "nope"]),
        matrix("two", goal={"targeted": 12}, data={"student": "digit"}),
        matrix("three", clean=1000),
    )
    checkout.benchmark(matrix(budgets=[{"patch": 100}]), name="c")
    with pytest.raises(UserError) as planned:
        checkout.plan()
    wanted = ["eps 8", "eps 1e-09", "1,000 examples", "no attack named 'nope'", "no data set"]
    assert all(words in str(planned.value) for words in wanted)
    assert len(str(planned.value).splitlines()) == 5
    with pytest.raises(UserError) as checked:
        check(checkout.workspace(), None, "local", None)
    assert all(words in str(checked.value) for words in [*wanted, "patch 100"])
    # what is wrong with a module hides nothing of this, and no module seems to be missing
    (
        (
            budget({"edits": 0.1, "features": True, **linf(0.0019)}, POISONING),
            "budgets[0].eps",
            "eps 0.0019 is less than half a step of a stored pixel, 0.5/255; write at least 1/255",
        ),
    )
    (checkout.root / "attacks" / "sign" / "manifest.yaml").write_text("schema: manifest/1\n")
    with pytest.raises(UserError) as checked:
        check(checkout.workspace(), None, "local", None)
    assert all(words in str(checked.value) for words in [*wanted[:3], "patch 100", "sign/manifest"])
    assert "no attack named 'sign'" not in str(checked.value)


def test_the_bundled_benchmarks_are_right(tmp_path):
    found, wrong = check_benchmarks(sorted((ROOT / "benchmarks").glob("*/benchmark.yaml")))
    assert (len(found) >= 8, wrong) == (True, [])
    assert [str(error) for one in found for error in budget_errors(one, all_sets(tmp_path))] == []
