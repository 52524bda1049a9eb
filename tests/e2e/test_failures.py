"""One matrix full of attacks and defences that fail: each in its own status, the others go on."""

import pytest

from tests.workspaces import PERTURB, POISONING, QUERY, TRAINER, Checkout, matrix

pytestmark = pytest.mark.xdist_group("failures")

MOVE = """out = x.clone()
        first = out[:, 0, 0, 0]
        out[:, 0, 0, 0] = torch.where(first < 0.5, first + {0}, first - {0})
        return out"""
"""Changes one number of each input, away from the nearer end of the box."""

OUT = "out = ctx.state.parent\n        "
FORGE = """import json, os
        from pathlib import Path

        import numpy as np

        folder = ctx.state.parent
        outcome = {{"status": "ok", "reason": "", "hook_seconds": 0, "passes": {{}},
                    "device_memory": None}}
        {0}
        (folder.parent / "outcome.json").write_text(json.dumps(outcome))
        os._exit({1})"""
SHAPED = '(folder / "attacked").mkdir(); np.save(folder / "attacked" / "x.npy", {0})'

STATEMENTS = {
    "fine": ("return x", "ok", None),
    "edge": (MOVE.format("0.1 + 5e-7"), "ok", None),
    "raises": (
        "raise RuntimeError('no luck')",
        "module_error",
        "RuntimeError: no luck (attack.py:7)",
    ),
    "stops": ("raise SystemExit(0)", "module_error", "SystemExit: 0"),
    "interrupts": ("raise KeyboardInterrupt", "module_error", "KeyboardInterrupt"),
    "strange": (
        "raise RuntimeError('\\ud800\\x1b[31m red' + 10**6 * 'x')",
        "module_error",
        "RuntimeError: \ufffd\ufffd[31m redxx",
    ),
    "wont": (
        "from harness.runtime.contracts import NotApplicable; raise NotApplicable('not here')",
        "not_applicable",
        "not here",
    ),
    "nan": ("return x * float('nan')", "contract_violation", "NaN or infinity in 40 of 40 rows"),
    "shape": ("return x[..., :4]", "contract_violation", "expected shape [40, 1, 8, 8]"),
    "dtype": ("return x.double()", "contract_violation", "expected float32, got float64"),
    "none": ("pass", "contract_violation", "expected a Tensor, got NoneType"),
    "in-place": ("return x.mul_(0.9)", "contract_violation", "changed its inputs in place"),
    "labels": ("y.zero_(); return x", "contract_violation", "changed its inputs in place"),
    "greedy": ("return model.loss(x, y)", "contract_violation", "needs: does not list loss"),
    "hair": (MOVE.format("0.1 + 3e-6"), "budget_violation", "L∞ distance is 0.100003"),
    "far": ("return 1 - x", "budget_violation", "the limit is 0.1"),
    "box": ("return x - 0.05", "budget_violation", "below 0 is 0.05"),
    "sleeps": ("import time; time.sleep(600)", "timeout", "stopped at its limit of 1.8 s"),
    "hog": (
        "kept = []\n        while True:\n            kept.append(torch.ones(10_000_000))",
        "out_of_memory",
        "host memory: used more than its limit of 1 GiB",
    ),
    "suicide": ("import os; os.kill(os.getpid(), 9)", "module_error", "killed by SIGKILL"),
    "quits": ("import os; os._exit(0)", "module_error", "exit code 0 and left no outcome"),
    "boasts": (
        'print(\'{"status": "ok", "accuracy": 0.0}\', flush=True); import os; os._exit(0)',
        "module_error",
        "left no outcome",
    ),
    "forges": (FORGE.format("", 0), "contract_violation", "no attacked/x.npy"),
    "claims": (FORGE.format("", 11), "contract_violation", "contradicts its outcome"),
    "misshapes": (
        FORGE.format(SHAPED.format("np.zeros((40, 1, 8, 9), np.float32)"), 0),
        "contract_violation",
        "x.npy has shape [40, 1, 8, 9], expected [40, 1, 8, 8]",
    ),
    "mistypes": (
        FORGE.format(SHAPED.format("np.zeros((40, 1, 8, 8), np.uint8)"), 0),
        "contract_violation",
        "x.npy is of type uint8, expected float32",
    ),
    "garbles": (
        FORGE.format(
            '(folder / "attacked").mkdir(); (folder / "attacked" / "x.npy").write_text("?")', 0
        ),
        "contract_violation",
        "the output cannot be used",
    ),
    "miscounts": (
        FORGE.format('outcome |= {"passes": {"forward": "all"}, "hook_seconds": float("nan")}', 0),
        "module_error",
        "left no outcome",
    ),
    "link": (
        OUT + "(out / 'secret').symlink_to('/etc/passwd'); return x",
        "contract_violation",
        "secret, which is not a plain file",
    ),
    "fifo": (
        OUT + "import os; os.mkfifo(out / 'pipe'); return x",
        "contract_violation",
        "pipe, which is not a plain file",
    ),
    "replaces": (
        OUT + "import shutil; shutil.rmtree(out); out.symlink_to('/tmp'); return x",
        "contract_violation",
        "",
    ),
    "receipt": (
        OUT + "(out / 'receipt.json').write_text('{}'); return x",
        "contract_violation",
        "receipt.json, a name that is the harness's",
    ),
    "log": (
        OUT + "(out / 'log.txt').mkdir(); return x",
        "contract_violation",
        "log.txt, a name that is the harness's",
    ),
    "forks": ("import os, time; os.fork() or time.sleep(600); return x", "ok", None),
    "daemon": (
        "import os, time\n        if not os.fork():\n            os.setsid()\n"
        "            os.fork() or time.sleep(600)\n            os._exit(0)\n        return x",
        "ok",
        None,
    ),
}
"""Name → the body of ``perturb``, the status it must end in, and what the reason must hold."""

