"""Stages that test modules and the device; no cell needs their results."""

from __future__ import annotations

import torch

from harness.runtime.contracts import OutputError, as_input
from harness.runtime.worker import arrays
from harness.runtime.worker.job import Job

PROBED = 32
"""Number of inputs whose gradients are checked."""


def inspect(job: Job) -> None:
    """Import every module of the job and check its hooks, for the conformance checks."""
    for role in job.modules:
        job.module(role)


def gradients(job: Job) -> None:
    """Save the share of inputs whose loss gradient is exactly zero, for the conformance checks."""
    network = job.trained()
    live = job.live(network, job.guard(network), ["loss"])
    x = as_input(job.tensor("slice_x", "x.npy")[:PROBED], job.device).requires_grad_(True)
    y = job.tensor("slice_y", "y.npy")[:PROBED].to(job.device)
    (gradient,) = torch.autograd.grad(live.loss(x, y).sum(), x)
    if not bool(torch.isfinite(gradient).all()):
        raise OutputError("the loss's gradient at the input is not finite")
    zero = (gradient.flatten(1) == 0).all(dim=1).float().mean()
    arrays.save_array(job.out / "zero" / "share.npy", zero.reshape(1))


def applies(job: Job) -> None:
    """Build the victim's network, which declines a data set that it does not apply to."""
    job.build()


def device(job: Job) -> None:
    """Check that the device works: compute one matrix product on it."""
    ones = torch.ones(64, 64, device=job.device)
    if float((ones @ ones).sum()) != 64**3:
        raise OutputError(f"{job.device} multiplies wrongly")
