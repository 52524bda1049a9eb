"""Values that cross from networks and hooks: copied, checked, and the right side named."""

import pytest

from tests.support.module_sources import PERTURB, SIGN, VICTIM, guarded
from tests.support.whole_run import find, value
from tests.support.workspaces import BACKDOOR, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

REPAIR = """
from torch import nn


class Defense:
    def repair(self, victim, network, clean, ctx):
        {}
"""

HONEST = "return self.network(x)"
BUFFER = """out = self.network(x)
        if torch.is_grad_enabled():
            return out
        if self.kept is None:
            self.kept = torch.empty(64, out.shape[1])
        self.kept[: len(out)] = out
        return self.kept[: len(out)]"""

IN_PLACE = "the network changed its inputs in place; work on a copy (x.clone())"
SQUEEZED = (
    "the network returned shape [10] for 1 inputs, expected [1, 10]; "
    "keep the first dimension, also for one input"
)


def typed(name):
    return f"the network returned {name}, expected float32; return outputs.float()"


WRONG = {
    "writes": ("return self.network(x.mul_(7).round_().div_(7))", IN_PLACE),
    "rewrites": ("x.data.zero_(); return self.network(x)", IN_PLACE),
    "halves": ("return self.network(x).half()", typed("float16")),
    "doubles": ("return self.network(x).double()", typed("float64")),
    "squeezes": ("return self.network(x).squeeze()", SQUEEZED),
}
"""Name → a guard that answers wrongly, and what is said of it."""

DEPENDENT = {
    "relates": "out = self.network(x); return out - out.mean(0, keepdim=True)",
    "leaks": "return self.network(x) + 0.3 * x[0].mean()",
}
"""Guards whose answers depend on the other inputs of the batch."""

VICTIMS = {
    "float16": ("out.half()", typed("float16")),
    "bfloat16": ("out.bfloat16()", typed("bfloat16")),
    "float64": ("out.double()", typed("float64")),
    "squeezed": ("out.squeeze()", SQUEEZED),
}
"""Name → a victim's answer, and what is said of it."""

ODD = VICTIM.replace("return nn.Sequential(", "return Odd(").replace(
    "class Tiny", """class Odd(nn.Sequential):
    def forward(self, x):
        out = super().forward({})
        return {}


class Tiny""")  # fmt: skip

REPAIRS = {
    "tuple": ("return network, 0.5", "repair() returned tuple, expected nn.Module"),
    "half": ("return network.half()", "1.bias is float16 and not float32"),
    "fused": ("return nn.Sequential(network)", "0.1.bias is not among them"),
}
"""Name → a repair that leaves no network of the victim's form, and what is said of it."""

FIT = """
from torch import nn


class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        network[4] = nn.Linear(16, 11)
"""

SCENES = """
from torch import nn

from harness.runtime.recipe import Recipe


class Tiny:
    head, stages = "0", ("0",)

    def build(self, spec):
        return nn.Sequential(nn.Conv2d(spec.shape[0], spec.outputs, 3, padding=1))

    def recipe(self, train):
        return Recipe(steps=5, batch=16, lr=0.02)
"""
NAN = {
    "blanks": "return self.network(x) * torch.nan",
    "infinite": (
        "out = self.network(x)\n"
        "        return out.where(out < out.amax(1, keepdim=True), torch.inf)"
    ),
}
SEGMENTATION = {
    "data": {"student": "digit-scenes"},
    "victims": ["scenes"],
    "eval_subset": {"examples": 6, "batch": 3},
}
MAPS = ("clean_miou", "miou", "clean_pixel_accuracy", "pixel_accuracy")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("border"))
    both = {"tasks": ["classification", "segmentation"]}
    guards = {name: forward for name, (forward, _) in WRONG.items()} | DEPENDENT | NAN
    for name, forward in (guards | {"honest": HONEST, "buffers": BUFFER}).items():
        checkout.module("defense", name, guarded(forward), hooks=["guard"], **both)
    noise = guarded("return self.network(x) + torch.randn(())")
    checkout.module("defense", "noisy", noise, hooks=["guard"], random=True)
    for name, (repair, _) in REPAIRS.items():
        checkout.module("defense", f"repair-{name}", REPAIR.format(repair), hooks=["repair"])
    checkout.module("defense", "swaps", FIT, hooks=["fit"])
    checkout.module("attack", "noop", PERTURB.format("return x"), **both)
    victim = {"hooks": ["build", "recipe"], "offers": ["loss"], "entry": "victim.py:Tiny"}
    steps = {"params": {"steps": {"type": "int", "default": 30, "min": 1}}}
    for name, (after, _) in VICTIMS.items():
        checkout.module("victim", name, ODD.format("x", after), **victim, **steps)
    writer = ODD.format("x.sub_(0.5) if not self.training else x - 0.5", "out")
    checkout.module("victim", "writer", writer, **victim, **steps)
    checkout.module("victim", "scenes", SCENES, **victim, tasks=["segmentation"])
    kept = SIGN.replace("return (x + sign * budget.eps * g.sign()).clamp(0, 1).detach()", "pass")
    assert kept != SIGN
    checkout.module("attack", "buffered", kept + """
        if getattr(self, "kept", None) is None:
            self.kept = torch.empty(20, *x.shape[1:])
        out = self.kept[: len(x)]
        out.copy_((x + sign * budget.eps * g.sign()).clamp(0, 1).detach())
        return out
""", needs=["loss"])  # fmt: skip
    checkout.benchmark(
        matrix("wrong", defenses=[*WRONG, "swaps"]),
        matrix(
            "right",
            attacks=["noop", "sign", "buffered"],
            defenses=["none", "honest", "buffers", "noisy", *DEPENDENT],
        ),
        matrix("victims", victims=[*VICTIMS, "writer"], defenses=["none", "honest"]),
        matrix("repairs", **BACKDOOR, defenses=[f"repair-{n}" for n in REPAIRS], clean=50),
        matrix("scenes", **SEGMENTATION, defenses=["honest", *NAN]),
        matrix("single", defenses=["none", "honest"], eval_subset={"examples": 1, "batch": 1}),
        matrix("control", **BACKDOOR | {"attacks": ["patch"]}, defenses=["none", "relates"]),
    )
    checkout.run()
    return checkout


