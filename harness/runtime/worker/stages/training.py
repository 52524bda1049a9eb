"""Stages that end with the weights of a network."""

from __future__ import annotations

import torch
from torch import nn

from harness.runtime.contracts import ContractError, Data, OutputError, as_input
from harness.runtime.model import freeze
from harness.runtime.worker import arrays
from harness.runtime.worker.adversary import JobAdversary
from harness.runtime.worker.hook_calls import hook_time, unchanged
from harness.runtime.worker.job import Job

PROBED = 32
"""Number of inputs on which a finished network is probed."""


def train(job: Job) -> None:
    """Train a network with the defence's ``fit``, or else with the victim's recipe."""
    network, victim = job.start(), job.victim
    train_set, val = job.data("train"), job.data("val")
    defended = job.has("defense", "fit")
    torch.manual_seed(job.ctx.seed("fit"))
    with hook_time(job, "defense" if defended else "victim"), unchanged(train_set):
        if defended:
            adversary = JobAdversary(job) if "adversary" in job.modules else None
            job.defense.fit(victim, network, train_set, val, adversary, job.ctx)
        else:
            victim.fit(network, train_set, val, job.loss(), job.ctx, None)
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, val)


def import_weights(job: Job) -> None:
    """Convert existing weights to the victim's own form."""
    network = job.build()
    (path,) = job.inputs["file"].iterdir()
    with hook_time(job, "victim"):
        state = job.victim.import_weights(path)
    if job.options.start:  # a new head replaces the imported one later, so it need not fit
        head = job.victim.head + "."
        own = network.state_dict().items()
        state = {name: value for name, value in own if name.startswith(head)} | {
            name: value for name, value in state.items() if not name.startswith(head)
        }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # names, shapes
        raise ContractError(f"import_weights() does not fit build(): {error}") from error
    arrays.save_weights(job.out / "network.safetensors", network)


def deliver(job: Job) -> None:
    """Let the attacker change the public network, which has a fresh head, and check its form."""
    network = job.start()
    torch.manual_seed(job.ctx.seed("deliver"))
    train_set = job.data("train")
    with hook_time(job, "attack"), unchanged(train_set):
        delivered: object = job.attack.deliver(
            job.victim, network, train_set, job.data("val"), job.options.budget, job.ctx
        )
    if not isinstance(delivered, nn.Module):
        raise OutputError(f"deliver() returned {type(delivered).__name__}, expected nn.Module")
    expected = {name: value.shape for name, value in job.build().state_dict().items()}
    if {name: value.shape for name, value in delivered.state_dict().items()} != expected:
        raise OutputError("deliver() returned a network whose tensors differ from build()'s")
    arrays.save_weights(job.out / "network.safetensors", delivered)


def repair(job: Job) -> None:
    """Repair a trained network with a few clean examples."""
    network, clean = job.trained(), job.data("clean")
    torch.manual_seed(job.ctx.seed("repair"))
    with hook_time(job, "defense"), unchanged(clean):
        repaired = job.defense.repair(job.victim, network, clean, job.ctx)
    network = network if repaired is None else repaired
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, clean)


def probe(job: Job, network: nn.Module, data: Data) -> None:
    """Save outputs of a finished network, computed in the process that made it.

    A conformance check compares them with those of the network rebuilt from its file.

    Args:
        job: job of the stage.
        network: finished network.
        data: set whose first inputs are used.
    """
    guarded = freeze(job.guard(network))
    torch.manual_seed(job.ctx.seed("probe"))
    x = as_input(data.raw[:PROBED], job.device)
    with torch.no_grad():
        arrays.save_array(job.out / "probe" / "outputs.npy", guarded(x).float())
