"""Passes of a trained network on copies of its inputs; answers are checked and copied."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.runtime.contracts import ContractError, OutputError, Spec
from harness.runtime.model import freeze
from harness.runtime.tasks import check_answer
from harness.runtime.worker.hook_calls import hook_time
from harness.runtime.worker.job import Job

SIDES = {"victim": "victim", "defense": "defence"}
"""Role that is responsible for a network → its name in messages."""


class GuardedNetwork:
    """Trained network behind the defence's guard, if it has one; it answers without gradients.

    Args:
        job: job of the stage.
        network: trained network without its guard.
        rebuild: function that returns the same network, built anew.

    Attributes:
        module: the guarded network, frozen.
    """

    def __init__(self, job: Job, network: nn.Module, rebuild: Callable[[], nn.Module]) -> None:
        self._job, self._rebuild = job, rebuild
        self._builder = "defense" if job.has("defense", "build") else "victim"
        self._outer = "defense" if job.has("defense", "guard") else self._builder
        self.module = freeze(job.guard(network))

    def answer(self, x: Tensor) -> Tensor:
        """Return the outputs for a batch of inputs, in memory that no module knows.

        Args:
            x: inputs, contiguous ``[B, …]``; the network gets a copy.

        Raises:
            OutputError: the network changed its inputs, or answered in another type or shape. The
                job's ``called`` is the side that did it.
        """
        try:
            with hook_time(self._job, self._outer):
                return checked_pass(self.module, x, self._job.spec).clone()
        except ContractError as error:
            raise self.name_side(error, x) from error

    def name_side(self, error: ContractError, x: Tensor) -> OutputError:
        """Return an error as one of the side that is responsible, which is noted in the job.

        Args:
            error: breach of the network.
            x: inputs on which it showed.
        """
        self._job.called = self._responsible(x)
        return OutputError(f"{SIDES[self._job.called]}: {error}")

    def _responsible(self, x: Tensor) -> str:
        """Return whose fault a wrong answer is: that of the network within, if it errs alone too.

        It is built anew, as the guard may have changed the one that it was given.
        """
        if self._outer != self._builder:
            try:
                checked_pass(freeze(self._rebuild()), x, self._job.spec)
            except ContractError:
                return self._builder
        return self._outer


def checked_pass(network: nn.Module, x: Tensor, spec: Spec) -> Tensor:
    """Return what a network answers to a copy of ``x``, without gradients.

    Raises:
        OutputError: the network changed its inputs, or the answer has another type or shape.
    """
    given = x.clone()
    with torch.no_grad():
        out: object = network(given)
    # bits, as attacked inputs may hold NaN
    if not torch.equal(given.view(torch.uint8), x.view(torch.uint8)):
        raise OutputError("the network changed its inputs in place; work on a copy (x.clone())")
    return check_answer(out, x, spec)
