"""Matrices whose attacks a defence can blind all at once: the plan and ``check`` say so."""

from pathlib import Path

import pytest
from rich.console import Console

from harness.commands.check import check
from harness.config.threat import THREATS
from harness.planning.attack_floor import KINDS, missing_kinds
from harness.workspace import Workspace
from tests.support.module_sources import PERTURB
from tests.support.workspaces import QUERY, Checkout, matrix

STAY = PERTURB.format("return x")
GRADIENT, ASKS, CONTROL, SECOND = KINDS
LOSS = {"loss": {"type": "str", "default": "ce", "choices": ["ce", "dlr"]}}
L2 = {"budgets": [{"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 1}]}


@pytest.fixture
def own(tmp_path):
    """A checkout with a gradient attack that has both losses, and a query attack."""
    checkout = Checkout(tmp_path)
    checkout.module("attack", "climb", STAY, needs=["loss", "gradients"], params=LOSS,
                    scale_invariant_when={"loss": ["dlr"]},
                    variants={"dlr": {"loss": "dlr"}})  # fmt: skip
    checkout.module("attack", "linf-only", STAY, needs=["gradients"],
                    scale_invariant_when={}, requires=[{"limits": ["linf"]}])  # fmt: skip
    checkout.module("attack", "asks", STAY, threat_models=["evasion", "evasion-query"])
    checkout.module("attack", "asks-only", STAY, threat_models=["evasion-query"])
    return checkout


CASES = [
    (["noop", "climb/dlr", "asks"], {}, ()),
    (["noop", "climb/dlr", "asks"], L2, ()),
    (["noop", "climb", "asks"], {}, (GRADIENT,)),
    (["noop", "linf-only", "asks"], {}, ()),
    (["noop", "linf-only", "asks"], L2, (GRADIENT, SECOND)),  # no cell of it under L2
    (["noop", "climb/dlr", "asks-only"], {}, (ASKS, SECOND)),
    (["climb/dlr", "asks"], {}, (CONTROL,)),
    (["climb"], {}, (GRADIENT, ASKS, CONTROL, SECOND)),
    (["noop", "climb", "climb/dlr", "asks"], {}, ()),
    (["asks", "asks-only"], QUERY, (SECOND,)),  # other threat models have no other floor
]


@pytest.mark.parametrize(("attacks", "changes", "missing"), CASES)
def test_a_plan_names_the_kinds_that_a_matrix_lacks(own, attacks, changes, missing):
    plan = own.plan(matrix(**changes | {"attacks": attacks}))
    assert plan.thin == ({"m": missing} if missing else {})


def test_a_part_of_a_plan_is_as_thin_as_the_whole(own):
    whole = matrix(attacks=["noop", "climb/dlr", "asks"])
    assert own.plan(whole, only={"attack": {"noop"}}).thin == {}


def test_a_task_without_a_floor_needs_two_families_only():
    assert missing_kinds(THREATS["evasion"], "segmentation", []) == [SECOND]
    assert missing_kinds(THREATS["evasion"], "classification", []) == list(KINDS)


def test_check_warns_of_a_thin_matrix_and_passes(own):
    name = own.benchmark(
        matrix("good", attacks=["noop", "climb/dlr", "asks"]),
        matrix("bad", attacks=["noop", "climb"]),
    )
    wanted = "matrix bad is thin: no scale-invariant gradient attack and no query attack and"
    for path in (None, Path(own.root / "benchmarks" / name)):
        console = Console(record=True, width=80)
        check(Workspace.at(own.root), path, "local", console)
        lines = console.export_text().splitlines()
        warnings = [line for line in lines if line.startswith("warning: ")]
        assert len(warnings) == 1
        assert wanted in warnings[0]
        assert "benchmark.yaml:" in warnings[0]
        assert "fine" in lines[-1]


@pytest.mark.parametrize("name", ["quick", "camvid"])
def test_bundled_benchmarks_lack_at_most_a_second_family(name):
    workspace = Workspace.here()
    thin = workspace.plan(workspace.benchmark(name)).thin
    assert set(thin.values()) == {(SECOND,)}
    assert not {"digits-linf", "digits-l2-targeted", "digit-ranking", "digit-scenes"} & set(thin)
