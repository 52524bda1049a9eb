"""Attacks that look for what they may not reach, in containers only.

A spy raises as soon as it reaches something: ``ok`` means that it found nothing.
"""

from __future__ import annotations

from typing import Any

from tests.support.module_sources import PERTURB
from tests.traps.trap import Trap


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
            if not str(path).startswith(str(ctx.state.parent)):  # what it returns is its own
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
        if granted - {"slice_x", "slice_y", "goal"}:
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
