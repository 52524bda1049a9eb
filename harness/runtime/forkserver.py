"""A process that imports torch once, runs nothing in it, and forks one child a stage.

Started by the local executor as ``python -m harness.runtime.forkserver``. It reads one JSON line
per order from standard input (``{"start": PATH}``, where PATH is a ``job.json``) and writes one
JSON line per event: ``{"started": PATH, "pid": N}``, ``{"ended": PATH, "code": N, "signal": N}``.
``ended`` is said when every process of the stage is dead, also one that left its process group.

The forking process only imports and sets one thread: a child forked after its parent ran a real
multi-threaded operation hangs in its first parallel region. When standard input closes – the
harness has ended, even by ``kill -9`` – every process below this one is killed, and the folder that
the first argument names (sockets, the stages' home) is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import selectors
import shutil
import signal
import sys
from collections.abc import Collection
from pathlib import Path

import torch

from harness.runtime import worker

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
TRAINING = ("train", "public", "deliver", "repair")
"""Stages that make an optimiser; see ``warm``."""
FILE_BYTES = 8 << 30
"""No single file of a stage may grow beyond this; a log that runs wild ends here too."""


def child(path: Path) -> None:
    """Become the stage: own session, streams to the log, then the worker. Never returns."""
    code = 1
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stage that kills the fork server dies with it
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # what it detaches stays below it: counted, and its own
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(path.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        scratch = path.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        os.chdir(scratch)
        code = worker.run(path)
    finally:
        # skip exit handlers: they belong to the parent's copy of every library
        os._exit(code)


def prctl(option: int, value: int) -> None:
    """Set a property of this process (Linux)."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def warm(path: Path) -> None:
    """Import what the first optimiser of a process imports: a second that no stage need spend."""
    if json.loads(path.read_text(encoding="utf-8"))["stage"] in TRAINING:
        importlib.import_module("torch._dynamo")


def say(event: dict[str, object]) -> None:
    """One event on standard output."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def reap(children: dict[int, str]) -> None:
    """Report ended children, once whatever they left behind is dead."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        path = children.pop(pid, None)
        if path is None:
            continue  # an orphan that ended by itself
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        bury(children)
        code = os.waitstatus_to_exitcode(status)
        say({"ended": path, "code": max(code, 0), "signal": max(-code, 0)})


def bury(stages: Collection[int]) -> None:
    """Kill and await every child that is no stage.

    Every stage is a subreaper, and so is this process: it adopts what a stage leaves behind when
    that ends, whatever session it has moved to. Killing one may bring its own children here, hence
    the loop.
    """
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    while orphans := [p for p in map(int, listed.read_text().split()) if p not in stages]:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> None:
    """Serve orders until the harness has gone, then take everything along."""
    children: dict[int, str] = {}
    with contextlib.suppress(BrokenPipeError, FileNotFoundError):  # its pipe, its work folder
        serve(children)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    bury(())
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os._exit(0)  # taking torch down in good order takes a second


def serve(children: dict[int, str]) -> None:
    """Take orders until standard input closes.

    Raises:
        BrokenPipeError: nobody reads standard output any more.
    """
    torch.set_num_threads(1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    watch = selectors.DefaultSelector()
    watch.register(0, selectors.EVENT_READ)
    watch.register(read_end, selectors.EVENT_READ)
    pending = b""
    say({"ready": os.getpid()})
    while True:
        ready = {key.fd for key, _ in watch.select()}
        if read_end in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(read_end, 4096)
            reap(children)
        if 0 in ready:
            text = os.read(0, 65536)
            if not text:
                return
            *lines, pending = (pending + text).split(b"\n")
            for line in lines:
                path = json.loads(line)["start"]
                warm(Path(path))
                pid = os.fork()
                if pid == 0:
                    child(Path(path))
                children[pid] = path
                say({"started": path, "pid": pid})


if __name__ == "__main__":
    main()
