"""Mean of a smoothed network's answers over noise that the harness draws, with its gradient.

A smoothed network answers with the class that most noisy copies of an input get (Cohen, Rosenfeld
and Kolter 2019). That has no gradient; an attack gets the logarithm of the mean softmax, and its
gradient, over several copies (Salman et al. 2019, equation 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime.worker.access import Access
from harness.runtime.worker.network_draws import NetworkDraws
from harness.runtime.worker.network_link import NetworkLink, Shape
from harness.runtime.worker.network_process import ANSWERS
from harness.runtime.worker.network_protocol import Message


class SmoothedNetwork(NetworkDraws):
    """Network that is asked on several noisy copies of its inputs for each answer.

    Each row of each request gets noise of its own, as in votes: a network could tell an attack from
    the judge otherwise.

    Args:
        link: connection to the network.
        samples: copies for an answer, at least 1.
        noise: standard deviation of the noise, in pixels of [0, 1].
        seed: seed of the noise.
        fixed: whether all requests get the same noise, so that their differences are the inputs'.
    """

    def __init__(
        self, link: NetworkLink, samples: int, noise: float, seed: int, *, fixed: bool = False
    ) -> None:
        super().__init__(link, samples)
        self._noise, self._seed, self._fixed = noise, seed, fixed
        self._requests = 0
        self._last = _Pass(0, torch.Size(), [])
        self._kept: dict[int, _Pass] = {}

    def forward(
        self,
        kind: str,
        tensors: Sequence[Tensor],
        *,
        graph: int = 0,
        again: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the mean answer over noisy copies; of logits, the log of the mean softmax."""
        if kind == "training_loss_of":  # has logits in the place of inputs
            return super().forward(kind, tensors, graph=graph)
        x, rest = tensors[0].clone(), [one.clone() for one in tensors[1:]]
        self._requests += not self._fixed
        if again is None:
            request, copies = self._requests, self._copies(x, self._requests)
        else:
            request, copies = self._last.request, self._copies(x, self._last.request, again)
        found: list[list[Tensor]] = []
        for number, noisy in zip(self._numbers(graph), copies, strict=True):
            placed = self._link.place([noisy, *rest])
            found.append([one.clone() for one in self._link.forward(kind, placed, graph=number)])
        if kind not in ANSWERS:
            logs: list[Tensor] = []
            outputs = [torch.stack(parts).mean(dim=0) for parts in zip(*found, strict=True)]
        else:
            logs = [torch.log_softmax(one, dim=1) for (one,) in found]
            outputs = [torch.logsumexp(torch.stack(logs), dim=0) - math.log(self.samples)]
        if graph:
            self._kept[graph] = _Pass(request, x.shape, logs)
        return outputs

    def _copies(self, x: Tensor, request: int, rows: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the noisy copies of a request; with ``rows``, under these rows' noise of the last.

        Args:
            x: inputs.
            request: number of the request, which decides the noise.
            rows: number of each input's row in the last backward pass.
        """
        source = torch.Generator().manual_seed((self._seed + request) % 2**63)
        for _ in range(self.samples):
            if rows is None:
                yield x + self._noise * torch.randn(x.shape, generator=source)
            else:
                yield x + self._noise * torch.randn(self._last.shape, generator=source)[rows]

    def answers(self, kind: str, x: Tensor, *, graph: int = 0) -> list[Tensor]:
        """Return copies of the logits of single noisy copies."""
        self._requests += 1
        return [
            self._link.answer(kind, noisy, graph=number)
            for number, noisy in zip(
                self._numbers(graph), self._copies(x, self._requests), strict=True
            )
        ]

    def backward(self, request: Message, given: Sequence[Tensor], shape: Shape) -> Tensor:
        """Return the gradient of the mean answer in the inputs; see ``forward``."""
        kept = self._kept.get(request.graph)
        self._last = kept or self._last
        if not request.keep:
            self._kept.pop(request.graph, None)
        if kept is None or not kept.logs:
            return super().backward(request, given, shape)
        outer, total = given[0].clone(), torch.zeros(shape)
        mean = torch.logsumexp(torch.stack(kept.logs), dim=0)
        for number, log in zip(self._numbers(request.graph), kept.logs, strict=True):
            # of log mean_k softmax(z_k) in z_k: w g − softmax(z_k) ⟨w, g⟩, where w is the share of
            # copy k in the mean
            weighted = outer * torch.exp(log - mean)
            self._link.place([weighted - torch.exp(log) * weighted.sum(dim=1, keepdim=True)])
            total += self._link.backward(request._replace(graph=number), shape)
        return total

    def free(self, graph: int) -> None:
        """Tell the network that the graphs of a pass are not needed any more."""
        self._kept.pop(graph, None)
        super().free(graph)


def network_of(link: NetworkLink, access: Access) -> NetworkDraws:
    """Return what answers an attack: a smoothed network where there is noise."""
    if access.noise is None:
        return NetworkDraws(link, access.samples)
    return SmoothedNetwork(link, access.samples, access.noise, access.seed, fixed=access.fixed)


class _Pass(NamedTuple):
    """Pass whose graphs are kept.

    Attributes:
        request: number of the request, which decides its noise.
        shape: shape of its inputs.
        logs: logarithm of each copy's softmax ``[B, K]``; empty where the answer is no logits.
    """

    request: int
    shape: torch.Size
    logs: list[Tensor]
