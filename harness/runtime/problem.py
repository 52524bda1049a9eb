"""The optimisation problem of an evasion attack: its loss, gradient, margin and end.

Attacks that search for inputs near ``x`` repeat the same lines: choose the goal or the true label,
set the sign of the loss, differentiate the sum of the batch, drop the rows that are done. These
lines are here, once. The idea is Foolbox's ``Criterion``, with the loss added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.runtime import dense
from harness.runtime.contracts import Model
from harness.runtime.gradients import gradient_of
from harness.runtime.tasks import TASKS

MARGIN = 1e-5
"""Margin beyond the decision boundary from which a row is done, as a share of its largest logit.

Sums are rounded differently in batches of another size, which must not undo a success. Their
rounding grows with the logits, as this margin does.
"""


@dataclass(frozen=True)
class Evaluation:
    """One forward pass of a problem.

    Attributes:
        x_adv: the inputs, a leaf of the graph, ``[B, …]``.
        logits: outputs, detached, ``[B, K]`` or ``[B, K, H, W]``.
        loss: the loss to raise, differentiable in ``x_adv``, ``[B]``.
    """

    x_adv: Tensor
    logits: Tensor
    loss: Tensor

    def gradient(self) -> Tensor:
        """Return the gradient of the summed loss, shaped as ``x_adv``; callable once."""
        (gradient,) = torch.autograd.grad(self.loss.sum(), self.x_adv)
        return gradient


@dataclass(frozen=True)
class Problem:
    """Raise a loss on one batch: away from the labels, or toward the goal if there is one.

    Make it from the arguments of ``perturb``. Void pixels never enter a loss or a count. In ranking
    only ``loss`` and ``gradient`` are defined.

    Attributes:
        model: the victim as the hook gets it.
        y: true labels, int64 ``[B]`` or uint8 ``[B, H, W]``.
        goal: labels to reach, shaped as ``y``, or ``None`` if any error will do.
        loss_fn: a row of ``dense.LOSSES`` or another of its form; by default the task's loss.
        index: rows of the hook's batch that the problem holds, int64 ``[B]``, or ``None`` for all.

    >>> from types import SimpleNamespace
    >>> from harness.runtime.contracts import Spec
    >>> spec, identity = Spec("classification", 2, (2,)), torch.nn.Identity()
    >>> model = SimpleNamespace(spec=spec, module=identity, loss=TASKS["classification"].loss)
    >>> x = torch.tensor([[0.9, 0.1], [0.2, 0.8]])  # these inputs are their own logits
    >>> problem = Problem(model, y=torch.tensor([0, 0]))
    >>> problem.gradient(x).sign()
    tensor([[-1.,  1.],
            [-1.,  1.]])
    >>> problem.done(x)
    tensor([False,  True])
    >>> problem.rows(~problem.done(x)).y
    tensor([0])
    """

    model: Model
    y: Tensor
    goal: Tensor | None = None
    loss_fn: dense.PixelLoss | None = None
    index: Tensor | None = None

    @property
    def targeted(self) -> bool:
        """Whether there is a goal."""
        return self.goal is not None

    @property
    def labels(self) -> Tensor:
        """The labels that the loss reads: the goal, or else the true ones."""
        return self.y if self.goal is None else self.goal

    @property
    def void(self) -> int | None:
        """The label of pixels that do not count, or ``None``."""
        return self.model.spec.void

    def loss(self, x_adv: Tensor) -> Tensor:
        """Return the loss to raise, ``[B]``, differentiable in ``x_adv``.

        Args:
            x_adv: inputs in [0, 1], float32 ``[B, …]``.

        Raises:
            ContractError: the manifest's ``needs`` lack ``loss``, or ``gradients`` where there is
                a ``loss_fn``.
        """
        if self.loss_fn is None:
            return self._ascent(self.model.loss(x_adv, self.labels))
        return self.loss_of(self.model.module(x_adv))

    def loss_of(self, logits: Tensor) -> Tensor:
        """Return the loss to raise, ``[B]``, of logits ``[B, K]`` or ``[B, K, H, W]``."""
        if self.loss_fn is None:
            return self._ascent(TASKS[self.model.spec.task].loss(logits, self.labels, self.void))
        pixels = dense.values(self.loss_fn, logits, self.labels, self.void)
        return self._ascent(dense.mean(pixels, self.labels, void=self.void))

    def gradient(self, x_adv: Tensor) -> Tensor:
        """Return the gradient of the summed loss, shaped as ``x_adv``: one pass each way.

        Raises:
            ContractError: as ``loss``.
        """
        return gradient_of(self.loss, x_adv)

    def evaluate(self, x_adv: Tensor) -> Evaluation:
        """Return loss and logits of one forward pass, and the gradient if it is asked for.

        Raises:
            ContractError: the manifest's ``needs`` lack ``gradients``.
        """
        x_adv = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.model.module(x_adv)
            return Evaluation(x_adv, logits.detach(), self.loss_of(logits))

    def predict(self, x_adv: Tensor) -> Tensor:
        """Return outputs without a gradient: one query for each row that the problem holds.

        Raises:
            QueryRefused: a row has no query left.
        """
        return self.model.predict(x_adv, self.index)

    def margin(self, logits: Tensor) -> Tensor:
        """Return how far each row is past the decision boundary, ``[B]``; positive is success.

        Untargeted: the best other logit minus the label's. Targeted: the goal's minus the best
        other one.

        Args:
            logits: of a classifier, ``[B, K]``.
        """
        lead = lead_of_others(logits, self.labels)
        return -lead if self.targeted else lead

    def active(self, logits: Tensor) -> Tensor:
        """Return which labels are not yet as the attacker wants them, bool shaped as ``y``."""
        hit = logits.argmax(dim=1) == self.labels
        wanted = ~hit if self.targeted else hit
        return wanted if self.void is None else wanted & (self.labels != self.void)

    def done(self, logits: Tensor) -> Tensor:
        """Return which rows need no further search, bool ``[B]``.

        In classification, rows whose margin exceeds ``MARGIN`` times their largest magnitude of a
        logit, so that a network with all logits multiplied ends an attack at the same point. In
        segmentation none: the loss of a map can still rise when all of its pixels are wrong.
        """
        if self.model.spec.task != "classification":
            return torch.zeros(len(self.y), dtype=torch.bool, device=self.y.device)
        return self.margin(logits) > MARGIN * logits.abs().amax(dim=1)

    def nearest_classes(self, logits: Tensor, most: int) -> tuple[Tensor, ...]:
        """Return classes to search toward, int64 ``[B]`` each: the wrong ones with largest logits.

        Args:
            logits: of a classifier on the clean inputs, ``[B, K]``.
            most: number of classes; there are no more than K − 1. With a goal it is the only one.
        """
        if self.goal is not None:
            return (self.goal,)
        others = logits.scatter(1, self.y.unsqueeze(1), -torch.inf)
        return others.topk(min(most, logits.shape[1] - 1), dim=1).indices.unbind(1)

    def rows(self, keep: Tensor) -> Problem:
        """Return the problem of some rows: ``keep`` is bool ``[B]``, or int64 row numbers."""
        index = self.index
        if index is None:
            index = torch.arange(len(self.y), device=self.y.device)
        goal = None if self.goal is None else self.goal[keep]
        return replace(self, y=self.y[keep], goal=goal, index=index[keep])

    def _ascent(self, loss: Tensor) -> Tensor:
        return -loss if self.targeted else loss


def lead_of_others(logits: Tensor, y: Tensor) -> Tensor:
    """Return the best other logit minus the label's, ``[B]``.

    As a ``loss_fn`` it is the margin, which does not saturate as cross entropy does.

    Args:
        logits: of a classifier, ``[B, K]``.
        y: labels, int64 ``[B]``.

    >>> lead_of_others(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([0, 1]))
    tensor([ 2., -2.])
    """
    own = logits.gather(1, y[:, None]).squeeze(1)
    return logits.scatter(1, y[:, None], -torch.inf).amax(dim=1) - own
