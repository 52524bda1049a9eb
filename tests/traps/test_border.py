"""Traps at the border of attack and network: the right end, the right side, the next cell runs."""

import os
import shutil
import tempfile

import pytest

from tests.support import module_sources
from tests.support.containers import ours
from tests.support.module_sources import PERTURB
from tests.support.workspaces import QUERY, Checkout, matrix
from tests.traps.border import CONTAINED, ORACLE_GUARDS, TABLES
from tests.traps.border_attacks import (
    ATTACKS,
    HONEST_QUERIES,
    IMPORTS,
    POOLED,
    QUERIES,
    attack,
)
from tests.traps.border_guards import GUARDS, LOOK_UP, VICTIMS, guard

LOCAL = pytest.param("local", marks=pytest.mark.xdist_group("border"))
DOCKER = pytest.param("docker", marks=pytest.mark.engine)

WHITE_BOX = {"needs": ["loss", "gradients"], "threat_models": ["evasion"]}
LABELS = {"threat_models": ["evasion-query"]}
VICTIM = {
    "hooks": ["build", "recipe"],
    "offers": ["loss", "gradients"],
    "entry": "victim.py:Tiny",
    "params": {"steps": {"type": "int", "default": 30, "min": 1}},
}
BY = {"guards": "defense", "victims": "victim", "attacks": "attack", "queries": "attack"}
"""Matrix → role of its traps."""
ROWS = [(name, trap) for name, traps in TABLES.items() for trap in traps]


@pytest.fixture(scope="module", params=[LOCAL, DOCKER])
def executor(request):
    return request.param


@pytest.fixture(scope="module")
def ran(tmp_path_factory, executor):
    """All matrices, run once: the checkout, and what is left in the folder of temporary files."""
    checkout = Checkout(tmp_path_factory.mktemp(f"border-{executor}"))
    before, tempfile.tempdir = tempfile.tempdir, tempfile.mkdtemp(prefix="b-")  # names are short
    try:
        play(checkout, executor)
        yield checkout, os.listdir(tempfile.tempdir)
    finally:
        shutil.rmtree(tempfile.tempdir)
        tempfile.tempdir = before


def play(checkout, executor):
    """Run every trap beside the honest cells."""
    chosen = {
        name: [trap for trap, row in traps.items() if tried(name, trap, row, executor)]
        for name, traps in TABLES.items()
    }
    for name in chosen["guards"]:
        row = GUARDS[name]
        checkout.module("defense", name, row.body, hooks=["guard"], **row.fields or {})
    checkout.module("victim", "tiny", module_sources.VICTIM, **VICTIM)
    checkout.module("defense", "honest", guard(), hooks=["guard"])
    checkout.module("defense", "look-up", guard(LOOK_UP), hooks=["guard"])
    for name in chosen["victims"]:
        checkout.module("victim", name, VICTIMS[name].body, **VICTIM)
    for name in chosen["attacks"]:
        row = ATTACKS[name]
        checkout.module("attack", name, row.body, **WHITE_BOX | (row.fields or {}))
    checkout.module("attack", "search", attack(), **WHITE_BOX)
    for name in chosen["queries"]:
        checkout.module("attack", name, QUERIES[name].body, **LABELS)
    checkout.module("attack", "asks", IMPORTS + PERTURB.format(POOLED.format(HONEST_QUERIES)),
                    **LABELS)  # fmt: skip
    checkout.benchmark(
        matrix("guards", attacks=["search"], defenses=["honest", *chosen["guards"]]),
        matrix("victims", victims=["tiny", *chosen["victims"]], attacks=["search"]),
        matrix("attacks", attacks=["search", *chosen["attacks"]], defenses=["look-up"]),
        matrix("queries", **QUERY | {"attacks": ["asks", *chosen["queries"]]}),
        matrix(
            "oracles",
            **QUERY | {"attacks": ["asks"]},
            defenses=[
                "honest",
                *(one for one in ORACLE_GUARDS if tried("oracles", one, GUARDS[one], executor)),
            ],
        ),
    )
    checkout.run(executor=executor)


