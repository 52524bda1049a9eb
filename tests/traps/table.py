"""Attacks and defences that fail, cheat or break out: what each tries, and what it must end in.

A spy raises as soon as it reaches what it may not: so ``ok`` means that it found nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.workspaces import PERTURB

FREE = "local isolates nothing"

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
    "quits": ("import os; os._exit(0)", "module_error", "exit code 0 and left no outcome"),
    "boasts": (
        'print(\'{"status": "ok", "accuracy": 0.0}\', flush=True); import os; os._exit(0)',
        "module_error",
        "left no outcome",
    ),
    "forges": (FORGE.format("", 0), "contract_violation", "no attacked/x.npy"),
    "claims": (FORGE.format("", 11), "contract_violation", "contradicts its outcome"),
    "accuses": (
        FORGE.format(
            'outcome |= {"status": "not_applicable", "reason": "a rule says so", "by": "rule"}', 99
        ),
        "not_applicable",
        "a rule says so",
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


@dataclass(frozen=True)
class Trap:
    """One hostile module.

    Attributes:
        tries: what it tries. code: its file. docker, local: the status that it must end in, or
            ``None`` where it cannot be tried; ``why`` says so.
        words: what the reason must hold. fields: more of its manifest.
    """

    tries: str
    code: str
    docker: str
    local: str | None = None
    why: str = FREE
    words: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def spy(tries: str, body: str, **more: Any) -> Trap:
    """A trap that must find nothing; ``found`` is what it calls when it does."""
    code = SPY + PERTURB.format(body + "\n        return x")
    return Trap(tries, code, "ok", **more)


SPY = """
import ctypes
import os
import signal
import socket
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def found(what):
    raise AssertionError(f"reached {what}")


def attempt(action, *arguments):
    try:
        action(*arguments)
    except (OSError, ValueError):
        return
    found(f"{getattr(action, '__name__', action)}{arguments}")


def forbidden(name, *arguments):
    if getattr(LIBC, name)(*arguments) != -1:
        found(name)


def files(*names):
    skipped = {"/proc", "/sys", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/etc", "/dev"}
    for folder, inside, here in os.walk("/"):
        inside[:] = [one for one in inside if os.path.join(folder, one) not in skipped]
        for one in here:
            if one in names:
                yield os.path.join(folder, one)

"""
"""What spies share."""

SPIES = {
    "dials": spy(
        "connects to the host, by every address that it could have",
        """for address in ("127.0.0.1", "172.17.0.1", "10.0.0.1"):
            attempt(socket.create_connection, (address, @PORT@), 1)""",
    ),
    "asks-names": spy(
        "resolves a name",
        "attempt(socket.getaddrinfo, 'example.org', 80)",
        why="most test machines resolve no names either",
    ),
    "looks-for-sockets": spy(
        "finds the engine's socket, or the harness's",
        """for path in ("/var/run/docker.sock", "/run/docker.sock", "/box/line"):
            if os.path.exists(path):
                found(path)""",
    ),
    "reads-secrets": spy(
        "reads the harness's environment",
        """for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if b"@SECRET@" in text:
                found(f"the environment of {pid}")""",
    ),
    "reads-the-host": spy(
        "reads a file of the host that was not granted",
        "attempt(Path('@CANARY@').read_text)",
    ),
    "writes": spy(
        "writes into its own module, the harness, the inputs, the system",
        """for folder in ("/", "/etc", "/usr", "/box", "/box/in/slice_x", "/gauntlet/harness",
                       os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))):
            attempt(Path(folder, "trap.txt").write_text, "trap")
        for path in files("x.npy", "attack.py", "worker.py", "network.safetensors"):
            attempt(open, path, "r+b")""",
    ),
    "breaks-out": spy(
        "gains rights, mounts, leaves its name spaces, takes keys, makes devices",
        """for name, arguments in {
            "setuid": (0,), "setgid": (0,), "chroot": (b"/box",), "unshare": (0x10000000,),
            "mount": (b"none", b"/box", b"tmpfs", 0, None), "umount2": (b"/box", 0),
            "sethostname": (b"x", 1), "reboot": (0,), "setns": (0, 0),
            "syscall": (250, 0, 0, 0, 0),
        }.items():
            forbidden(name, *arguments)
        attempt(os.mknod, "/stage/job/scratch/disk", 0o060666, os.makedev(8, 0))
        attempt(os.setpriority, os.PRIO_PROCESS, 0, -10)
        attempt(Path("/proc/sys/kernel/hostname").write_text, "x")
        attempt(Path("/proc/sysrq-trigger").write_text, "b")
        attempt(open, "/dev/mem", "rb")""",
    ),
    "hooks-the-supervisor": spy(
        "reads and steers its supervisor: ptrace, their memory and files",
        """for pid in (1, os.getppid()):
            LIBC.ptrace.restype = ctypes.c_long
            forbidden("ptrace", 16, pid, None, None)
            for name in ("mem", "fd", "environ", "maps"):
                attempt(lambda: list(os.scandir(f"/proc/{pid}/{name}"))
                        if name == "fd" else open(f"/proc/{pid}/{name}", "r+b" if name == "mem"
                                                  else "rb").read(1))
        os.kill(1, signal.SIGKILL)
        os.kill(1, signal.SIGTERM)""",
    ),
    "leaves-word": spy(
        "leaves word for the next stage in limits and priorities of process 1, or in the network",
        """forbidden("prlimit", 1, 11, b"\\x07" * 16, None)
        for pid in (1, os.getppid()):
            attempt(os.sched_setaffinity, pid, {0})
            attempt(os.setpriority, os.PRIO_PROCESS, pid, 7)
            attempt(os.sched_setscheduler, pid, os.SCHED_BATCH, os.sched_param(0))
            forbidden("syscall", 251, 1, pid, 7 << 13)
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
            attempt(socket.socket, family)
        forbidden("syscall", 425, 8, b"\\0" * 120)""",
    ),
    "shares-memory": spy(
        "uses memory that outlives its process: System V, message queues",
        """forbidden("shmget", 77, 4096, 0o1666)
        forbidden("msgget", 77, 0o1666)
        forbidden("semget", 77, 1, 0o1666)
        forbidden("mq_open", b"/trap", os.O_CREAT | os.O_RDWR, 0o666, None)""",
    ),
    "lists-everything": spy(
        "looks for anything beyond its grants: edits, records, other stages' inputs and outputs",
        """granted = set(os.listdir("/box/in"))
        if granted - {"weights", "slice_x", "slice_y", "goal"}:
            found(f"{granted}")
        if set(os.listdir("/stage")) != {"job"} or os.listdir("/dev/shm"):
            found("another stage's files")
        for path in files("mask.npy", "counts.npy", "edits.npy", "job.json.part"):
            found(path)""",
    ),
    "bombs": spy(
        "forks until nothing more can be forked",
        """if os.fork() == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
        time.sleep(1.5)""",
        why="a limit by user would stop your other programs too",
    ),
    "prints": spy("prints 200 MB", "print(('x' * 999 + '\\n') * 200_000)", local="ok"),
    "detaches": spy(
        "leaves a process of its own session that writes its output later",
        """if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.5)
                ctx.state.parent.joinpath("late.npy").write_text("late")
            os._exit(0)""",
        local="ok",
    ),
}
"""Name → spy in an evasion matrix, white-box; ``@PORT@`` and the like are filled in by the test."""

GREEDY = {
    "fills-out": (
        "fills the disk with its output",
        """with open(ctx.state.parent / "fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "fills-scratch": (
        "fills the disk with scratch",
        """with open("fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "fills-shared-memory": (
        "fills /dev/shm",
        """with open("/dev/shm/fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "makes-holes": (
        "leaves files that claim far more than they are",
        """for name in range(20):
            with open(ctx.state.parent / str(name), "wb") as file:
                file.truncate(1 << 30)
        return x""",
        "contract_violation",
        "the output claims",
    ),
    "makes-files": (
        "makes a million files",
        """for name in range(1_000_000):
            open(f"{name}", "wb").close()""",
        "module_error",
        "No space left on device",
    ),
    "kills-its-supervisor": (
        "kills its parent",
        """import os
        os.kill(os.getppid(), 9)
        import time; time.sleep(60)""",
        "module_error",
        "the stage killed its supervisor process",
    ),
    "kills-everything": (
        "kills whatever it sees",
        """import os
        os.kill(-1, 9)
        import time; time.sleep(60)""",
        "module_error",
        "the stage killed its supervisor process",
    ),
    "stops-its-supervisor": (
        "stops its parent and stays",
        """import os
        os.kill(os.getppid(), 19)
        import time; time.sleep(600)""",
        "timeout",
        "stopped from outside",
    ),
    "makes-a-device": (
        "leaves a device in its output",
        "import os; os.mknod(ctx.state.parent / 'disk', 0o060666, os.makedev(8, 0)); return x",
        "module_error",
        "PermissionError",
    ),
}
"""Name → what it tries, the body of ``perturb``, its status in a container, words of the reason."""

