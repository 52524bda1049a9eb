"""Stages that run an attack's hooks at test time: ``learn``, and ``perturb`` or ``trigger``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Model, as_input
from harness.runtime.model import LiveModel, freeze
from harness.runtime.worker import arrays
from harness.runtime.worker.batches import Batch, handed
from harness.runtime.worker.hook_calls import check_tensor, hook_time, unchanged
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_model import NetworkModel, connect

AttackedModel = LiveModel | NetworkModel | None
"""What a threat model grants: a network in this process, one in another, or none."""


def learn(job: Job) -> None:
    """Run ``learn``, before the attack gets the test inputs; its state folder is kept."""
    model, train_set, val = attacked_model(job), job.data("train"), job.data("val")
    torch.manual_seed(job.ctx.seed("learn"))
    with hook_time(job, "attack"), unchanged(train_set, val):
        job.attack.learn(cast(Model, model), train_set, val, job.options.budget, job.ctx)
    save_passes(job, model)


def attack(job: Job) -> None:
    """Run ``perturb`` or ``trigger`` batch by batch; check the form of every output."""
    raw, options = job.tensor("slice_x", "x.npy"), job.options
    job.module("attack")  # constructed before the networks, as its errors come first
    model = None if options.no_model_access else attacked_model(job)
    y = None if "slice_y" not in job.inputs else job.tensor("slice_y", "y.npy").to(job.device)
    goal = None if "goal" not in job.inputs else job.tensor("goal", "goal.npy").to(job.device)
    torch.manual_seed(job.ctx.seed("attack"))

    def attacked() -> Iterator[Tensor]:
        for batch in handed_batches(job, len(raw)):
            rows = batch.rows
            x = as_input(raw[rows], job.device)
            if isinstance(model, NetworkModel):
                model.begin(rows)
            batch_y = None if y is None or options.no_model_access else y[rows]
            batch_goal = None if goal is None else goal[rows]
            if options.least_likely and isinstance(model, NetworkModel):
                batch_goal = model.goal()
            x_adv = call_hook(job, model, batch, x, batch_y, batch_goal)
            found = check_tensor(x_adv, f"{options.hook}()", tuple(x.shape), (torch.float32,))
            if isinstance(model, NetworkModel):
                model.show(found)
            yield found

    path = job.out / "attacked" / "x.npy"
    if len(raw):
        arrays.save_parts(path, attacked(), len(raw))
    else:  # no example is left to attack
        arrays.save_array(path, torch.empty(raw.shape))
    save_passes(job, model)


def handed_batches(job: Job, examples: int) -> Iterator[Batch]:
    """Return the batches of a stage whose examples are an eval subset, or a part of one."""
    rows, whole = torch.arange(examples), examples
    if "rows" in job.inputs:
        rows, whole = job.tensor("rows", "rows.npy"), int(job.tensor("rows", "size.npy"))
    return handed(rows, whole, job.options.batch)


def call_hook(
    job: Job,
    model: AttackedModel,
    batch: Batch,
    x: Tensor,
    y: Tensor | None,
    goal: Tensor | None,
) -> Tensor:
    """Call ``perturb`` or ``trigger`` on copies of one batch; return its output unchecked.

    Args:
        job: job of the stage.
        model: model that the threat model grants.
        batch: the batch.
        x: inputs of the batch.
        y: their labels, or ``None`` if they are withheld.
        goal: labels to reach, or ``None``.

    Raises:
        ContractError: the hook changed inputs or labels in place.
    """
    hook, budget = job.options.hook, job.options.budget
    own_x, own_y = x.clone(), None if y is None else y.clone()
    with hook_time(job, "attack"):
        if hook == "trigger":
            x_adv = job.attack.trigger(own_x, budget, job.ctx)
        else:
            with job.ctx.batch(batch):
                x_adv = job.attack.perturb(cast(Model, model), own_x, own_y, goal, budget, job.ctx)
    same_y = y is None or own_y is None or torch.equal(own_y, y)
    if not (torch.equal(own_x, x) and same_y):
        raise ContractError(f"{hook}() changed its inputs in place; work on a copy (x.clone())")
    return x_adv


def attacked_model(job: Job) -> AttackedModel:
    """Return what the threat model grants."""
    options = job.options
    if options.access == "none":
        return None
    needs = job.modules["attack"].needs
    if options.access == "source":  # no code of a defence takes part
        headless = "start" in job.inputs
        network = job.start() if headless else job.trained()
        return job.live(network, network, needs, job.start, headless=headless)
    granted = "undefended" in job.inputs
    return NetworkModel(
        connect(job.inputs["socket"], job.started + job.deadline),
        job.spec,
        job.device,
        needs=needs,
        queries=options.access == "oracle",
        undefended=freeze(job.trained("undefended")) if granted else None,
    )


def save_passes(job: Job, model: AttackedModel) -> None:
    """Note the passes through a model in this process; a service counts its own."""
    if isinstance(model, LiveModel):
        job.passes = {"forward": model.passes.forward, "backward": model.passes.backward}