def tried(name, trap, row, executor):
    """Whether a trap is tried in an executor."""
    return trap in CONTAINED[name] if executor == "docker" else row.local


@pytest.fixture(scope="module")
def record(ran):
    records = list(ran[0].records().values())

    def find(name, victim="tiny", defense="none", attack="search"):
        (found,) = (
            r
            for r in records
            if (r.cell.matrix, r.cell.victim, r.cell.defense, r.cell.attack)
            == (name, victim, defense, attack)
        )
        return found

    return find


def place(name, trap):
    """Where a trap plays, by its matrix; ``None`` is the honest cell."""
    return {
        "guards": {"defense": trap or "honest"},
        "victims": {"victim": trap or "tiny"},
        "attacks": {"attack": trap or "search", "defense": "look-up"},
        "queries": {"attack": trap or "asks"},
        "oracles": {"attack": "asks", "defense": trap or "honest"},
    }[name]


def flags(found):
    return {flag.name for flag in found.flags}


def check(found, honest, row, by):
    assert (found.status, found.reason or "") == (row.status, found.reason or "")
    if row.status != "ok":
        assert row.words in found.reason
        assert found.by == by
        assert found.reason.isprintable()
        assert not found.metrics
        return
    assert row.flags <= flags(found)
    assert row.flags or not flags(found)
    assert found.metrics["clean_accuracy"].value > 0.7
    if row.equal:
        assert found.metrics == honest.metrics
        assert found.outcomes == honest.outcomes
        assert found.perturbation == honest.perturbation
    elif not row.flags and by != "victim":  # seeds differ between victims
        robust = "robust_accuracy"
        assert found.metrics[robust].value <= honest.metrics[robust].value or by == "attack"


@pytest.mark.parametrize(("name", "trap"), ROWS)
def test_each_trap_ends_rightly_and_names_the_right_side(record, executor, name, trap):
    row = TABLES[name][trap]
    if not tried(name, trap, row, executor):
        assert row.local or row.why
        return
    check(record(name, **place(name, trap)), record(name, **place(name, None)), row, BY[name])


@pytest.mark.parametrize("trap", ORACLE_GUARDS)
def test_a_guard_gains_nothing_in_a_query_oracle(record, executor, trap):
    row = GUARDS[trap]
    if not tried("oracles", trap, row, executor):
        return
    found, honest = (record("oracles", **place("oracles", one)) for one in (trap, None))
    check(found, honest, row, "defense")


@pytest.mark.parametrize("name", [*TABLES, "oracles"])
def test_the_honest_cell_beside_them_has_a_result_without_a_flag(record, name):
    found = record(name, **place(name, None))
    assert found.status == "ok"
    assert flags(found) == set()
    clean, robust = (found.metrics[one].value for one in ("clean_accuracy", "robust_accuracy"))
    assert clean > robust + 0.04  # the attack finds something


@pytest.mark.parametrize("trap", ["asks", "pools", "pools-first"])
def test_no_example_gets_more_queries_than_the_record_says(record, executor, trap):
    if trap in QUERIES and not tried("queries", trap, QUERIES[trap], executor):
        return
    found, honest = record("queries", attack=trap), record("queries", attack="asks")
    assert found.queries["max"] <= 3
    assert found.metrics["robust_accuracy"].value >= honest.metrics["robust_accuracy"].value


def test_an_attack_never_harms_the_defence(record, executor):
    for trap, row in ATTACKS.items():
        if not tried("attacks", trap, row, executor):
            continue
        found = record("attacks", attack=trap, defense="look-up")
        assert (found.by if found.status != "ok" else None) in (None, "attack")
        assert flags(found) == set()


def test_nothing_is_left(ran, executor):
    checkout, left = ran
    assert checkout.processes() == []
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []
    assert left == []
    if executor == "docker":
        assert ours() == []
