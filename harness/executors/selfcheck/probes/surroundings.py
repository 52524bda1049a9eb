"""Probes that report what a stage sees, reaches and may change."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import stat
import sys
import tempfile
import time
from pathlib import Path

from harness.runtime.contracts import Context

CLONE_NEWNS, IPC_PRIVATE = 0x00020000, 0


def facts(ctx: Context) -> dict[str, object]:
    """Report all facts that can be read without a change."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    return {
        "environment": dict(os.environ),
        "descriptors": descriptors(),
        "startup_hooks": startup_hooks(),
        "temporary": Path(tempfile.mkstemp(prefix="gauntlet-selfcheck-")[1]).name,
        "scratch_is_here": ctx.scratch.samefile(Path.cwd()),
        "files": os.listdir(),
        "stdin": os.read(0, 1).decode(),
        "stdin_is_null": os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev,
        "clock": time.time(),
        "zone": time.strftime("%z"),
        "encodings": [sys.getfilesystemencoding(), sys.stdout.encoding, sys.stderr.encoding],
        "uid": os.getuid(),
        "capabilities": int(status["CapEff"], 16),
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    }


def startup_hooks() -> list[str]:
    """Return what Python looked through when the process of the stage, or its parent, started."""
    flags = {"site": "no_site", "folder of the user": "no_user_site", "folder here": "safe_path"}
    hooks = [name for name in ("sitecustomize", "usercustomize") if name in sys.modules]
    return [name for name, flag in flags.items() if not getattr(sys.flags, flag)] + hooks


def descriptors() -> dict[str, str]:
    """Return open files beside the three streams; that of the listing is closed already."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            if int(number) > 2 and not stat.S_ISDIR(os.fstat(int(number)).st_mode):
                found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
    return found


def changes_system() -> dict[str, list[str]]:
    """Make administrative system calls; their effects end with this stage."""
    kernel = ctypes.CDLL(None, use_errno=True)
    calls = {"unshare": (CLONE_NEWNS,), "sethostname": (b"", 0), "setuid": (0,)}
    return {"done": [name for name, args in calls.items() if getattr(kernel, name)(*args) == 0]}


def keeps_in_kernel() -> dict[str, list[str]]:
    """Make System V memory and a message queue, which outlive their process; then remove them."""
    kernel = ctypes.CDLL(None, use_errno=True)
    done = []
    for name, made, remove in (
        ("shared memory", kernel.shmget(IPC_PRIVATE, 4096, 0o600), kernel.shmctl),
        ("messages", kernel.msgget(IPC_PRIVATE, 0o600), kernel.msgctl),
    ):
        if made != -1:
            remove(made, 0, None)
            done.append(name)
    return {"done": done}


def notes() -> dict[str, list[str]]:
    """Leave files, a socket and a process, and report those that an earlier stage has left."""
    found = []
    for place in ("/stage", "/dev/shm", "/tmp", "/var/tmp", "/box", "/gauntlet"):  # noqa: S108
        note = Path(place, "gauntlet-selfcheck-note")
        found += [str(note)] if note.exists() else []
        with contextlib.suppress(OSError):
            note.write_text("note", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind("\0gauntlet-selfcheck-note")
        except OSError:
            found.append("a socket")
        if os.fork() == 0:
            time.sleep(60)
    return {"found": found}


def connects(port: int) -> dict[str, str]:
    """Connect to a port of the host."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return {"reached": connection.recv(64).decode()}
    except OSError as error:
        return {"refused": str(error)}


def resolves(name: str) -> dict[str, str]:
    """Resolve a host name."""
    try:
        return {"address": str(socket.getaddrinfo(name, 80)[0][4][0])}
    except OSError as error:
        return {"refused": str(error)}


def writes(paths: list[str]) -> dict[str, list[str]]:
    """Try to write a file into each folder and remove it; ``{module}`` is the probe's folder."""
    done = []
    for path in paths:
        target = Path(path.replace("{module}", str(Path(__file__).parent)))
        file = target / f"gauntlet-selfcheck-{os.getpid()}"
        try:
            file.touch()
            file.unlink()
        except OSError:
            continue
        done.append(path)
    return {"written": done}


def reads(path: str) -> dict[str, str]:
    """Read a file of the host by its path."""
    try:
        return {"text": Path(path).read_text(encoding="utf-8")}
    except OSError as error:
        return {"refused": str(error)}


def watches(pid: int) -> dict[str, str]:
    """Read the start time of a process of the host."""
    try:
        return {"started": Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]}
    except OSError as error:
        return {"refused": str(error)}
