"""Hostile and broken modules of the other matrices: edits, oracles, guards, victims."""

from __future__ import annotations

from tests.support.module_sources import PERTURB
from tests.traps.spies import SPY

BROKEN_VICTIM = """
class Victim:
    head, stages = "0", ()

    def build(self, spec):
        import torch
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    def recipe(self, train):
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

POISONS = {
    "other-ids": ("train.ids[:3] + 10**6, y=train.y[:3]", "not in the training set"),
    "twice": ("train.ids[[0, 0]], y=train.y[[0, 0]]", "edited more than once"),
    "features": ("train.ids[:2], x=1 - train.x[:2]", "the budget allows labels only"),
    "classes": ("train.ids[:2], y=train.y[:2] + 10", "not one of the 10 classes"),
}
"""Name → what it edits, words of the reason; all are over budget."""

EDITS = """
from harness.runtime.contracts import Edits


class Attack:
    def poison(self, train, val, model, budget, ctx):
        return Edits({})
"""

CHANNEL = "model._connection._channel"
ORACLE_TRAPS = {
    "asks-too-much": ("while True: model.predict(x)", "module_error", "QueryRefused"),
    "babbles": (
        f"{CHANNEL}.sendall(b'\\xff' + bytes(98)); return x",
        "contract_violation",
        "a malformed message",
    ),
    "floods": (
        f"""for _ in range(1 << 12):
            {CHANNEL}.sendall(bytes(1 << 16))
        return x""",
        "contract_violation",
        "",
    ),
    "other-rows": (
        "return model.predict(x, torch.arange(len(x)) + 10**6)",
        "contract_violation",
        "a query names rows outside its batch",
    ),
    "pools": (
        """first = torch.zeros(len(x), dtype=torch.int64)
        for row in range(4):
            model.predict(x[:1], first[:1] + row)
        return x""",
        "module_error",
        "QueryRefused",
    ),
    "asks-white-box": (
        """from harness.runtime.worker.network_protocol import Message
        try:
            model.request(Message("forward", keep=True), [x])
        except Exception:
            pass
        return x""",
        "contract_violation",
        "the attack used model.forward",
    ),
    "forges-counts": (
        "out = ctx.state.parent / 'oracle'; out.mkdir(exist_ok=True); "
        "(out / 'counts.npy').write_bytes(b''); return x",
        "contract_violation",
        "oracle, a name that is the harness's",
    ),
    "hangs-up": (f"{CHANNEL}.close(); return x", "module_error", "OSError"),
}
"""Name → the body of ``perturb`` with an oracle, status, words of the reason."""

PEEKS = {
    "peeks-at-weights": "network.safetensors",
    "peeks-at-counts": "counts.npy",
}
"""Spy → what a query attack looks for on the whole file system."""

TWO_FACED = """
import torch
from torch import nn


class Defense:
    def guard(self, network, ctx):
        return Faces(network)


class Faces(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        out = self.network(x)
        return out if torch.is_inference_mode_enabled() or hidden() else out.flip(1)


def hidden():
    import sys
    frame = sys._getframe()
    while frame:
        if frame.f_code.co_name == "predict" and "raw" in frame.f_locals:
            return True
        frame = frame.f_back
    return False
"""

SEEKER = """
import os

import torch

from harness.runtime.contracts import Keep


class Defense:
    def sanitize(self, victim, network, train, ctx):
        for folder, inside, here in os.walk("/"):
            inside[:] = [one for one in inside if folder != "/" or one in ("box", "stage", "tmp")]
            if "edits" in inside or "edits" in folder or folder.count("train") > 1:
                raise AssertionError(f"reached {folder}")
        if set(os.listdir("/box/in")) - {"train", "start"}:
            raise AssertionError(f"reached {os.listdir('/box/in')}")
        return Keep(torch.ones(len(train), dtype=torch.bool))
"""

NOTES = """
import os
from pathlib import Path

from torch import nn

PLACES = ("/stage", "/stage/job", "/dev/shm", "/tmp", "/var/tmp", "/box", "/gauntlet")


class Defense:
    def guard(self, network, ctx):
        for place in PLACES:
            note = Path(place, "note.txt")
            if note.exists():
                raise AssertionError(f"found a note in {place}")
            try:
                note.write_text("the other inputs were these", encoding="utf-8")
            except OSError:
                continue
        if os.fork() == 0:
            import socket, time
            server = socket.socket(socket.AF_UNIX)
            try:
                server.bind("\\0note")
            except OSError:
                os._exit(1)
            server.listen(1)
            time.sleep(60)
        probe = __import__("socket").socket(__import__("socket").AF_UNIX)
        others = [pid for pid in os.listdir("/proc") if pid.isdigit()]
        if len(others) > 5:  # process 1, the supervisor, perhaps a broker, this one and its child
            raise AssertionError(f"found processes of another stage: {others}")
        return network
"""


def spying(name):
    """A module body that looks for a file by name, everywhere outside the system's folders."""
    return SPY + PERTURB.format(
        f"for path in files('{name}'):\n            found(path)\n        return x"
    )
