"""Stages that run an attack's hooks at test time: ``learn``, and ``perturb`` or ``trigger``."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Model, as_input
from harness.runtime.model import LiveModel
from harness.runtime.tasks import TASKS
from harness.runtime.worker import arrays
from harness.runtime.worker.hook_calls import check_tensor, hook_time
from harness.runtime.worker.job import Job
from harness.runtime.worker.oracle_model import OracleModel
from harness.runtime.worker.stages.batches import batches

AttackedModel = LiveModel | OracleModel | None
"""What a threat model grants. Hooks see it as a ``Model``, of which an oracle lacks parts."""


def learn(job: Job) -> None:
    """Run ``learn``, before the attack gets the test inputs; its state folder is kept."""
    model = attacked_model(job)
    torch.manual_seed(job.ctx.seed("learn"))
    with hook_time(job, "attack"):
        job.attack.learn(
            cast(Model, model), job.data("train"), job.data("val"), job.options.budget, job.ctx
        )
    save_passes(job, model)


def attack(job: Job) -> None:
    """Run ``perturb`` or ``trigger`` batch by batch; check the form of every output."""
    raw, options = job.tensor("slice_x", "x.npy"), job.options
    job.module("attack")  # constructed before the networks, as its errors come first
    model = None if options.no_model_access else attacked_model(job)
    y = None if "slice_y" not in job.inputs else job.tensor("slice_y", "y.npy").to(job.device)
    goal = None if "goal" not in job.inputs else job.tensor("goal", "goal.npy").to(job.device)
    found, outputs, goals = [], [], []
    torch.manual_seed(job.ctx.seed("attack"))
    for rows in batches(len(raw), options.batch):
        x = as_input(raw[rows], job.device)
        if isinstance(model, OracleModel):
            model.rows = rows
        batch_y = None if y is None or options.no_model_access else y[rows]
        batch_goal = None if goal is None else goal[rows]
        if options.least_likely and isinstance(model, LiveModel):
            batch_goal = model.predict(x.clone()).argmin(dim=1)
            goals.append(batch_goal.cpu())
        x_adv = call_hook(job, model, rows, x, batch_y, batch_goal)
        found.append(check_tensor(x_adv, f"{options.hook}()", tuple(x.shape), (torch.float32,)))
        if isinstance(model, LiveModel) and options.access == "victim":
            with torch.no_grad():
                outputs.append(TASKS[job.spec.task].store(model.predict(x_adv.detach())).cpu())
    arrays.save_array(job.out / "attacked" / "x.npy", torch.cat(found))
    if outputs:
        arrays.save_array(job.out / "shown" / "outputs.npy", torch.cat(outputs))
    if goals:
        arrays.save_array(job.out / "goal" / "goal.npy", torch.cat(goals))
    save_passes(job, model)


def call_hook(
    job: Job,
    model: AttackedModel,
    rows: Tensor,
    x: Tensor,
    y: Tensor | None,
    goal: Tensor | None,
) -> Tensor:
    """Call ``perturb`` or ``trigger`` on copies of one batch; return its output unchecked.

    Args:
        job: job of the stage.
        model: model that the threat model grants.
        rows: numbers of the batch's rows.
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
            with job.ctx.within("batch", int(rows[0])):
                x_adv = job.attack.perturb(cast(Model, model), own_x, own_y, goal, budget, job.ctx)
    same_y = y is None or own_y is None or torch.equal(own_y, y)
    if not (torch.equal(own_x, x) and same_y):
        raise ContractError(f"{hook}() changed its inputs in place")
    return x_adv


def attacked_model(job: Job) -> AttackedModel:
    """Return what the threat model grants: the victim, another network, an oracle or nothing."""
    access = job.options.access
    if access == "oracle":
        return OracleModel(job.inputs["socket"], job.spec, job.device)
    if access == "none":
        return None
    network = job.trained()
    guarded = job.guard(network) if access == "victim" else network
    return job.live(network, guarded, job.modules["attack"].needs)


def save_passes(job: Job, model: AttackedModel) -> None:
    """Note the passes through a model, for the receipt."""
    if isinstance(model, LiveModel):
        job.passes = {"forward": model.passes.forward, "backward": model.passes.backward}