def flags(record):
    return {flag.name for flag in record.flags}


@pytest.mark.parametrize("name", WRONG)
def test_a_guard_that_answers_wrongly_is_the_defence_s_fault(checkout, name):
    record = find(checkout, matrix="wrong", defense=name)
    assert record.by == "defense"
    assert record.status in ("contract_violation", "blocked")
    assert f"defence: {WRONG[name][1]}" in record.reason


@pytest.mark.parametrize("defense", ["none", "honest"])
@pytest.mark.parametrize("name", VICTIMS)
def test_a_victim_that_answers_wrongly_is_at_fault_behind_a_guard_too(checkout, name, defense):
    record = find(checkout, matrix="victims", victim=name, defense=defense)
    assert record.by == "victim"
    assert VICTIMS[name][1] in record.reason


@pytest.mark.parametrize("defense", ["none", "honest"])
def test_a_victim_that_writes_into_its_inputs_is_at_fault(checkout, defense):
    record = find(checkout, matrix="victims", victim="writer", defense=defense)
    assert record.by == "victim"
    assert f"victim: {IN_PLACE}" in record.reason


@pytest.mark.parametrize("attack", ["noop", "sign"])
def test_an_honest_network_that_answers_in_one_buffer_has_the_honest_figures(checkout, attack):
    honest, buffered = (
        find(checkout, matrix="right", defense=name, attack=attack)
        for name in ("honest", "buffers")
    )
    assert buffered.status == "ok"
    assert buffered.metrics == honest.metrics
    assert flags(buffered) == flags(honest) == set()
    assert value(buffered, "clean_accuracy") > 0.7


@pytest.mark.parametrize("defense", ["none", "honest"])
def test_an_attack_with_a_result_buffer_has_the_figures_of_one_without(checkout, defense):
    plain, buffered = (
        find(checkout, matrix="right", defense=defense, attack=name)
        for name in ("sign", "buffered")
    )
    assert buffered.status == "ok"
    assert buffered.metrics == plain.metrics


@pytest.mark.parametrize("attack", ["noop", "sign"])
@pytest.mark.parametrize("name", DEPENDENT)
def test_answers_that_depend_on_the_batch_are_flagged(checkout, name, attack):
    record = find(checkout, matrix="right", defense=name, attack=attack)
    assert record.status == "ok"
    assert "batch_dependent" in flags(record)


@pytest.mark.parametrize(("defense", "flagged"), [("none", False), ("relates", True)])
def test_answers_of_the_cell_s_own_network_are_compared(checkout, defense, flagged):
    record = find(checkout, matrix="control", defense=defense)
    assert record.status == "ok"
    assert ("batch_dependent" in flags(record)) is flagged


def test_a_defence_that_is_random_by_its_manifest_is_not_compared(checkout):
    record = find(checkout, matrix="right", defense="noisy", attack="sign")
    assert record.status == "ok"
    assert not flags(record) & {"batch_dependent", "different_under_attack"}


@pytest.mark.parametrize("name", REPAIRS)
def test_what_repair_returns_is_checked_there(checkout, name):
    record = find(checkout, matrix="repairs", defense=f"repair-{name}")
    assert (record.status, record.by, record.stage) == ("contract_violation", "defense", "repair")
    assert REPAIRS[name][1] in record.reason


def test_a_network_that_fit_changed_is_the_defence_s_fault_there(checkout):
    record = find(checkout, matrix="wrong", defense="swaps")
    assert (record.status, record.by, record.stage) == ("contract_violation", "defense", "train")
    assert "4.weight has shape [11, 16] and not [10, 16]" in record.reason


@pytest.mark.parametrize("name", NAN)
def test_maps_that_are_not_finite_are_wrong_and_counted(checkout, name):
    honest = find(checkout, matrix="scenes", defense="honest")
    assert honest.status == "ok"
    assert value(honest, "clean_miou") > 0
    record = find(checkout, matrix="scenes", defense=name)
    assert record.status == "ok"
    assert [value(record, metric) for metric in MAPS] == [0, 0, 0, 0]
    assert "nonfinite_outputs" in flags(record)
    assert "nonfinite_outputs" not in flags(honest)


@pytest.mark.parametrize("defense", ["none", "honest"])
def test_one_example_is_a_batch(checkout, defense):
    assert find(checkout, matrix="single", defense=defense).status == "ok"
