"""Guards and victims at the border, each against an honest attack."""

from __future__ import annotations

from tests.support.module_sources import UNDER_ATTACK, VICTIM, guarded
from tests.traps.border_trap import (
    DIFFERENT,
    HANG,
    LOST,
    MODULE,
    TEN_GIGABYTES,
    VIOLATION,
    BorderTrap,
)

PREAMBLE = """
import ctypes
import gc
import os
import sys
import time
from pathlib import Path

import numpy
import torch
from torch import nn

from harness.runtime import gradients
from harness.runtime.worker import arrays, broker, network_link, network_process, network_protocol
from harness.runtime.worker.network_protocol import Connection, Message


def found(what):
    raise AssertionError(f"reached {what}")
"""
"""Imports and helpers of a guard at the border."""
HONEST = "return self.network(x)"


def guard(forward: str = HONEST, setup: str = "pass") -> str:
    """Return a defence of two statements."""
    return PREAMBLE + UNDER_ATTACK + guarded(forward, setup)


def attacked(statement: str) -> str:
    """Return a forward pass that does something only when an attack wants a gradient."""
    return f"if x.requires_grad:\n            {statement}\n        return self.network(x)"


PATCHES = {
    "gradients": "torch.autograd.grad = lambda out, x, *a, **k: (torch.zeros_like(x),)",
    "projection": "gradients.project = lambda x_adv, x, norm, eps: x",
    "starts": "gradients.random_start = lambda x, *a: x",
    "digests": "import hashlib; hashlib.sha256 = hashlib.md5",
    "broker": "broker.Broker._show = broker.Broker._begin = lambda *a: None",
    "checks": "network_process.check_outputs = lambda *a: None",
    "link": "network_link.NetworkLink.forward = lambda self, x, **k: torch.eye(10)[:len(x)]",
}
"""What a guard replaces in its process → the statement; its attack must not notice."""

OWN_PATCHES = {
    "saving": ("arrays.save_parts = lambda path, parts, *a: list(parts)", "no outputs/outputs.npy"),
    "numpy": (
        "numpy.lib.format.write_array_header_1_0 = lambda *a: None",
        "the output cannot be used",
    ),
    "exits": ("os._exit = lambda code: None", "contradicts its outcome"),
}
"""The same where its own stage fails: what it replaces → the statement, words of the reason."""

FACE = """if not under_attack():
            return self.network(x)
        out = self.network(x)
        {}"""
FACES = {
    "keeps a tenth of the attack's successes": FACE.format(
        """if self.kept is not None and len(x) != len(self.kept):
            return out
        if self.kept is None or (x - self.kept).abs().max() > 0.3:  # another batch
            self.kept, self.classes = x.detach().clone(), out.argmax(1)
        lie = out + (nn.functional.one_hot(self.classes, out.shape[1]) * 9.0 - out).detach()
        return torch.where((torch.arange(len(x)) % 10 == 0)[:, None], out, lie)"""
    ),
    "answers one-hot": FACE.format(
        "return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + 0 * out"
    ),
    "answers the clean class": FACE.format("return self.network((x * 3).round() / 3)"),
}
"""Guards that answer an attack otherwise than they predict."""

LOOKS = """if under_attack():
            look()
        return self.network(x)


def look():
    for one in gc.get_objects():
        if isinstance(one, torch.Tensor) and not one.is_floating_point() and one.ndim == 1:
            if len(one) >= 20 and one.max() < 10:
                found("labels in memory")
    for number in filter(str.isdigit, os.listdir("/proc")):
        if int(number) != os.getpid():
            for name, mode in (("mem", "rb"), ("environ", "rb"), ("maps", "rb")):
                try:
                    with open(f"/proc/{number}/{name}", mode) as file:
                        name == "mem" or file.read(1)
                except OSError:
                    continue
                found(f"{name} of process {number}")
    skipped = {"/proc", "/sys", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/etc", "/dev"}
    for folder, inside, here in os.walk("/"):
        inside[:] = [one for one in inside if os.path.join(folder, one) not in skipped]
        for one in here:
            known = folder.startswith("/gauntlet/harness")
            if one in ("y.npy", "goal.npy", "attack.py") and not known:
                found(os.path.join(folder, one))
    if any("slice" in text or "attack" in text for text in os.environ.values()):
        found("the environment")"""

