"""Stage ``probe``: our own search on a defended network, which answers in a service."""

from __future__ import annotations

import torch

from harness.runtime.contracts import as_input
from harness.runtime.worker import arrays, health_names
from harness.runtime.worker.gradient_health import measure
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_model import NetworkModel, connect


def probe(job: Job) -> None:
    """Save figures on the health of a network's gradients, at some of the test inputs.

    No code of a module runs in this process: nothing but the network's answers can spoil them.
    """
    raw = job.tensor("slice_x", "x.npy")
    chosen = torch.Generator().manual_seed(int(job.options.choice, 16))
    rows = torch.randperm(len(raw), generator=chosen)[: job.options.batch]
    x = as_input(raw[rows], job.device)
    y = job.tensor("slice_y", "y.npy")[rows].to(job.device)
    model = NetworkModel(
        connect(job.inputs["socket"], job.started + job.deadline),
        job.spec,
        job.device,
        needs=("gradients",),
    )
    generator = torch.Generator().manual_seed(job.ctx.seed("probe"))
    found = measure(
        model.module,
        model.predict,
        x,
        y,
        job.spec,
        generator,
        lambda at: model.call("training_loss_gradient", at, y)[0],
    )
    folder = job.out / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    arrays.write_json(folder / health_names.FIGURES, found)
