"""Stages that run a trained network: predictions on given inputs, and the query oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import as_input
from harness.runtime.model import freeze
from harness.runtime.tasks import TASKS
from harness.runtime.worker import arrays
from harness.runtime.worker.hook_calls import check_tensor, hook_time
from harness.runtime.worker.job import Job
from harness.runtime.worker.oracle import Oracle, listen
from harness.runtime.worker.stages.batches import batches


def predict(job: Job) -> None:
    """Save the outputs of the defended network on inputs without labels.

    The option ``eight_bit`` rounds the inputs first, as a file with 8 bits per value would.
    """
    network = job.trained()
    guarded = freeze(job.guard(network))
    raw, task = job.tensor("x", "x.npy"), TASKS[job.spec.task]
    torch.manual_seed(job.ctx.seed("predict"))
    outputs = []
    for rows in batches(len(raw), job.options.batch):
        x = as_input(raw[rows], job.device)
        if job.options.eight_bit:
            x = (x * 255).round() / 255
        with torch.no_grad(), hook_time(job, "defense" if "defense" in job.modules else "victim"):
            out = guarded(x)
        shapes = task.shapes(x, job.spec)
        wanted = next((one for one in shapes if one == getattr(out, "shape", None)), shapes[0])
        check_tensor(out, "the network's output", wanted, None, finite=False)
        outputs.append(task.store(out).cpu())
    arrays.save_array(job.out / "outputs" / "outputs.npy", torch.cat(outputs))


def oracle(job: Job) -> None:
    """Answer queries until the process is told to stop, then save the counts."""
    network = job.trained()
    guarded = freeze(job.guard(network))
    examples = len(job.tensor("slice_x", "x.npy"))
    budget = job.options.budget
    torch.manual_seed(job.ctx.seed("oracle"))

    def answer(x: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = guarded(x.to(job.device)).float()
        return result

    server = Oracle(answer, examples, budget.queries, budget.answers or "scores", job.spec.shape)
    server.serve(listen(job.inputs["socket"], job.listener))
    arrays.save_array(job.out / "oracle" / "counts.npy", server.counts)
    job.passes = {"forward": int(server.counts.sum()), "backward": 0, "refused": server.refused}
