"""Stages that end with the weights of a network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from harness.runtime.contracts import ContractError, Data, as_input
from harness.runtime.model import eval_mode
from harness.runtime.tasks import TASKS, check_answer
from harness.runtime.weight_files import read_tensors
from harness.runtime.worker import arrays
from harness.runtime.worker.adversary import JobAdversary
from harness.runtime.worker.hook_calls import hook_time, unchanged
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_answers import GuardedNetwork
from harness.runtime.worker.state_form import StateForm

PROBED = 32
"""Number of inputs on which a finished network is probed."""

COUNTER = "num_batches_tracked"
"""Name of batch norm's counter of training steps, which plays no part in its answers."""


def train(job: Job) -> None:
    """Train a network with the defence's ``fit``, or else with the victim's recipe."""
    network, victim = job.start(), job.victim
    form = StateForm.of(network)
    check_outputs(job, network)
    train_set, val = job.data("train"), job.data("val")
    defended = job.has("defense", "fit")
    torch.manual_seed(job.ctx.seed("fit"))
    with hook_time(job, "defense" if defended else "victim"), unchanged(train_set, val):
        if defended:
            adversary = JobAdversary(job) if "adversary" in job.modules else None
            job.defense.fit(victim, network, train_set, val, adversary, job.ctx)
        else:
            recipe = victim.recipe(train_set)
            loss = job.loss(recipe.label_smoothing)
            victim.fit(network, train_set, val, loss, job.ctx, recipe)
    form.check_network(network, "fit")
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, val)


def import_weights(job: Job) -> None:
    """Convert existing weights to the victim's own form."""
    network = job.build()
    try:
        tensors = read_tensors(sorted(job.inputs["file"].iterdir()))
    except ValueError as error:
        raise ContractError(f"weights: {error}") from error
    state: object = tensors
    if job.has("victim", "import_weights"):
        with hook_time(job, "victim"):
            state = job.victim.import_weights(tensors)
    if isinstance(state, Mapping):  # old PyTorch counted no batches
        own = network.state_dict().items()
        state = {name: value for name, value in own if name.endswith(COUNTER)} | dict(state)
    if job.options.start and isinstance(state, Mapping):
        # a new head replaces the imported one later, so it need not fit
        head = job.victim.head + "."
        own = network.state_dict().items()
        state = {name: value for name, value in own if name.startswith(head)} | {
            name: value for name, value in state.items() if not str(name).startswith(head)
        }
    tensors = StateForm.of(network).check(state, "import_weights", types=False)
    network.load_state_dict(tensors)
    check_outputs(job, network)
    arrays.save_weights(job.out / "network.safetensors", network)


def deliver(job: Job) -> None:
    """Let the attacker change the public network, which has a fresh head, and check its form."""
    network = job.start()
    form = StateForm.of(network)
    torch.manual_seed(job.ctx.seed("deliver"))
    train_set, val = job.data("train"), job.data("val")
    with hook_time(job, "attack"), unchanged(train_set, val):
        delivered: object = job.attack.deliver(
            job.victim, network, train_set, val, job.options.budget, job.ctx
        )
    arrays.save_weights(job.out / "network.safetensors", form.check_network(delivered, "deliver"))


def repair(job: Job) -> None:
    """Repair a trained network with a few clean examples."""
    network, clean = job.trained(), job.data("clean")
    form = StateForm.of(network)
    torch.manual_seed(job.ctx.seed("repair"))
    with hook_time(job, "defense"), unchanged(clean):
        repaired: object = job.defense.repair(job.victim, network, clean, job.ctx)
    network = form.check_network(network if repaired is None else repaired, "repair")
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, clean)


def check_outputs(job: Job, network: nn.Module) -> None:
    """Check the form of a network's outputs before it is trained or stored.

    A defence with ``build`` may give its network other outputs, which its ``guard`` translates.

    Raises:
        OutputError: it does not return what the task asks for, such as one output for each class.
    """
    if job.has("defense", "build"):
        return
    spec = job.spec
    x = torch.zeros(2, *spec.shape) if spec.items is None else torch.zeros(2, dtype=torch.int64)
    with eval_mode(network), torch.no_grad():
        check_answer(network(x.to(job.device)), x, spec)


def probe(job: Job, network: nn.Module, data: Data) -> None:
    """Save stored outputs of a finished network, computed in the process that made it.

    A conformance check compares them with those of the network rebuilt from its file.

    Args:
        job: job of the stage; the network's weights are saved.
        network: finished network.
        data: set whose first inputs are used.
    """

    def rebuild() -> nn.Module:
        again = job.build()
        arrays.load_weights(job.out / "network.safetensors", again)
        return again

    guarded = GuardedNetwork(job, network, rebuild)
    torch.manual_seed(job.ctx.seed("probe"))
    outputs = guarded.answer(as_input(data.raw[:PROBED], job.device))
    arrays.save_array(job.out / "probe" / "outputs.npy", TASKS[job.spec.task].store(outputs))
