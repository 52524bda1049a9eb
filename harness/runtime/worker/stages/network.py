"""Stage of a service: a network that answers an attack in another stage."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import time
from pathlib import Path

import torch

from harness.runtime.contracts import as_input
from harness.runtime.worker import arrays
from harness.runtime.worker.access import BATCH, Access
from harness.runtime.worker.broker import Broker
from harness.runtime.worker.failures import NetworkFailed
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
    "training_loss_gradient": ("training_loss_gradient",),
}
"""Value of a manifest's ``needs``, or of the probe's own → requests that it grants."""
CPU = torch.device("cpu")
PR_SET_DUMPABLE = 4
KILL_SECONDS = 5.0


def network(job: Job) -> None:
    """Answer an attack until the process is told to stop; then save what the broker kept.

    Raises:
        NetworkFailed: the network cannot go on.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the broker expects it
    broker = Broker(start(job), job.spec, access_of(job))
    try:
        broker.serve(listen(job.inputs["socket"], job.listener))
    finally:
        kill_children()
        save(job, broker)


def start(job: Job) -> NetworkLink:
    """Start the process of the job's network, a child that shares a connection and nothing else."""
    ours, theirs = socket.socketpair()
    # the child, of the same user, can neither read nor trace a parent that is not dumpable
    set_dumpable(dumpable=False)
    if os.fork() == 0:
        set_dumpable(dumpable=True)  # else it cannot open files below /proc/self
        ours.close()
        run_network(job, theirs)
    theirs.close()
    return NetworkLink(Connection(ours), job.spec)


def set_dumpable(*, dumpable: bool) -> None:
    """Set whether other processes of the same user may read and trace this one (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def access_of(job: Job) -> Access:
    """Return what the attack may ask, by its threat model and its manifest."""
    options = job.options
    batch = options.batch or BATCH
    if options.access != "oracle":
        goals = job.tensor("slice_x", "x.npy") if options.least_likely else None
        # every model predicts; only needs grant more
        asks = {ask for need in options.needs for ask in GRANTED.get(need, ())}
        return Access(
            {"predict", *asks},
            goal_inputs=goals,
            batch=batch,
            examples=options.examples,
            samples=options.samples,
            noise=options.noise,
            seed=secrets.randbits(62),  # drawn after the fork: a network could subtract the noise
            fixed=options.hook == "probe",
            kept=options.samples,
        )
    earlier = job.tensor("spent", "counts.npy").numpy() if "spent" in job.inputs else None
    clean = as_input(job.tensor("slice_x", "x.npy"), CPU)
    return Access(
        ledger=QueryLedger(clean, options.budget, earlier),
        answers=options.budget.answers or "scores",
        batch=batch,
        examples=options.examples,
        kept=options.samples,
    )


def kill_children() -> None:
    """Kill the network's process and all that it has left; orphans become this process's children.

    Raises:
        NetworkFailed: one is left, as it forks faster than it can be killed. It could still write
            to the output, and ends with the stage.
    """
    path, limit = Path(f"/proc/self/task/{os.getpid()}/children"), time.monotonic() + KILL_SECONDS
    while True:
        for pid in map(int, path.read_text(encoding="ascii").split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # the list of children alone may miss one
            return
        if time.monotonic() > limit:
            raise NetworkFailed("module_error", "the network's processes could not be killed")
        time.sleep(0.001)


def save(job: Job, broker: Broker) -> None:
    """Save what the broker has seen; no process of a module lives any more.

    Raises:
        NetworkFailed: the network's process has left what stays in the output.
    """
    ledger, link = broker.access.ledger, broker.link
    # rows of a mean over passes, as often as they were run: shares of all passes are told by them
    rows = {name: count * broker.access.samples for name, count in link.counts.items() if count}
    job.passes = broker.passes | rows
    job.hook_seconds = link.seconds
    waiting = None if link.asked_at is None else time.monotonic() - link.asked_at
    job.breach, job.waiting, job.graphs = broker.breach, waiting, broker.load
    if ledger is None:
        job.health = broker.health.figures()
    else:
        job.passes["refused"] = ledger.refused
    empty_output(job)
    if ledger is not None:
        arrays.save_array(job.out / "oracle" / "counts.npy", ledger.counts)
    if broker.shown:
        answers = torch.cat(broker.shown, dim=1)
        only = answers[0] if broker.access.kept == 1 else answers
        arrays.save_array(job.out / "shown" / "outputs.npy", only)
        arrays.write_json(job.out / "shown" / "digests.json", broker.digests)
    if broker.goals:
        arrays.save_array(job.out / "goal" / "goal.npy", torch.cat(broker.goals))


def empty_output(job: Job) -> None:
    """Remove what the network's process, which could write here, has left in the output.

    Raises:
        NetworkFailed: something stays.
    """
    if job.out.is_symlink():
        job.out.unlink()
    shutil.rmtree(job.out, ignore_errors=True)
    if os.path.lexists(job.out):
        raise NetworkFailed("contract_violation", "the network's process wrote to the output")
    job.out.mkdir()


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
