"""Modules that a run adds to matrices: which take them, and what stays as it is."""

import pytest

from harness.planning.added_entries import Added
from tests.support.errors import raises_error
from tests.support.module_sources import ALL_THREATS
from tests.support.workspaces import POISONING, Checkout, matrix

MATRICES = (matrix("one"), matrix("two", attacks=["noop", "sign"]), matrix("three", **POISONING))


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.benchmark(*MATRICES)
    return made


def attacks(checkout, *texts):
    found = checkout.workspace().benchmark("b", texts)
    return {one.name: [entry.label for entry in one.attacks] for one in found.matrices}


def test_a_module_is_put_into_each_matrix_that_it_is_meant_for(checkout):
    assert attacks(checkout, "attack=sign") == {
        "one": ["noop", "sign"],
        "two": ["noop", "sign"],  # it was there
        "three": ["flip"],  # of another threat model
    }


def test_its_cells_have_the_keys_of_a_written_entry(checkout):
    added = checkout.workspace().benchmark("b", ["attack=sign"])
    planned = checkout.workspace().plan(added)
    checkout.benchmark(matrix("one", attacks=["noop", "sign"]), *MATRICES[1:])
    assert planned.cells == checkout.plan().cells


def test_defences_and_several_modules_are_added(checkout):
    code = "class Defense:\n    pass\n"
    checkout.module("defense", "more", code, threat_models=ALL_THREATS, hooks=[])
    added = ["attack=sign", "defense=more"]
    found = checkout.workspace().benchmark("b", added).matrices
    assert [one.label for one in found[0].attacks] == ["noop", "sign"]
    assert [[one.label for one in m.defenses] for m in found] == [["none", "more"]] * 3


def test_nothing_is_added_to_other_benchmarks_of_a_report(checkout):
    checkout.benchmark(matrix("p", **POISONING), name="c")
    found = checkout.workspace().benchmarks(["attack=sign"])
    labels = {one.name: [e.label for m in one.matrices for e in m.attacks] for one in found}
    assert labels == {"b": ["noop", "sign", "noop", "sign", "flip"], "c": ["flip"]}


@pytest.mark.parametrize("text", ["sign", "attack=", "ensemble=sign", "attack=/"])
def test_another_form_is_refused(text):
    with raises_error("with-of-another-form", where="--with", text=repr(text)):
        Added.parse(text)


def test_a_module_that_is_not_there_or_fits_nowhere_is_refused(checkout):
    with raises_error("with-of-no-module", where="--with"):
        attacks(checkout, "attack=sgin")
    checkout.benchmark(matrix("p", **POISONING), name="c")
    with raises_error("with-that-fits-nowhere", where="c"):
        checkout.workspace().benchmark("c", ["attack=sign"])