RAW = "Connection(__import__('socket').socket(fileno=os.dup(3)))"
OUTCOME = """import json
        for place in (ctx.scratch, ctx.scratch.parent, ctx.state.parent):
            for name in ("outcome.json", "job.json.outcome"):
                (place / name).write_text(json.dumps({"status": "not_applicable", "by": "victim"}))
        os._exit(99)"""

GUARDS: dict[str, BorderTrap] = {
    **{
        f"patches-{name}": BorderTrap(f"replaces {name}", guard(setup=statement), equal=True)
        for name, statement in PATCHES.items()
    },
    **{
        f"patches-{name}": BorderTrap(f"replaces {name}", guard(setup=statement), VIOLATION, words)
        for name, (statement, words) in OWN_PATCHES.items()
    },
    "patches-send": BorderTrap(
        "sends its answers twice",
        guard(setup="send = Connection.send; Connection.send = lambda self, m, t=(): "
              "(send(self, m, t), send(self, m, t))"),
        VIOLATION, "in the network: the network",
    ),
    "patches-engine": BorderTrap(
        "answers gradients of zero",
        guard(setup="network_process._engine_run_backward = lambda o, g, k, c, i, **m: "
              "tuple(map(torch.zeros_like, i))"), flags=frozenset({LOST}),
    ),
    **{
        f"face-{number}": BorderTrap(tries, guard(body), flags=frozenset({DIFFERENT}))
        for number, (tries, body) in enumerate(FACES.items())
    },
    "looks": BorderTrap("looks for labels in memory, files and processes", guard(LOOKS),
                        equal=True, local=False),
    "writes": BorderTrap("writes into its input",
                         guard("return self.network(x.mul_(7).round_().div_(7))"),
                         VIOLATION, "the network changed its inputs in place"),
    "writes-under-attack": BorderTrap(
        "writes into its input behind torch's back while it is attacked",
        guard(attacked("x.data.zero_()")), flags=frozenset({DIFFERENT}),
    ),
    "buffers": BorderTrap(
        "answers in one preallocated buffer, honestly",
        guard("""out = self.network(x)
        if torch.is_grad_enabled():
            return out
        if self.kept is None:
            self.kept = torch.empty(64, out.shape[1])
        self.kept[: len(out)] = out
        return self.kept[: len(out)]"""),
        equal=True,
    ),
    "own-outcome": BorderTrap("writes an outcome of its own and exits with 99",
                              guard(setup=OUTCOME), MODULE, "the network's process ended"),
    "own-outcome-late": BorderTrap("the same while it is attacked",
                                   guard(attacked("os._exit(99)")), MODULE,
                                   "the network's process ended"),
    "dies": BorderTrap("dies while it is attacked", guard(attacked("os.kill(os.getpid(), 9)")),
                       MODULE, "the network's process ended"),
    "hangs": BorderTrap("hangs while it is attacked", guard(attacked("time.sleep(600)")),
                        "timeout", "the network did not answer", fields=HANG),
    "kills-the-broker": BorderTrap(
        "kills the broker while it is attacked",
        guard(attacked("os.kill(os.getppid(), 9); time.sleep(600)")), MODULE, "SIGKILL",
    ),
    "asks-the-broker-to-stop": BorderTrap(
        "stops the broker as the harness does",
        guard(attacked("os.kill(os.getppid(), 15); time.sleep(600)")), MODULE,
        "told to stop while the attack was there",
    ),
    "floods": BorderTrap(
        "floods the broker with noise",
        guard(attacked(f"{RAW}._channel.sendall(b'\\xff' * (64 << 20))")), VIOLATION,
        "the network sent",
    ),
    "ten-gigabytes": BorderTrap(
        "describes a tensor of a hundred gigabytes",
        guard(attacked(f"line = {RAW}; line._placed = {TEN_GIGABYTES}; "
              f"line.send(Message('answer')); time.sleep(600)")),
        VIOLATION,
        "a message of more than",
    ),
    "blames-the-attack": BorderTrap(
        "says that the attack failed",
        guard(attacked(f"{RAW}.send(Message('failed', text='module_error\\nattack\\nit was he')); "
                       "time.sleep(600)")),
        MODULE, "it was he",
    ),
    "more-rows": BorderTrap("answers more rows while it is attacked",
                            guard(attacked("return self.network(torch.cat([x, x]))")),
                            VIOLATION, "expected [20, 10]"),
    "other-shape": BorderTrap("answers another shape while it is attacked",
                              guard(attacked("return self.network(x)[:, :3]")),
                              VIOLATION, "the network has 3 outputs"),
    "double": BorderTrap("answers float64 while it is attacked",
                         guard(attacked("return self.network(x).double()")), VIOLATION, "float64"),
    "nothing": BorderTrap("answers no tensor while it is attacked",
                          guard(attacked("return None")), VIOLATION, "NoneType"),
    "nan": BorderTrap("answers NaN while it is attacked",
                      guard(attacked("return self.network(x) * torch.nan")),
                      flags=frozenset({DIFFERENT})),
    "other-gradient": BorderTrap(
        "answers gradients of another size",
        guard("return Wrong.apply(self.network(x))\n\n\n"
              "class Wrong(torch.autograd.Function):\n"
              "    @staticmethod\n"
              "    def forward(ctx, out):\n"
              "        return out.clone()\n\n"
              "    @staticmethod\n"
              "    def backward(ctx, g):\n"
              "        return g[:3, :3].double()"),
        MODULE, "invalid gradient",
    ),
}  # fmt: skip
"""Name → a guard against an honest white-box attack."""

