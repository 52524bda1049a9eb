"""Mean of a random network's answers: expectation over transformation, outside of its process.

A defence that draws as it answers spoils a gradient of one draw without being robust, so a
white-box attack gets the mean over several (Athalye, Carlini and Wagner 2018). The network's
process gets as many equal requests, each for one pass. The requests for what is compared later are
the same, so that it can answer neither those of the attack nor ours alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from harness.runtime.worker.network_link import NetworkLink, Shape
from harness.runtime.worker.network_protocol import Message


class NetworkDraws:
    """Network that is asked several times for each answer.

    Args:
        link: connection to the network.
        samples: passes for an answer, at least 1.

    Attributes:
        samples: the same.
    """

    def __init__(self, link: NetworkLink, samples: int) -> None:
        self._link, self.samples = link, samples

    def forward(
        self, kind: str, tensors: Sequence[Tensor], *, graph: int = 0, again: Tensor | None = None
    ) -> list[Tensor]:
        """Return the mean answer; of one pass, where the network's process may change it.

        Args:
            kind: request.
            tensors: what it brings, which was placed.
            graph: number of the pass whose graphs are kept, or 0.
            again: rows of the last backward pass whose noise, if there is some, the inputs get.

        Raises:
            NetworkFailed: the network failed, or an answer has another form.
        """
        if self.samples == 1:
            return self._link.forward(kind, tensors, graph=graph)
        total: list[Tensor] = []
        for number in self._numbers(graph):
            found = self._link.forward(kind, self._link.place(tensors), graph=number)
            if not total:
                total = [one.clone() for one in found]
                continue
            for one, more in zip(total, found, strict=True):
                one += more
        return [one.div_(self.samples) for one in total]

    def answers(self, kind: str, x: Tensor, *, graph: int = 0) -> list[Tensor]:
        """Return copies of the single answers to inputs of our own, asked as in ``forward``."""
        return [self._link.answer(kind, x, graph=number) for number in self._numbers(graph)]

    def backward(self, request: Message, given: Sequence[Tensor], shape: Shape) -> Tensor:
        """Return the gradient of the mean; of one pass, where its process may change it.

        Args:
            request: what says of which pass, of which outputs, and whether its graphs are kept.
            given: gradients of the outputs, which were placed.
            shape: shape of the input.

        Raises:
            NetworkFailed: the network failed, or an answer has another form.
        """
        if self.samples == 1:
            return self._link.backward(request, shape)
        total = None
        for number in self._numbers(request.graph):
            self._link.place(given)
            found = self._link.backward(request._replace(graph=number), shape)
            total = found.clone() if total is None else total.add_(found)
        assert total is not None
        return total.div_(self.samples)  # not of each before, where a small one would vanish

    def free(self, graph: int) -> None:
        """Tell the network that the graphs of a pass are not needed any more; see ``forward``."""
        for number in self._numbers(graph):
            self._link.free(number)

    def _numbers(self, graph: int) -> list[int]:
        """Return the numbers of the single passes that are kept, 0 where none is."""
        first = graph * self.samples
        return [first + draw if graph else 0 for draw in range(self.samples)]
