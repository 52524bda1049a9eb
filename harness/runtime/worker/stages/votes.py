"""Stage that counts the votes of a smoothed network on noisy copies of its inputs.

No module certifies itself. The noise is drawn and the votes are counted in this process, which runs
no module code; the network answers in a child, which sees noisy copies alone. The noise comes from
a secret seed, as a network that knew it could subtract the noise. A sample of the copies is asked
again in a new process: a network that averages over copies, or remembers inputs, is no function of
one copy, and its certificate would mean nothing. Which copies these are is secret, too, and rows
come in another order each time: a network must not know when to be honest.
"""

from __future__ import annotations

import secrets
import shutil

import torch
from torch import Tensor

from harness.runtime.contracts import as_input
from harness.runtime.worker import arrays
from harness.runtime.worker.batches import batches
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_link import NetworkLink
from harness.runtime.worker.stages.inference import other_batches, sample_size
from harness.runtime.worker.stages.network import empty_output, kill_children, start

CPU = torch.device("cpu")


class Voting:
    """Votes of one network process.

    Args:
        job: job of the stage.
        link: connection to the network.

    Attributes:
        draws: outputs for some copies, float32 ``[D, N, K]``.
        sample: copies of some inputs that are asked again, float32 ``[R, …]``.
        first: outputs for these, ``[R, K]``.
    """

    def __init__(self, job: Job, link: NetworkLink) -> None:
        self._link, self._options = link, job.options
        self._raw, self._noise = job.tensor("x", "x.npy"), job.options.noise or 0.0
        # drawn here, where the network's process has been forked and knows nothing of it
        self._source = torch.Generator().manual_seed(secrets.randbits(62))
        self._shape = (len(self._raw), job.spec.outputs)
        votes, kept = job.options.votes, job.options.draws
        chosen = torch.randperm(votes, generator=self._source)[:kept].tolist()
        self._kept = {number: place for place, number in enumerate(chosen)}
        self.draws = torch.zeros((kept, *self._shape))
        sampled = sample_size(len(self._raw), self._raw[:1].numel())
        self._asked_again = torch.full((len(self._raw),), -1)
        self._asked_again[:sampled] = torch.randint(votes, (sampled,), generator=self._source)
        self.sample = torch.zeros((sampled, *self._raw.shape[1:]))
        self.first = torch.zeros((sampled, job.spec.outputs))

    def count(self, copies: int, *, keep: bool = False) -> Tensor:
        """Return the number of copies that got each class, int32 ``[N, K]``.

        An answer that is not finite counts for no class.

        Args:
            copies: noisy copies of each input.
            keep: whether the outputs of some are kept.
        """
        counts = torch.zeros(self._shape, dtype=torch.int32)
        for number in range(copies):
            order = torch.randperm(len(self._raw), generator=self._source)
            for places in batches(len(self._raw), self._options.batch):
                rows = order[places]
                x = as_input(self._raw[rows], CPU)
                x = x + self._noise * torch.randn(x.shape, generator=self._source)
                out = self._link.answer("predict", x)
                if keep:
                    self._keep(number, rows, x, out)
                finite = out.isfinite().all(dim=1)
                counts[rows[finite], out[finite].argmax(dim=1)] += 1
        return counts

    def _keep(self, number: int, rows: Tensor, x: Tensor, out: Tensor) -> None:
        """Keep the outputs of a copy, and what is asked again, if it is chosen."""
        if number in self._kept:
            self.draws[self._kept[number], rows] = out
        here = self._asked_again[rows] == number
        self.sample[rows[here]], self.first[rows[here]] = x[here], out[here]


def votes(job: Job) -> None:
    """Save how many noisy copies of each input got each class, and the outputs of some.

    Raises:
        NetworkFailed: the network cannot go on, or has written to the output.
    """
    try:
        voting = Voting(job, link := start(job))
        counts = voting.count(job.options.votes, keep=True)
        selection = voting.count(job.options.selection)
        job.hook_seconds = link.seconds
    finally:
        kill_children()
    for folder in (job.folder / "scratch", job.checkpoint):
        shutil.rmtree(folder, ignore_errors=True)  # what it wrote there would tell the next one
    empty_output(job)
    rows, again = ask_again(job, voting.sample)
    empty_output(job)
    arrays.save_array(job.out / "votes" / "counts.npy", counts)
    arrays.save_array(job.out / "votes" / "selection.npy", selection)
    arrays.save_array(job.out / "draws" / "outputs.npy", voting.draws)
    if rows is not None:
        arrays.save_array(job.out / "rebatched" / "rows.npy", rows)
        parts = (voting.first, *again)
        for name, outputs in zip(("first", "outputs", "repeated"), parts, strict=True):
            arrays.save_array(job.out / "rebatched" / f"{name}.npy", outputs)
    copies = job.options.votes + job.options.selection
    job.passes = {"forward": copies * len(counts)}


def ask_again(job: Job, sample: Tensor) -> tuple[Tensor | None, list[Tensor]]:
    """Return a new process's answers to a sample of noisy copies, in other batches, twice.

    Returns:
        Row numbers, and the outputs of both times; ``None`` and nothing where no sample is asked
        for, or where there are no inputs.
    """
    if not job.options.rebatch or not len(sample):
        return None, []
    parts = other_batches(len(sample), sample[:1].numel())
    try:
        link = start(job)
        again = [torch.cat([link.answer("predict", sample[p]) for p in parts]) for _ in range(2)]
    finally:
        kill_children()
    return torch.cat(parts), again
