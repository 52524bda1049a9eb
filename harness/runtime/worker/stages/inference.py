"""Stages that run a trained network: predictions on given inputs, and the query oracle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from harness.runtime.contracts import as_input
from harness.runtime.tasks import TASKS
from harness.runtime.worker import arrays
from harness.runtime.worker.batches import batches
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_answers import GuardedNetwork

SAMPLED = 64
"""Most inputs that are predicted again in other batches."""
SAMPLED_VALUES = 2**21
"""Most values of these inputs together, but for the first two: large pictures are costly."""
SAMPLE_BATCH = 7
"""Inputs of these batches; no benchmark's batches have this size."""
ALONE = 3
"""Inputs that are predicted once more, each alone."""


def predict(job: Job) -> None:
    """Save the outputs of the defended network on inputs without labels.

    The option ``eight_bit`` rounds the inputs first, as a file with 8 bits per value would. The
    option ``rebatch`` saves outputs for a sample of the inputs in other batches, and once more in
    the same ones. With the option ``draws`` outputs are ``[draws, N, …]``, pass after pass over all
    inputs.
    """
    network = GuardedNetwork(job, job.trained(), job.trained)
    raw, store = job.tensor("x", "x.npy"), TASKS[job.spec.task].store
    torch.manual_seed(job.ctx.seed("predict"))

    def outputs(parts: Iterable[Tensor]) -> Iterator[Tensor]:
        for rows in parts:
            x = as_input(raw[rows], job.device)
            if job.options.eight_bit:
                x = (x * 255).round() / 255
            yield store(network.answer(x))

    draws = job.options.draws
    whole = (rows for _ in range(draws) for rows in batches(len(raw), job.options.batch))
    lengths = (len(raw),) if draws == 1 else (draws, len(raw))
    path = job.out / "outputs" / "outputs.npy"
    if len(raw):
        arrays.save_parts(path, outputs(whole), *lengths)
    else:  # of the examples that an attack was handed, as none was left
        arrays.save_array(path, torch.empty((*lengths, job.spec.outputs)))
    if job.options.rebatch:
        parts = other_batches(len(raw), raw[:1].numel())
        arrays.save_array(job.out / "rebatched" / "rows.npy", torch.cat(parts))
        count = sum(map(len, parts))
        for name in ("outputs", "repeated"):
            arrays.save_parts(job.out / "rebatched" / f"{name}.npy", outputs(parts), count)


def sample_size(examples: int, values: int) -> int:
    """Return how many inputs are predicted again; see ``other_batches``."""
    return min(examples, SAMPLED, max(2, SAMPLED_VALUES // max(1, values)))


def other_batches(examples: int, values: int) -> list[Tensor]:
    """Return row numbers of a sample in another order and other batches, some of one row.

    Args:
        examples: number of inputs.
        values: values of one input.

    >>> [rows.tolist() for rows in other_batches(10, 1)]
    [[9, 8, 7, 6, 5, 4, 3], [2, 1, 0], [0], [1], [2]]
    """
    sampled = sample_size(examples, values)
    backwards = torch.arange(sampled).flip(0)
    alone = torch.arange(min(sampled, ALONE))
    return [*torch.split(backwards, SAMPLE_BATCH), *torch.split(alone, 1)]
