"""First process of a container: it imports torch once and forks a supervisor for every stage.

The docker executor starts it as ``python -m harness.runtime.worker.container_init``. It never runs
module code and never reads what a stage wrote, because every later stage gets a copy of its memory.
So it forks a *supervisor* for each message of the harness. The supervisor reads the message, forks
the stage, watches it, sends its output, empties all writable folders, and ends. This process only
learns its exit code.

It is process 1: no signal from inside reaches it, and all processes of the container end with it.
It ends when the harness closes the socket (also by ``kill -9``), when a supervisor fails, or when
processes or files are left after a stage.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import site
import socket
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

WRITABLE = (Path("/stage"), Path("/dev/shm"))  # noqa: S108 - in a container it is its own
"""All folders in which an unprivileged process can write."""


def main(address: str, stage: str) -> None:
    """Run stages until the harness closes the socket.

    Args:
        address: socket of the harness.
        stage: kind of the stages that this container runs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler makes a stage's one reach it
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    try:
        supervise = prepare(stage)
    except Exception:  # noqa: BLE001 - an unsuitable image, which the harness reports
        connection.sendall(json.dumps({"failed": traceback.format_exc(limit=-3)}).encode() + b"\n")
        return
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    connection.sendall(b'{"ready": true}\n')
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while True:
        poll.poll()
        if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            return
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            supervise(connection)
        if not wait_for_supervisor(pid, connection, read_end) or not is_clean():
            return


def prepare(stage: str) -> Callable[[socket.socket], NoReturn]:
    """Import what every stage needs, but no module; then apply the system call filter.

    Args:
        stage: kind of the stages that this container runs.

    Returns:
        Function that a supervisor runs with the socket of the harness.
    """
    # started without ``site``, so that no file of an image can run before this one
    sys.path += {sysconfig.get_path("purelib"): None, sysconfig.get_path("platlib"): None}
    site.setquit()
    temporary = Path(os.environ["TMPDIR"])
    temporary.mkdir(parents=True)  # some libraries need it when they are imported
    import torch

    from harness.runtime.worker.seccomp import restrict
    from harness.runtime.worker.spawn import PR_SET_DUMPABLE, import_for, prctl
    from harness.runtime.worker.supervisor import supervise

    torch.set_num_threads(1)
    import_for(stage)
    shutil.rmtree(temporary.parent)
    prctl(PR_SET_DUMPABLE, 0)  # no stage can inspect this process or a supervisor
    restrict()
    return supervise


def wait_for_supervisor(supervisor: int, connection: socket.socket, wakeup: int) -> bool:
    """Reap processes until the supervisor has ended.

    Args:
        supervisor: process id.
        connection: socket of the harness.
        wakeup: descriptor to which every SIGCHLD is written.

    Returns:
        Whether it ended with code 0 and the harness did not close the socket meanwhile.
    """
    poll = select.poll()
    poll.register(connection, 0)  # no events, but a hang-up is always reported
    poll.register(wakeup, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if connection.fileno() in events:
            return False
        os.read(wakeup, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == supervisor:
                return status == 0
            if pid == 0:
                break


def is_clean() -> bool:
    """Return whether no process and no file of a stage is left."""
    others = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    return not others and not any(os.listdir(folder) for folder in WRITABLE if folder.is_dir())


if __name__ == "__main__":
    main(*sys.argv[1:3])
    os._exit(0)  # an orderly exit of torch takes a second