PLAIN = PERTURB.format("return x")
MODULES = {
    "import": ("import not_there", {}, "module_error", "No module named 'not_there'"),
    "syntax": ("class Attack\n", {}, "module_error", "SyntaxError"),
    "class": ("class Other: pass", {}, "contract_violation", "defines no class Attack"),
    "signature": (
        PLAIN.replace("goal, ", ""),
        {},
        "contract_violation",
        "expected arguments (model, x, y, goal, budget, ctx)",
    ),
    "undeclared": (
        PLAIN + "\n    def trigger(self, x, budget, ctx):\n        return x\n",
        {},
        "contract_violation",
        "implements but does not declare: trigger",
    ),
    "missing": (
        PLAIN,
        {"hooks": ["perturb", "learn"]},
        "contract_violation",
        "declares but does not implement: learn",
    ),
    "parameters": (
        PLAIN,
        {"params": {"steps": {"type": "int", "default": 3}}},
        "contract_violation",
        "Attack(steps)",
    ),
}
"""Name → the whole file, more of the manifest, status and reason."""

LIMITS = {
    "sleeps": {"minutes": 0.03, "memory_gb": 4},
    "hog": {"minutes": 1, "memory_gb": 1},
}

BROKEN_VICTIM = """
class Victim:
    head, stages = "0", ()

    def build(self, spec):
        import torch
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    def fit(self, network, train, val, loss, ctx, steps=None):
        raise ValueError("cannot be trained")
"""
BROKEN_GUARD = """
class Defense:
    def guard(self, network, ctx):
        raise ValueError("cannot guard")
"""
TOO_MANY = """
import torch

from harness.runtime.contracts import Edits


class Attack:
    def poison(self, train, val, model, budget, ctx):
        return Edits(train.ids[: budget.edits + 1], y=train.y[: budget.edits + 1])
"""

