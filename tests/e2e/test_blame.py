"""What a failure is put down to, from the exception in a stage to the row of the table."""

import csv
import io
import json

import pytest
from rich.console import Console

from harness.commands.run import find_pending
from harness.commands.show import show
from harness.common.keys import digest
from harness.report import frame
from harness.report.cells import cell_rows
from harness.report.leaderboard import tables
from harness.report.site.exports import cells_csv
from harness.results import records
from tests.support.module_sources import SANITIZER, VICTIM
from tests.support.workspaces import POISONING, QUERY, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

DECLINES = "from harness.runtime.contracts import NotApplicable; raise NotApplicable('not mine')"
RANKER = {"victims": ["picky"], "data": {"student": "digits-ranking"}}
BUILDER = """
class Defense:
    def build(self, victim, spec):
        return victim.build(spec)
"""
GUARD = """
from torch import nn


class Defense:
    def guard(self, network, ctx):
        return Wall(network)


class Wall(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        {}
"""
UNDER_ATTACK = "if x.requires_grad:\n            {}\n        return self.network(x)"
MISLED = """
class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        victim.fit(network, train, val, None, ctx, "many")
"""
FORGES = """
import json
import os


class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        outcome = {"status": "not_applicable", "reason": "forged", "hook_seconds": 0, "passes": {},
                   "device_memory": None, "by": "@BY@", "breach": "", "waiting": None, "graphs": 0}
        os.write(4, json.dumps(outcome).encode())
        os._exit(1)
"""
FIT = """
class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        {}
"""
ATTACK = """
class Attack:
    def perturb(self, model, x, y, goal, budget, ctx):
        {}
"""
DEFENSES = {
    "wall": (GUARD.format("raise ValueError('a wall')"), "guard"),
    "wall-under-attack": (
        GUARD.format(UNDER_ATTACK.format("raise ValueError('a wall')")),
        "guard",
    ),
    "declining-guard": (
        GUARD.format(UNDER_ATTACK.format(DECLINES)),
        "guard",
    ),
    "declining-fit": (FIT.format(DECLINES), "fit"),
    "declining-victim": (MISLED, "fit"),
    "late": (FIT.format("import time; time.sleep(600)"), "fit"),
    "killed": (FIT.format("import os; os.kill(os.getpid(), 9)"), "fit"),
    "in-place": (FIT.format("train.y.zero_()"), "fit"),
    "syntax": ("class Defense\n", "fit"),
    "forges-rule": (FORGES.replace("@BY@", "rule"), "fit"),
    "forges-attack": (FORGES.replace("@BY@", "attack"), "fit"),
    "forges-victim": (FORGES.replace("@BY@", "victim"), "fit"),
}
ATTACKS = {
    "declines": ATTACK.format(DECLINES),
    "raises": ATTACK.format("raise ValueError('no luck')"),
    "nothing": ATTACK.format("return None"),
    "unreadable": "class Attack\n",
}
PICKY = VICTIM.replace(
    "return nn.Sequential(",
    "from harness.runtime.contracts import NotApplicable\n"
    "        raise NotApplicable('items by number only')\n        return nn.Sequential(",
)
SLOPPY = VICTIM.replace("return nn.Sequential(", "return (")  # a tuple is no network


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("blame"))
    for name, (code, hook) in DEFENSES.items():
        limits = {"limits": {"minutes": 0.03, "memory_gb": 4}} if name == "late" else {}
        checkout.module("defense", name, code, hooks=[hook], **limits)
    for name, code in ATTACKS.items():
        checkout.module("attack", name, code)
    ranking = {"tasks": ["ranking"]}
    checkout.module("defense", "builder", BUILDER, hooks=["build"], **ranking)
    checkout.module("defense", "rank-sanitizer", SANITIZER, hooks=["sanitize"], **ranking)
    decline = SANITIZER.replace("mask =", f"{DECLINES}\n        mask =")
    checkout.module("defense", "declining-sanitizer", decline, hooks=["sanitize"])
    victim = {"hooks": ["build", "recipe"], "offers": ["loss"], "entry": "victim.py:Tiny"}
    steps = {"params": {"steps": {"type": "int", "default": 3}}}
    checkout.module("victim", "sloppy", SLOPPY, **victim, **steps)
    checkout.module("victim", "picky", PICKY, **victim, **steps, tasks=["ranking"])
    untrained = VICTIM.replace("return Recipe(", "raise ValueError('no')\n        return Recipe(")
    checkout.module("victim", "untrained", untrained, **victim, **steps)
    defenses = ["none", "builder", "rank-sanitizer"]
    checkout.benchmark(
        matrix("ranker", **POISONING | RANKER | {"defenses": defenses}),
        matrix(
            "defenses",
            attacks=["noop", "sign"],
            defenses=["none", *DEFENSES],
            ensembles={"both": ["noop", "sign"]},
        ),
        matrix("poisons", **POISONING, defenses=["none", "declining-sanitizer"]),
        matrix("attacks", attacks=list(ATTACKS), ensembles={"all": ["declines"]}),
        matrix("victims", victims=["sloppy", "untrained"]),
        matrix("queries", **QUERY, defenses=["wall"]),
        matrix("ruled-out", attacks=["flip"]),
    )
    checkout.run()
    return checkout


