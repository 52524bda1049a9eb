"""How a forked child becomes a stage: streams to its log, nothing inherited, then the worker."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
from pathlib import Path
from typing import NoReturn

from harness.runtime.worker import worker

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
TRAINING = ("train", "public", "deliver", "repair")
"""Stages that make an optimiser; see ``warm``."""
FILE_BYTES = 8 << 30
"""No single file of a stage may grow beyond this; a log that runs wild ends here too."""
LISTENER = 3
"""The one descriptor that a stage may be born with: where its oracle listens."""


def become(path: Path, log: int, listener: int | None = None) -> NoReturn:
    """Become the stage of a ``job.json``; called in a child that was just forked.

    Args:
        path: the job. log: open for writing, for both streams. listener: see ``LISTENER``.
    """
    code = 1
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stage that kills its parent dies with it
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # what it detaches stays below it: counted, and its own
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 1)  # else it cannot open its own files below /proc/self
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        kept = 0 if listener is None else 1
        if listener is not None:
            os.dup2(listener, LISTENER)
        os.closerange(LISTENER + kept, 256)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # when memory is short, it goes before its watchers
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
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


def warm(stage: str) -> None:
    """Import what the first optimiser of a process imports: a second that no stage need spend."""
    if stage in TRAINING:
        importlib.import_module("torch._dynamo")