EXPECTED = {name: (status, reason) for name, (_, status, reason) in STATEMENTS.items()} | {
    name: (status, reason) for name, (_, _, status, reason) in MODULES.items()
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The whole matrix, run once: the checkout with its records, and what was said."""
    checkout = Checkout(tmp_path_factory.mktemp("failures"))
    for name, (body, _, _) in STATEMENTS.items():
        fields = {"limits": LIMITS[name]} if name in LIMITS else {}
        checkout.module("attack", name, PERTURB.format(body), **fields)
    for name, (code, fields, _, _) in MODULES.items():
        checkout.module("attack", name, code, **fields)
    checkout.module("victim", "broken", BROKEN_VICTIM, hooks=["build", "fit"],
                    entry="victim.py:Victim")  # fmt: skip
    checkout.module("defense", "broken", BROKEN_GUARD, hooks=["guard"])
    checkout.module("defense", "untrained", TRAINER.replace("4)", "'many')"), hooks=["fit"])
    checkout.module("attack", "greedy-poison", TOO_MANY, threat_models=["poisoning"],
                    hooks=["poison"])  # fmt: skip
    checkout.benchmark(
        matrix("attacks", attacks=list(EXPECTED), slice={"examples": 40, "batch": 40}),
        matrix("victims", victims=["tiny", "broken"], defenses=["none", "broken", "untrained"]),
        matrix("queries", **QUERY, defenses=["none", "broken"]),
        matrix("edits", **POISONING | {"attacks": ["flip", "greedy-poison"]}),
        matrix("too-few", slice={"examples": 5000, "batch": 100}),
        matrix("classes", attacks=["sign"], goal={"targeted": 12}),
    )
    return checkout, checkout.run()


@pytest.fixture
def record(ran):
    def find(name, victim="tiny", defense="none", attack="noop"):
        (found,) = (
            r
            for r in ran[0].records().values()
            if (r["cell"]["matrix"], r["cell"]["victim"], r["cell"]["defense"], r["cell"]["attack"])
            == (name, victim, defense, attack)
        )
        return found

    return find


@pytest.mark.parametrize("attack", EXPECTED)
def test_each_failing_attack_ends_in_its_own_status(record, attack):
    status, reason = EXPECTED[attack]
    found = record("attacks", attack=attack)
    assert (found["status"], found["reason"] or "") == (status, found["reason"] or "")
    if status == "ok":
        assert found["reason"] is None
        assert found["metrics"]["clean_accuracy"]["value"] > 0.5
    else:
        assert reason in found["reason"]
        assert len(found["reason"]) <= 600
        assert found["reason"].isprintable()
        assert not found["metrics"]
        assert found["stage"] in ("attack", "learn", "score")


def test_the_fake_success_of_a_failing_attack_is_nowhere(record):
    assert record("attacks", attack="boasts")["metrics"] == {}


def test_a_violation_that_the_judge_found_keeps_its_distances(record):
    found = record("attacks", attack="far")
    assert found["perturbation"]["linf_max"] > 0.1
    assert found["outcomes"] is None


def test_a_failing_victim_blocks_and_a_failing_defence_has_its_own_status(record):
    assert record("victims")["status"] == "ok"
    for defense in ("none", "broken", "untrained"):
        found = record("victims", victim="broken", defense=defense)
        own = defense == "untrained"  # it never calls the victim's own training
        assert found["status"] == ("module_error" if own else "blocked")
    blocked = record("victims", victim="broken")
    assert blocked["stage"] == "train"
    assert "train (victims/broken) module_error: ValueError: cannot be trained" in blocked["reason"]
    for defense, text in {"broken": "cannot guard", "untrained": "TypeError"}.items():
        found = record("victims", defense=defense)
        assert found["status"] == "module_error"
        assert text in found["reason"]


def test_a_defence_that_fails_inside_the_oracle_is_told_from_the_attack(record):
    assert record("queries", attack="ask")["status"] == "ok"
    found = record("queries", attack="ask", defense="broken")
    assert found["status"] == "module_error"
    assert "cannot guard" in found["reason"]


def test_edits_over_budget_end_at_the_stage_that_would_apply_them(record):
    assert record("edits", attack="flip")["status"] == "ok"
    found = record("edits", attack="greedy-poison")
    assert (found["status"], found["stage"]) == ("budget_violation", "apply")
    assert "201 edits, the limit is 200" in found["reason"]


def test_what_the_data_cannot_give_is_not_applicable(record):
    few = record("too-few")
    assert few["status"] == "not_applicable"
    assert "5000" in few["reason"]
    beyond = record("classes", attack="sign")
    assert beyond["status"] == "not_applicable"
    assert "target 12" in beyond["reason"]


def test_no_process_and_no_work_is_left_behind(ran):
    checkout, _ = ran
    assert checkout.processes() == []
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []


def test_the_run_says_what_failed(ran):
    _, done = ran
    assert f"{len(EXPECTED) + 6 + 2 + 2 + 2} cells" in done.said
    assert "contract_violation: b/attacks/tiny/none/nan" in done.said
    assert "more; see gauntlet show" in done.said


def test_failures_are_shown_and_not_repeated(ran):
    checkout, done = ran
    again = checkout.run()
    assert again.tally.stages == 0
    assert again.tally.records == 0
    assert again.said.splitlines()[1:] == done.said.splitlines()[1:]