@pytest.fixture(scope="module")
def found(checkout):
    def find(name, **labels):
        wanted = {"matrix": name, **labels}
        (record,) = (
            record
            for record in checkout.records().values()
            if all(getattr(record.cell, label) == value for label, value in wanted.items())
        )
        return record.status, record.by, record.stage

    return find


@pytest.fixture(scope="module")
def rows(checkout):
    """Matrix → defence → row of its table."""
    planned = frame.build([checkout.plan()], list(checkout.records().values()))
    return {
        table.matrix: {row.defense: row for row in (*table.rows, *table.unranked)}
        for table in tables(planned)
    }


@pytest.mark.parametrize("defense", ["none", "builder", "rank-sanitizer"])
def test_a_victim_that_cannot_take_the_data_is_no_defence_s_gap(found, rows, defense):
    status, by, _ = found("ranker", defense=defense)
    assert (status, by) == ("not_applicable", "victim")
    row = rows["ranker"][defense]
    assert (row.gaps, row.applicable) == ((), 0)
    (cell,) = row.cells
    assert cell.reason.startswith("declined by the victim: items by number only")


@pytest.mark.parametrize(
    ("defense", "ending"),
    [
        ("declining-fit", ("avoided", "defense", "train")),
        ("declining-guard", ("avoided", "defense", "attack")),
        ("wall-under-attack", ("module_error", "defense", "attack")),
        ("wall", ("module_error", "defense", "attack")),
        ("declining-victim", ("module_error", "defense", "train")),
        ("late", ("timeout", "defense", "train")),
        ("killed", ("module_error", "defense", "train")),
        ("in-place", ("contract_violation", "defense", "train")),
        ("syntax", ("module_error", "defense", "train")),
        ("forges-rule", ("avoided", "defense", "train")),
        ("forges-attack", ("avoided", "defense", "train")),
        ("forges-victim", ("avoided", "defense", "train")),
        ("none", ("ok", None, None)),
    ],
)
def test_a_defence_answers_for_what_came_through_its_code(found, defense, ending):
    assert found("defenses", defense=defense, attack="sign") == ending


def test_what_a_defence_makes_impossible_is_a_gap_of_its_row_alone(rows):
    declining = rows["defenses"]["declining-fit"]
    assert declining.rank is None
    assert {gap.attack for gap in declining.gaps} == {"sign", "noop"}
    assert {gap.reason for gap in declining.gaps} == {"made impossible by the defence: not mine"}
    # where it declines under gradients, its network cannot be probed, whatever the attack
    gaps = rows["defenses"]["declining-guard"].gaps
    assert {gap.attack for gap in gaps} == {"sign", "noop"}
    assert rows["defenses"]["none"].gaps == ()
    assert rows["poisons"]["declining-sanitizer"].gaps[0].status == "avoided"


