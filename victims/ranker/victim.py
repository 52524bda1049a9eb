"""Ranker of pairs or triplets, after RankNet (Burges et al., ICML 2005)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50

from harness.runtime.contracts import Context, Data, Loss, Spec
from harness.runtime.ranking import row_losses
from harness.runtime.recipe import Recipe, every_epochs, steps_per_epoch
from harness.runtime.tasks import decision_values
from harness.runtime.training import fit

from .networks import BACKBONES

LOSSES = {
    "square": lambda decision, label: 0.5 * (decision - label) ** 2,
    "logistic": lambda decision, label: F.softplus(-label * decision),
    "margin": lambda decision, label: F.relu(1 - label * decision),
}
"""Losses of the decision value (a difference of scores or of distances) and the label ±1."""


class Ranker:
    """Network on items: each is scored once, and a comparison reads two or three outputs.

    Args:
        backbone: network below the head, a row of ``BACKBONES``.
        objective: loss of a comparison, a row of ``LOSSES``.
        width: channels of the small network's first stage.
        side: side to which pictures are resized for ResNet-50.
        optimizer: ``sgd`` or ``adam``.
        lr: learning rate at the start.
        momentum: momentum of SGD.
        weight_decay: L2 penalty on all parameters.
        schedule: course of the learning rate, ``constant``, ``cosine`` or ``linear``.
        decay_every: epochs after which the learning rate falls to a tenth; 0 is never.
        steps: gradient steps of a whole training, where ``epochs`` is 0.
        epochs: epochs of a whole training.
        batch: comparisons of a step.
        score_batch: items scored at once on validation.
    """

    head = "head"

    def __init__(
        self,
        *,
        backbone: str,
        objective: str,
        width: int,
        side: int,
        optimizer: str,
        lr: float,
        momentum: float,
        weight_decay: float,
        schedule: str,
        decay_every: int,
        steps: int,
        epochs: int,
        batch: int,
        score_batch: int,
    ) -> None:
        self.backbone, self.stages = BACKBONES[backbone], BACKBONES[backbone].stages
        self.name, self.objective = backbone, LOSSES[objective]
        self.width, self.side = width, side
        self.rule = {"optimizer": optimizer, "lr": lr, "momentum": momentum}
        self.rule |= {"weight_decay": weight_decay, "schedule": schedule}
        self.decay_every, self.steps, self.epochs = decay_every, steps, epochs
        self.batch, self.score_batch = batch, score_batch

    def build(self, spec: Spec) -> nn.Module:
        return self.backbone.build(spec, self.width, self.side)

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        outputs = network(x)
        return self.objective(decision_values(outputs, y), y[:, -2].to(outputs.dtype))

    def recipe(self, train: Data) -> Recipe:
        epoch = steps_per_epoch(len(train), self.batch)
        steps = self.epochs * epoch or self.steps
        return Recipe(
            steps=steps,
            batch=self.batch,
            head=self.head,
            milestones=every_epochs(self.decay_every, epoch, steps),
            log_every=max(100, epoch),
            **self.rule,
        )

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        recipe: Recipe | None = None,
    ) -> None:
        def validate(network: nn.Module) -> float:
            return float(row_losses(network, loss, val, self.score_batch).mean())

        recipe = recipe or self.recipe(train)
        fit(network, train, loss, ctx, recipe, validate=validate if len(val) else None)

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename a ResNet-50 with torchvision's names, without its last layer: a head is new."""
        if self.name != "resnet-50":
            raise ValueError("these weights need backbone: resnet-50")
        known = resnet50(weights=None).state_dict()
        wanted = [name for name in known if not name.startswith("fc.")]
        wrong = [
            name
            for name in wanted
            if not name.endswith("num_batches_tracked")  # what old PyTorch did not count
            and getattr(tensors.get(name), "shape", None) != known[name].shape
        ]
        if wrong:
            raise ValueError(
                f"this is no ResNet-50 with torchvision's names: {len(wrong)} tensors are missing "
                f"or misshapen, among them {', '.join(wrong[:3])}"
            )
        return {f"body.1.{name}": tensors.get(name, known[name]) for name in wanted}
