"""Attacks that are handed what still stands, run whole: the same figures, fewer rows."""

import numpy as np
import pytest

from harness.results import codec
from tests.support.module_sources import ANY_LIMIT, PERTURB
from tests.support.workspaces import QUERY, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

WHITE = {"needs": ["loss", "gradients"]}
RANDOM = {"random": True, "requires": [ANY_LIMIT]}

NOISE = PERTURB.format(
    """source = ctx.generator("noise")
        noise = ctx.draw(x.shape, lambda shape: torch.rand(shape, generator=source)) * 2 - 1
        return (x + budget.eps * noise.sign()).clamp(0, 1)"""
)
"""Random signs, of each row its own."""

ASKING = PERTURB.format(
    """for _ in range(2):
            rows = (model.left() > 0).nonzero().flatten()
            model.predict(x[rows], rows)
        return x.clone()"""
)
"""Two queries of each row that has one left, for nothing."""

OTHER = PERTURB.format(
    """found = model.predict(x).argmax(1)
        return torch.stack([x[(found != label).nonzero()[0, 0]] for label in y])"""
)
"""Of each row another image, which the network puts into another class."""

DECLINES = PERTURB.format(
    """from harness.runtime.contracts import NotApplicable

        raise NotApplicable("not on such digits")"""
)

LONGER = PERTURB.format("return torch.zeros(20, *x.shape[1:])")
"""Answers for rows that it was not given."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("hand-over"))
    checkout.module("attack", "noise", NOISE, **RANDOM)
    for name, code in (("longer", LONGER), ("other", OTHER), ("declines", DECLINES)):
        checkout.module("attack", name, code)
    checkout.module("attack", "asking", ASKING, threat_models=["evasion-query"])
    attacks = ["noop", "noise", "sign"]
    whole = {"all": attacks, "chain": {"hand_over": attacks}}
    query = {**QUERY, "budgets": [{"norm": "linf", "eps": 0.01, "queries": 3}]}
    twice = {"twice": {"hand_over": ["asking", {"name": "asking", "as": "again"}]}}
    query["attacks"] = ["noop"]
    far = {"budgets": [{"norm": "linf", "eps": 1.0}]}
    over = {"forged": {"hand_over": ["noise", "longer"]}}
    checkout.benchmark(
        matrix(attacks=attacks, ensembles=whole, budgets=[{"norm": "linf", "eps": 0.2}]),
        matrix("target", attacks=attacks, ensembles=whole, goal={"targeted": "next"}),
        matrix("query", **query, ensembles=twice),
        matrix("far", **far, ensembles={"chain": {"hand_over": ["other", "noise", "noop"]}}),
        matrix("forged", ensembles=over),
        matrix("declined", ensembles={"chain": {"hand_over": ["noise", "declines", "noop"]}}),
    )
    checkout.run()
    return checkout


@pytest.fixture(scope="module")
def found(checkout):
    return {(r.cell.matrix, r.cell.attack): r for r in checkout.records().values()}


@pytest.mark.parametrize("name", ["m", "target"])
def test_it_breaks_what_all_of_them_break(found, name):
    whole, chain = found[name, "all"], found[name, "chain"]
    bits = [codec.unpack_outcomes(one.outcomes) for one in (whole, chain)]
    assert np.array_equal(bits[0]["success"], bits[1]["success"])
    assert bits[0]["success"].any()
    assert chain.status == "ok"
    assert chain.perturbation["linf_max"] > 0


def test_its_record_says_on_how_many_rows_each_attack_was_run(found):
    chain = found["m", "chain"]
    first, second, third = chain.handed
    assert [one.attack for one in chain.handed] == ["noop", "noise", "sign"]
    right = chain.metrics["clean_accuracy"].k
    assert (first.examples, first.broken) == (40, 0)
    assert second.examples == right
    assert third.examples == right - second.broken
    assert second.broken > 0
    left = chain.metrics["robust_accuracy"].k
    assert left == third.examples - third.broken
    # the passes of all, which are fewer than all of them on all rows
    assert chain.cost["attack"]["forward"] == third.examples
    assert found["m", "sign"].cost["attack"]["forward"] == 40


def test_what_is_drawn_for_a_row_does_not_depend_on_who_else_was_handed_over(found):
    alone = codec.unpack_outcomes(found["m", "noise"].outcomes)["success"]
    assert int(alone.sum()) == found["m", "chain"].handed[1].broken


def test_a_budget_of_queries_is_handed_over(found):
    twice = found["query", "twice"]
    assert (twice.status, twice.reason) == ("ok", None)
    right = twice.metrics["clean_accuracy"].k
    assert twice.queries["max"] == 3  # two of the first attack, one that the second had left
    assert twice.cost["attack"]["forward"] == 2 * 40 + right


def test_an_attack_to_whom_nothing_is_left_is_run_on_no_row(found):
    chain = found["far", "chain"]
    assert chain.metrics["robust_accuracy"].value == 0
    right = chain.metrics["clean_accuracy"].k
    steps = [(one.attack, one.examples, one.broken) for one in chain.handed]
    assert steps == [("other", 40, right), ("noise", 0, 0), ("noop", 0, 0)]


def test_an_answer_for_rows_that_were_not_handed_over_is_a_breach(found):
    forged = found["forged", "forged"]
    assert forged.status == "contract_violation"
    assert forged.by == "attack"
    assert forged.handed is None


def test_an_attack_that_declines_at_run_time_is_named_and_leaves_a_gap(found):
    chain = found["declined", "chain"]
    assert chain.status == "blocked"
    assert chain.reason == "declines: not on such digits; leave it out"


def test_a_cell_is_reproduced_from_its_record(checkout, found):
    name = found["m", "chain"].id
    done = checkout.gauntlet("reproduce", name)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "reproduced exactly" in done.stdout


def test_its_page_shows_the_attacks_in_order(checkout):
    assert checkout.gauntlet("report").returncode == 0
    (page,) = (checkout.root / "reports/site/b/m").rglob("chain.html")
    text = page.read_text(encoding="utf-8")
    assert "Attacks in order" in text
    assert "0 of 40" in text


def test_the_plan_says_who_depends_on_whom(checkout, found):
    checkout.benchmark(
        matrix(attacks=["noop"], ensembles={"chain": {"hand_over": ["noise", "ask"]}}), name="c"
    )
    line = "chain runs in order, each on the examples that still stand: noise; ask is left out: "
    for arguments in (["c"], ["c", "--why", "chain"]):
        done = checkout.gauntlet("plan", *arguments)
        assert line in done.stdout, done.stdout + done.stderr
    record = found["m", "chain"]
    assert "in order: noise" in checkout.gauntlet("show", record.id).stdout
