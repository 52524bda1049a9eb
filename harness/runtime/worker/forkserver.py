"""A process that imports torch once, runs nothing in it, and forks one child a stage.

Started by the local executor as ``python -m harness.runtime.worker.forkserver``. It reads one JSON
line per order from standard input (``{"start": PATH}``, where PATH is a ``job.json``) and writes
one JSON line per event: ``{"started": PATH, "pid": N}``, ``{"ended": PATH, "code": N, "signal":
N}``.
``ended`` is said when every process of the stage is dead, also one that left its process group.

The forking process only imports and sets one thread: a child forked after its parent ran a real
multi-threaded operation hangs in its first parallel region. When standard input closes – the
harness has ended, even by ``kill -9`` – every process below this one is killed, and the folder that
the first argument names (sockets, the stages' home) is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

import torch

from harness.runtime.worker.spawn import PR_SET_CHILD_SUBREAPER, become, prctl, warm


def child(path: Path) -> NoReturn:
    """Become the stage, with its log beside its job."""
    try:
        become(
            path, os.open(path.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        )
    finally:
        os._exit(1)


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
                warm(json.loads(Path(path).read_text(encoding="utf-8"))["stage"])
                pid = os.fork()
                if pid == 0:
                    child(Path(path))
                children[pid] = path
                say({"started": path, "pid": pid})


if __name__ == "__main__":
    main()
