"""Fork server of the local executor: it imports torch once and forks one child per stage.

It is started as ``python -m harness.runtime.worker.forkserver FOLDER``. It reads one JSON line per
message from standard input (``{"start": PATH, "service": BOOL}``, where PATH is a ``job.json``) and
writes one JSON line per event: ``{"started": PATH, "pid": N}`` and
``{"ended": PATH, "code": N, "signal": N, "outcome": TEXT}``. ``ended`` is sent when all processes
of the stage are dead, also those outside its process group.

The server itself only imports torch and limits it to one thread: a child whose parent has run a
multi-threaded operation hangs in its first parallel region. When standard input closes, the harness
has ended, perhaps by ``kill -9``. Then all descendants are killed and FOLDER (sockets, the home of
the stages) is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from harness.runtime.worker.outcome_pipe import collect, open_pipe
from harness.runtime.worker.spawn import PR_SET_CHILD_SUBREAPER, import_for, prctl, run_stage


class Child(NamedTuple):
    """Running stage.

    Attributes:
        path: its ``job.json``.
        outcome: reading end of the pipe for its outcome.
    """

    path: str
    outcome: int


def fork_stage(path: Path, *, service: bool) -> tuple[int, int]:
    """Fork the stage of a ``job.json``; return its process id and the pipe for its outcome.

    Args:
        path: the file; the stage's log lies beside it.
        service: whether SIGTERM waits until the stage is ready to be stopped.
    """
    read_end, write_end = open_pipe()
    with blocked_sigterm() if service else contextlib.nullcontext():
        pid = os.fork()
        if pid == 0:
            run_child(path, write_end)
    os.close(write_end)
    return pid, read_end


@contextlib.contextmanager
def blocked_sigterm() -> Iterator[None]:
    """Block SIGTERM in this thread; a child that is forked meanwhile inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_child(path: Path, outcome: int) -> NoReturn:
    """Run the stage of a ``job.json``, with its log in the same folder."""
    try:
        log = os.open(path.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        run_stage(path, log, outcome)
    finally:
        os._exit(1)


def send(event: Mapping[str, object]) -> None:
    """Write an event to standard output."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def reap_stages(children: dict[int, Child]) -> None:
    """Report stages that have ended, after killing the processes that they left.

    Args:
        children: process id → running stage; those that ended are removed.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        child = children.pop(pid, None)
        if child is None:
            continue  # an orphan that has ended by itself
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        reap_orphans(children)
        code = os.waitstatus_to_exitcode(status)
        ended = {"ended": child.path, "code": max(code, 0), "signal": max(-code, 0)}
        send(ended | {"outcome": collect(child.outcome)})


def reap_orphans(stages: Collection[int]) -> None:
    """Kill and reap all children that are not stages.

    Stages are subreapers, and so is this process: it adopts the processes of a stage that has
    ended, also those in other sessions. Killing an orphan brings its own children here; therefore
    the loop.

    Args:
        stages: process ids of the running stages.
    """
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    while orphans := [p for p in map(int, path.read_text().split()) if p not in stages]:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> None:
    """Serve until the harness has ended; then kill all descendants and remove the folder."""
    children: dict[int, Child] = {}
    with contextlib.suppress(BrokenPipeError, FileNotFoundError):  # pipe or work folder is gone
        serve(children)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    reap_orphans(())
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os._exit(0)  # an orderly exit of torch takes a second


def serve(children: dict[int, Child]) -> None:
    """Run stages until standard input closes.

    Args:
        children: process id → running stage.

    Raises:
        BrokenPipeError: standard output is closed.
    """
    torch.set_num_threads(1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(read_end, selectors.EVENT_READ)
    pending = b""
    send({"ready": os.getpid()})
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if read_end in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(read_end, 4096)
            reap_stages(children)
        if 0 in ready:
            text = os.read(0, 65536)
            if not text:
                return
            *lines, pending = (pending + text).split(b"\n")
            for line in lines:
                message = json.loads(line)
                path = message["start"]
                import_for(json.loads(Path(path).read_text(encoding="utf-8"))["stage"])
                pid, outcome = fork_stage(Path(path), service=message["service"])
                children[pid] = Child(path, outcome)
                send({"started": path, "pid": pid})


if __name__ == "__main__":
    main()
