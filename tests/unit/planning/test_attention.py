"""Maps of where networks look: planned where a matrix keeps them, and nowhere else."""

import pytest

from harness.planning.options import MapsOptions
from harness.planning.recipe import MeasureRecipe
from tests.support.errors import raises_error
from tests.support.workspaces import BACKDOOR, POISONING, Checkout, cell, matrix

KEPT = {"keep": {"attention": True}}
BOTH = {"keep": {"examples": 3, "attention": ["grad-cam", "activation"]}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("plan"))


def kinds(plan):
    return [stage.kind for stage in plan.graph.stages.values()]


def test_clean_inputs_are_mapped_once_a_network_and_attacked_ones_for_each_attack(checkout):
    plan = checkout.plan(matrix(attacks=["noop", "sign"], defenses=["none", "guard"], **KEPT))
    assert kinds(plan).count("maps") == 2 * (1 + 2)
    noop, sign = (cell(plan, defense="guard", attack=name).stages for name in ("noop", "sign"))
    assert noop["maps_before"] == sign["maps_before"]
    assert noop["maps_after"] != sign["maps_after"]


def test_a_stage_of_maps_gets_inputs_and_the_answering_network_alone(checkout):
    plan = checkout.plan(matrix(**BACKDOOR, defenses=["guard"], **BOTH))
    one = cell(plan, defense="guard")
    for role, x in (("maps_before", (one.stages["slice"], "x")),
                    ("maps_after", (one.stages["attack"], "attacked"))):  # fmt: skip
        stage = plan.graph.stages[one.stages[role]]
        assert {*stage.inputs} == {"weights", "x", "spec"}
        assert tuple(stage.inputs["x"]) == x
        assert {*stage.modules} == {"victim", "defense"}
        assert stage.recipe.options == MapsOptions(20, ("activation", "grad-cam"))


def test_without_maps_every_key_is_as_it_was(checkout):
    plain = checkout.plan(matrix(**BACKDOOR))
    off = checkout.plan(matrix(**BACKDOOR, keep={"examples": 8, "attention": False}))
    assert list(plain.graph.stages) == list(off.graph.stages)
    assert "maps" not in kinds(plain)
    assert MeasureRecipe(8).to_json() == {"keep": 8}
    kept = checkout.plan(matrix(**BACKDOOR, **KEPT))
    new = {kept.graph.stages[key].kind for key in kept.graph.stages.keys() - plain.graph.stages}
    assert new == {"maps", "measure"}
    assert MapsOptions(5, ("activation",)).to_json() == {"batch": 5, "modes": ["activation"]}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("attention-without-test-inputs", POISONING),
        ("attention-without-classes", {"data": {"student": "digit-scenes"}}),
    ],
)
def test_maps_of_nothing_are_refused(checkout, code, changes):
    where = "<tmp>/benchmarks/b/benchmark.yaml:39:5: matrices[0].keep.attention"
    with raises_error(code, where=where):
        checkout.plan(matrix(**changes, keep={"attention": True}))
