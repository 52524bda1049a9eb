"""Stage of a service: a network that answers an attack in another stage."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import torch

from harness.runtime.contracts import as_input
from harness.runtime.worker import arrays
from harness.runtime.worker.broker import Access, Broker
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_link import NetworkLink
from harness.runtime.worker.network_process import run_network
from harness.runtime.worker.network_protocol import Connection
from harness.runtime.worker.query_ledger import QueryLedger

GRANTED = {
    "loss": ("forward", "training_loss", "training_loss_of"),
    "gradients": ("forward",),
    "features": ("features",),
    "maps": ("maps",),
}
"""Value of a manifest's ``needs`` → requests that it grants."""
PR_SET_DUMPABLE = 4
KILL_SECONDS = 5.0


def network(job: Job) -> None:
    """Answer an attack until the process is told to stop; then save what the broker kept.

    Raises:
        NetworkFailed: the network cannot go on.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the broker expects it
    ours, theirs = socket.socketpair()
    # the child, of the same user, can neither read nor trace a broker that is not dumpable
    set_dumpable(dumpable=False)
    if os.fork() == 0:
        set_dumpable(dumpable=True)  # else it cannot open files below /proc/self
        ours.close()
        run_network(job, theirs)
    theirs.close()
    link = NetworkLink(Connection(ours, relays=True), job.spec)
    broker = Broker(link, job.spec, access_of(job))
    try:
        broker.serve(listen(job.inputs["socket"], job.listener))
    finally:
        kill_children()
        save(job, broker)


def set_dumpable(*, dumpable: bool) -> None:
    """Set whether other processes of the same user may read and trace this one (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def access_of(job: Job) -> Access:
    """Return what the attack may ask, by its threat model and its manifest."""
    options = job.options
    if options.access != "oracle":
        goals = inputs_of(job) if options.least_likely else None
        # every model predicts; only needs grant more
        asks = {ask for need in options.needs for ask in GRANTED.get(need, ())}
        return Access({"predict", *asks}, goal_inputs=goals)
    ledger = QueryLedger(inputs_of(job), options.budget)
    return Access(ledger=ledger, answers=options.budget.answers or "scores")


def inputs_of(job: Job) -> torch.Tensor:
    """Return the clean test inputs, float32 in [0, 1]."""
    return as_input(job.tensor("slice_x", "x.npy"), torch.device("cpu"))


def kill_children() -> None:
    """Kill the network's process and all that it has left; orphans become this process's children.

    A process that forks faster than it can be killed ends with the stage.
    """
    path, limit = Path(f"/proc/self/task/{os.getpid()}/children"), time.monotonic() + KILL_SECONDS
    while time.monotonic() < limit and (children := path.read_text(encoding="ascii").split()):
        for pid in map(int, children):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def save(job: Job, broker: Broker) -> None:
    """Save what the broker has seen; no process of a module lives any more."""
    if job.out.is_symlink():
        job.out.unlink()
    shutil.rmtree(job.out, ignore_errors=True)  # the network's process could write here
    job.out.mkdir(exist_ok=True)
    ledger, link = broker.access.ledger, broker.link
    if ledger is not None:
        arrays.save_array(job.out / "oracle" / "counts.npy", ledger.counts)
        broker.passes["refused"] = ledger.refused
    if broker.shown:
        arrays.save_array(job.out / "shown" / "outputs.npy", torch.cat(broker.shown))
        arrays.write_json(job.out / "shown" / "digests.json", broker.digests)
    if broker.goals:
        arrays.save_array(job.out / "goal" / "goal.npy", torch.cat(broker.goals))
    job.passes = broker.passes | {name: count for name, count in link.counts.items() if count}
    job.hook_seconds = link.seconds
    waiting = None if link.asked_at is None else time.monotonic() - link.asked_at
    # a pass of many rows needs as much memory as many passes
    held = -(-broker.held_rows // max(1, job.options.batch or 1))
    job.breach, job.waiting = broker.breach, waiting
    job.graphs = max(len(broker.graphs), held)


def listen(path: Path, descriptor: int | None) -> socket.socket:
    """Return the listening socket of a service.

    Args:
        path: where to make the socket if it is not inherited.
        descriptor: descriptor of an inherited listening socket, or ``None``.
    """
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    server = socket.socket(socket.AF_UNIX)
    # renamed when it listens, so that no attack finds one that refuses it
    aside = path.with_suffix(".new")
    server.bind(str(aside))
    server.listen(4)
    aside.rename(path)
    return server