def test_a_defence_that_speaks_for_its_victim_gains_nothing(rows):
    row = rows["defenses"]["forges-victim"]
    assert row.rank is None
    assert len(row.gaps) == 2
    assert row.gaps[0].reason == "made impossible by the defence: forged"


@pytest.mark.parametrize(
    ("attack", "ending"),
    [
        ("declines", ("not_applicable", "attack", "attack")),
        ("raises", ("module_error", "attack", "attack")),
        ("nothing", ("contract_violation", "attack", "attack")),
        ("unreadable", ("module_error", "attack", "attack")),
        ("all", ("not_applicable", "attack", None)),
    ],
)
def test_an_attack_answers_for_itself(found, attack, ending):
    assert found("attacks", attack=attack) == ending


def test_the_terminal_counts_not_applicable_apart_from_failed(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "declines", ATTACKS["declines"])
    checkout.module("attack", "raises", ATTACKS["raises"])
    checkout.benchmark(matrix(attacks=["declines", "noop"]))
    assert ", 1 not applicable, 0 failed, 2 records written" in checkout.run().said
    checkout.benchmark(matrix(attacks=["declines", "noop", "raises"]))
    assert "), 1 failed, 1 records written" in checkout.run().said


def test_a_victim_answers_for_what_it_blocks(found):
    for victim in ("sloppy", "untrained"):
        assert found("victims", victim=victim) == ("blocked", "victim", "train")


def test_a_defence_answers_inside_the_oracle(found):
    assert found("queries", defense="wall")[:2] == ("module_error", "defense")


def test_what_the_plan_rules_out_is_put_down_to_a_rule(found):
    assert found("ruled-out") == ("not_applicable", "rule", None)


def test_what_a_module_cannot_do_is_not_tried_again(checkout):
    todo = find_pending(checkout.plan(), list(checkout.records().values()), retry_failed=True)
    ended = {checkout.records()[cell.id].status for cell in todo}
    assert ended == {"module_error", "contract_violation", "timeout", "blocked"}


def test_an_ensemble_is_avoided_with_its_member(found, rows):
    assert found("defenses", defense="declining-guard", attack="both") == (
        "avoided",
        "defense",
        None,
    )
    # where it declines under gradients, its network cannot be probed, whatever the attack
    gaps = rows["defenses"]["declining-guard"].gaps
    assert {gap.attack for gap in gaps} == {"sign", "noop"}
    assert found("defenses", defense="wall", attack="both")[:2] == ("blocked", "defense")
    assert found("defenses", defense="none", attack="both")[0] == "ok"


def test_show_and_csv_name_the_role(checkout):
    said = io.StringIO()
    show(checkout.workspace(), "defenses/tiny/declining-fit/sign", Console(file=said, width=200))
    assert "status: avoided, by defense – not mine" in said.getvalue()
    planned = frame.build([checkout.plan()], list(checkout.records().values()))
    told = {
        (row["matrix"], row["defense"], row["attack"]): (row["status"], row["by"])
        for row in csv.DictReader(io.StringIO(cells_csv(cell_rows(planned))))
    }
    assert told["defenses", "declining-fit", "sign"] == ("avoided", "defense")
    assert told["ranker", "none", "flip"] == ("not_applicable", "victim")
    assert told["defenses", "none", "sign"] == ("ok", "")


def test_frame_and_records_tell_the_same(checkout):
    table = frame.build([checkout.plan()], list(checkout.records().values()))
    assert (table.by.isna() == (table.status == "ok")).all()
    for row in table.itertuples():
        assert row.record.by == (row.by if row.status != "ok" else None)


def test_a_record_from_before_the_field_loads_and_nothing_is_guessed(checkout, tmp_path):
    new = next(r for r in checkout.records().values() if r.status == "avoided")
    old = {name: value for name, value in new.to_json().items() if name not in ("by", "outcome")}
    old |= {"status": "not_applicable", "reason": "defence declining-fit: not mine"}
    old["result"] = records.result_digest(old)
    path = tmp_path / "b" / f"{digest(old)[:32]}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(old))
    assert records.read(path).to_json() == old
    (row,) = frame.load(tmp_path).itertuples()
    assert (row.status, row.by) == ("not_applicable", None)
