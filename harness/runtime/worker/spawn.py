"""Turns a forked child into the process of a stage: isolate it, then run the worker."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from harness.runtime.worker import worker
from harness.runtime.worker.outcome_pipe import OUTCOME
from harness.runtime.worker.protocol import LISTENER

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
TRAINING = ("train", "public", "deliver", "repair")
"""Stages that make an optimiser; see ``import_for``."""
FILE_BYTES = 8 << 30
"""Largest size of a single file of a stage, its log included."""
LAST_DESCRIPTOR = 255
"""Largest descriptor that a parent of stages has open."""


def run_stage(path: Path, log: int, outcome: int, listener: int | None = None) -> NoReturn:
    """Run the stage of a ``job.json`` in a child that was just forked, and end the process.

    Args:
        path: ``job.json`` of the stage.
        log: descriptor for standard output and standard error.
        outcome: descriptor to report the outcome on; it becomes ``OUTCOME``.
        listener: descriptor of a service's socket, or ``None``; it becomes ``LISTENER``.
    """
    code = 1
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stage that kills its parent dies with it
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # detached processes stay its descendants, and count
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 1)  # else it cannot open files below /proc/self
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        arrange_descriptors(
            {
                0: os.open(os.devnull, os.O_RDONLY),
                1: log,
                2: log,
                OUTCOME: outcome,
                **({} if listener is None else {LISTENER: listener}),
            }
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # the kernel kills a stage before its supervisor
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
        scratch = path.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        os.chdir(scratch)
        code = worker.run(path)
    finally:
        # skip exit handlers, which libraries registered in the parent
        os._exit(code)


def arrange_descriptors(wanted: Mapping[int, int]) -> None:
    """Give open descriptors the numbers that a stage expects, and close all others.

    Args:
        wanted: number → descriptor that gets it.
    """
    # out of the way first, as one may have a number that another is to get
    moved = {
        number: fcntl.fcntl(source, fcntl.F_DUPFD, OUTCOME + 1) for number, source in wanted.items()
    }
    for number, source in moved.items():
        os.dup2(source, number, inheritable=number <= 2)
    for number in range(LAST_DESCRIPTOR + 1):
        if number not in wanted:
            with contextlib.suppress(OSError):
                os.close(number)


def prctl(option: int, value: int) -> None:
    """Set a property of this process (Linux)."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def import_for(stage: str) -> None:
    """Prepare the parent of stages: import what their first optimiser would import in a second.

    All objects of the parent are exempt from garbage collection from then on. A child would
    otherwise walk a million of them, and copy their pages, in the middle of its own imports.

    Args:
        stage: kind of the stages that will be forked.
    """
    if stage in TRAINING:
        importlib.import_module("torch._dynamo")
    gc.freeze()
