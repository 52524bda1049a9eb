"""Attacks with one wrong statement, or a wrong file."""

from __future__ import annotations

from tests.support.module_sources import PERTURB

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
                    "device_memory": None, "breach": "", "waiting": None, "graphs": 0}}
        {0}
        os.write(4, json.dumps(outcome).encode())
        os._exit({1})"""
"""Reports an outcome over the worker's pipe in its place, and ends with an exit code."""

LEAVES_OUTCOME = """import json, os
        outcome = {"status": "not_applicable", "reason": "not mine", "by": "victim", "passes": {},
                   "hook_seconds": 0, "device_memory": None, "breach": "", "waiting": None,
                   "graphs": 0}
        for folder in (ctx.state.parent, ctx.state.parent.parent, ctx.scratch):
            (folder / "outcome.json").write_text(json.dumps(outcome))
        os._exit(99)"""

SHAPED = '(folder / "attacked").mkdir(exist_ok=True); np.save(folder / "attacked" / "x.npy", {0})'

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
    "drops": ("return x[: len(x) // 2]", "contract_violation", "expected shape [40, 1, 8, 8]"),
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
    "quits": ("import os; os._exit(0)", "module_error", "exit code 0 and reported no outcome"),
    "boasts": (
        'print(\'{"status": "ok", "accuracy": 0.0}\', flush=True); import os; os._exit(0)',
        "module_error",
        "reported no outcome",
    ),
    "own-outcome": (LEAVES_OUTCOME, "module_error", "exit code 99 and reported no outcome"),
    "forges": (FORGE.format("", 0), "contract_violation", "the output cannot be used"),
    "claims": (FORGE.format("", 11), "contract_violation", "contradicts its outcome"),
    "accuses": (
        FORGE.format(
            'outcome |= {"status": "not_applicable", "reason": "a rule says so", "by": "rule"}', 1
        ),
        "not_applicable",
        "a rule says so",
    ),
    "blames-victim": (
        FORGE.format(
            'outcome |= {"status": "not_applicable", "reason": "not mine", "by": "victim"}', 1
        ),
        "not_applicable",
        "not mine",
    ),
    "pretends": (
        FORGE.format('outcome |= {"status": "blocked", "reason": "all others failed"}', 1),
        "contract_violation",
        "contradicts its outcome, which claims 'blocked'",
    ),
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
            '(folder / "attacked").mkdir(exist_ok=True); '
            '(folder / "attacked" / "x.npy").write_text("?")',
            0,
        ),
        "contract_violation",
        "the output cannot be used",
    ),
    "miscounts": (
        FORGE.format('outcome |= {"passes": {"forward": "all"}, "hook_seconds": float("nan")}', 0),
        "module_error",
        "reported no outcome",
    ),
    "link": (
        OUT + "(out / 'secret').symlink_to('/etc/passwd'); return x",
        "contract_violation",
        "secret, which is not a plain file",
    ),
    "hard-link": (
        OUT + "import os; (out / 'a').write_text('a'); os.link(out / 'a', out / 'b'); return x",
        "contract_violation",
        "a hard link",
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