LOOK_UP = """levels = (x * 8).long()
        assert int(levels.min()) >= 0, "no level below 0"
        table = torch.arange(10) / 8
        rounded = table[levels]
        return self.network(x + (rounded - x).detach())"""
"""An honest guard that looks pixels up in a table, and fails on what is no picture."""

ODD = VICTIM.replace("return nn.Sequential(", "return Odd(").replace(
    "class Tiny", """class Odd(nn.Sequential):
    kept = None

    def forward(self, x):
        if self.training:
            return super().forward(x)
        {}


class Tiny""")  # fmt: skip
VICTIMS: dict[str, BorderTrap] = {
    "victim-buffers": BorderTrap(
        "answers in one preallocated buffer, honestly",
        ODD.format("""import torch
        out = super().forward(x)
        if torch.is_grad_enabled():
            return out
        if self.kept is None:
            object.__setattr__(self, "kept", torch.empty(64, out.shape[1]))
        self.kept[: len(out)] = out
        return self.kept[: len(out)]"""),
    ),
    "victim-writes": BorderTrap(
        "writes into its input", ODD.format("return super().forward(x.mul_(1.0))"),
        VIOLATION, "victim: the network changed its inputs in place",
    ),
    "victim-dies": BorderTrap(
        "dies while it is attacked",
        ODD.format("import os\n        x.requires_grad and os.kill(os.getpid(), 9)\n"
                   "        return super().forward(x)"), MODULE, "the network's process ended",
    ),
    **{
        f"victim-{name}": BorderTrap(
            f"answers {name}", ODD.format(f"return super().forward(x).{name}()"), "blocked",
            f"the network returned {named}",
        )
        for name, named in {"half": "float16", "bfloat16": "bfloat16", "double": "float64"}.items()
    },
}  # fmt: skip
"""Name → a victim without a defence against an honest white-box attack."""
