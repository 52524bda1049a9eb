"""The first process of a container: imports torch once, and forks a keeper for every stage.

Started by the docker executor as ``python -m harness.runtime.worker.container_init``. It never
runs module code, and never reads what a stage wrote: that would stay in its memory, of which
every later stage gets a copy. So a *supervisor* is forked for each order: it reads the order, forks
the stage, watches it, sends back its output, wipes, and ends. All that this process learns of it is
an exit code.

It is process 1: no signal from inside reaches it, and with it every process of the container ends.
It ends when the harness hangs up (also by ``kill -9``), when a keeper did not end well, or when
something is left after a stage.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

WRITABLE = (Path("/stage"), Path("/dev/shm"))  # noqa: S108 - in a container it is its own
"""Every place where an unprivileged process can leave a file."""


def main(address: str, stage: str) -> None:
    """Serve until the harness hangs up.

    Args:
        address: the harness's socket. stage: the kind of the stages that will be run here.
    """
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    try:
        keeper = prepare(stage)
    except Exception:  # noqa: BLE001 - an image that does not fit: the harness tells it
        line.sendall(json.dumps({"failed": traceback.format_exc(limit=-3)}).encode() + b"\n")
        return
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    line.sendall(b'{"ready": true}\n')
    waiting = select.poll()
    waiting.register(line, select.POLLIN)
    while True:
        waiting.poll()
        if not line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            keeper(line)
        if not ended_well(pid, line, read_end) or anything_left():
            return


def prepare(stage: str) -> Callable[[socket.socket], NoReturn]:
    """Import what every stage needs, once, and nothing of any module.

    Returns:
        What a keeper does with the line.
    """
    temporary = Path(os.environ["TMPDIR"])
    temporary.mkdir(parents=True)  # some libraries look for it when they are imported
    import torch

    from harness.runtime.worker.seccomp import restrict
    from harness.runtime.worker.spawn import PR_SET_DUMPABLE, prctl, warm
    from harness.runtime.worker.supervisor import keep

    torch.set_num_threads(1)
    warm(stage)
    shutil.rmtree(temporary.parent)
    prctl(PR_SET_DUMPABLE, 0)  # no stage looks into this process or a keeper
    restrict()
    return keep


def ended_well(keeper: int, line: socket.socket, wakeup: int) -> bool:
    """Reap until the keeper has ended; whether it ended well and nobody hung up meanwhile."""
    waiting = select.poll()
    waiting.register(line, 0)  # hanging up is always told
    waiting.register(wakeup, select.POLLIN)
    while True:
        events = dict(waiting.poll())
        if line.fileno() in events:
            return False
        os.read(wakeup, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == keeper:
                return status == 0
            if pid == 0:
                break


def anything_left() -> bool:
    """Whether a process or a file of the stage is still there."""
    others = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    return bool(others) or any(os.listdir(folder) for folder in WRITABLE if folder.is_dir())


if __name__ == "__main__":
    main(*sys.argv[1:3])
    os._exit(0)  # taking torch down in good order takes a second