FORGED_ARRAYS = {
    "pickles": (
        "leaves a pickle in an array file, which runs code when it is read",
        """(folder / "attacked").mkdir()
        class Bomb:
            def __reduce__(self):
                return os.system, ("touch @CANARY@.pickled",)
        bombs = np.array([Bomb()], dtype=object)
        np.save(folder / "attacked" / "x.npy", bombs, allow_pickle=True)""",
        "the output cannot be used",
    ),
    "zips": (
        "leaves an archive in place of an array",
        """(folder / "attacked").mkdir()
        with open(folder / "attacked" / "x.npy", "wb") as file:
            np.savez_compressed(file, x=np.zeros(1 << 22))""",
        "the output cannot be used",
    ),
    "claims-terabytes": (
        "leaves an array whose header claims terabytes",
        """(folder / "attacked").mkdir()
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1, 8, 8)}
        with open(folder / "attacked" / "x.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)""",
        "the output cannot be used",
    ),
}
"""Name → what it tries, what it writes, words of the reason; contract violations everywhere."""

PLAIN_TRAPS = {
    **{
        name: Trap(name, PERTURB.format(body), status, status, words=words or "",
                   fields={"limits": LIMITS[name]} if name in LIMITS else {})
        for name, (body, status, words) in STATEMENTS.items()
    },
    **{
        name: Trap(name, code, status, status, words=words, fields=fields)
        for name, (code, fields, status, words) in MODULES.items()
    },
    **{
        name: Trap(tries, PERTURB.format(FORGE.format(body, 0)), "contract_violation",
                   "contract_violation", words=words)
        for name, (tries, body, words) in FORGED_ARRAYS.items()
    },
    **{
        name: Trap(tries, PERTURB.format(body), status, words=words,
                   fields={"limits": {"minutes": 0.1, "memory_gb": 1}})
        for name, (tries, body, status, words) in GREEDY.items()
    },
    # in a container, what the link leads to cannot be written
    "replaces": Trap("puts a link in place of its output folder",
                     PERTURB.format(STATEMENTS["replaces"][0]), "module_error",
                     "contract_violation"),
}  # fmt: skip
"""Every trap of the white-box matrix, but for the spies."""
