"""Scores of convolution weights: what a student's task seems to need least."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss
from harness.runtime.model import eval_mode
from harness.runtime.pruning import Unit, activity

TINY = 1e-12
"""Least size of a weight that a change is divided by, so that exact zeros have a score."""

Evidence = list[Tensor]
"""One tensor for each convolution."""


@dataclass(frozen=True)
class Case:
    """Network before it is pruned, and what its weights are judged by.

    Attributes:
        network: the network that is pruned.
        units: its convolutions, by path.
        tried: a copy of it after the trial, or an equal one without a trial.
        train: the student's training set.
        loss: the student's loss.
        batch: examples of a pass.
        ctx: context with the seeds.
    """

    network: nn.Module
    units: dict[str, Unit]
    tried: nn.Module
    train: Data
    loss: Loss
    batch: int
    ctx: Context

    def weights(self) -> Evidence:
        """Return the weights as they are now."""
        return [unit.conv.weight.detach() for unit in self.units.values()]


def sizes(case: Case) -> Iterator[Evidence]:
    """Yield the weights themselves."""
    yield case.weights()


def drawn(case: Case) -> Iterator[Evidence]:
    """Yield random numbers in [0, 1)."""
    generator = case.ctx.generator("scores")
    yield [torch.rand(w.shape, generator=generator).to(w) for w in case.weights()]


def after_trial(case: Case) -> Iterator[Evidence]:
    """Yield the weights after the trial."""
    yield [case.tried.get_parameter(f"{path}.weight").detach() for path in case.units]


def gradients(case: Case) -> Iterator[Evidence]:
    """Yield the gradients of batches of one pass, in eval mode: the statistics stay as they are."""
    with eval_mode(case.network):
        weights = [unit.conv.weight.requires_grad_() for unit in case.units.values()]
        for x, y in case.train.batches(case.batch):
            value = case.loss(case.network, x, y).mean()
            yield list(torch.autograd.grad(value, weights, materialize_grads=True))


def active(case: Case) -> Iterator[Evidence]:
    """Yield the mean activity of channels."""
    yield [
        channels.view(-1, 1, 1, 1)
        for channels in activity(case.network, case.units.values(), case.train, case.batch)
    ]


@dataclass(frozen=True)
class Score:
    """Row of the table.

    Attributes:
        evidence: function that yields tensors of evidence, one set or one for each batch.
        of: score of a convolution's weights ``[O, I, kh, kw]`` by its evidence; the sum over all
            sets of evidence counts.
    """

    evidence: Callable[[Case], Iterator[Evidence]]
    of: Callable[[Tensor, Tensor], Tensor]


def by_kernel(weights: Tensor, gradient: Tensor) -> Tensor:
    """Return the first-order change of the loss if a whole kernel is erased (Molchanov 2019)."""
    return (gradient * weights).sum(dim=(1, 2, 3), keepdim=True).abs()


SCORES: dict[str, Score] = {
    "mag": Score(sizes, lambda w, _: w.abs()),
    "random": Score(drawn, lambda w, found: found),
    "divmag": Score(after_trial, lambda w, after: (after - w).abs() / w.abs().clamp_min(TINY)),
    "delta": Score(after_trial, lambda w, after: (after - w).abs()),
    "mulmag": Score(after_trial, lambda w, after: ((after - w) * w).abs()),
    "post-weight": Score(after_trial, lambda w, after: after.abs()),
    "gradient": Score(gradients, lambda w, slope: slope.abs()),
    "snip": Score(gradients, lambda w, slope: (slope * w).abs()),
    "taylor": Score(gradients, by_kernel),
    "activity": Score(active, lambda w, mean: mean),
}
"""Score → its evidence and its formula."""


def score_weights(name: str, case: Case) -> list[Tensor]:
    """Return the scores of all weights, in the shapes of the weights."""
    row, weights = SCORES[name], case.weights()
    totals = [torch.zeros_like(w) for w in weights]
    for evidence in row.evidence(case):
        for total, w, found in zip(totals, weights, evidence, strict=True):
            total += row.of(w, found)
    return totals
