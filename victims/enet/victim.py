"""ENet (Paszke et al. 2016): a small segmentation network that downsamples early."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Context, Data, Loss, NotApplicable, Spec
from harness.runtime.miou import pooled_miou
from harness.runtime.recipe import Recipe, Selection, every_epochs, steps_per_epoch
from harness.runtime.training import fit

from .network import FORMS, Network
from .released import rename


def head_in(network: nn.Module) -> nn.Module:
    """Return the head of a network, also of one inside a guard: it holds what the loss reads."""
    for module in network.modules():
        if isinstance(getattr(module, "class_weights", None), Tensor):
            return module
    raise ValueError("the network has no buffer class_weights, which ENet's loss reads")


class ENet:
    """ENet, trained as davidtvs's PyTorch-ENet: Adam with a learning rate that falls in steps.

    Training returns the state with the best mean IoU on validation.

    Args:
        form: form of the network, a row of ``FORMS``.
        void_output: whether there is one output more, for void, which no label teaches.
        class_weights: weights of the loss, a row of ``class_weights.KINDS``.
        epochs: epochs of a whole training.
        batch: pictures of a step.
        lr: learning rate at the start.
        weight_decay: L2 penalty on all parameters.
        decay_every: epochs after which the learning rate falls to a tenth; 0 is never.
        validate_every: epochs between two validations.
    """

    head = "head"
    stages = ("initial", "stage1", "stage2", "stage3")

    def __init__(
        self,
        *,
        form: str,
        void_output: bool,
        class_weights: str,
        epochs: int,
        batch: int,
        lr: float,
        weight_decay: float,
        decay_every: int,
        validate_every: int,
    ) -> None:
        self.form, self.void_output, self.class_weights = form, void_output, class_weights
        self.epochs, self.batch, self.lr, self.weight_decay = epochs, batch, lr, weight_decay
        self.decay_every, self.validate_every = decay_every, validate_every

    def build(self, spec: Spec) -> nn.Module:
        channels = spec.shape[0]
        if channels > 15:
            raise NotApplicable("ENet takes pictures of up to 15 channels")
        network = Network(channels, spec.outputs, FORMS[self.form], void_output=self.void_output)
        network.head.void = spec.void
        return network

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        head = head_in(network)
        pixels = dense.values(dense.cross_entropy, network(x), y, head.void)
        return dense.mean(pixels, y, head.class_weights, head.void)

    def recipe(self, train: Data) -> Recipe:
        epoch = steps_per_epoch(len(train), self.batch)
        steps, often = self.epochs * epoch, self.validate_every * epoch
        return Recipe(
            steps=steps,
            batch=self.batch,
            lr=self.lr,
            optimizer="adam",
            weight_decay=self.weight_decay,
            head=self.head,
            milestones=every_epochs(self.decay_every, epoch, steps),
            selection=Selection("val_miou", often, self.miou),
            log_every=often,
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
        weights = class_weights(self.class_weights, train.y, train.spec.outputs, train.spec.void)
        head_in(network).class_weights.copy_(weights)
        ctx.log(f"class weights: {[round(w, 4) for w in weights.tolist()]}")
        own = self.recipe(train)
        recipe = recipe or own
        # a defence's own loss may cost clean IoU on purpose, so that must not choose its state
        if loss != self.loss and recipe.selection == own.selection:
            recipe = replace(recipe, selection=None)
        fit(network, train, loss, ctx, recipe, val=val)

    def miou(self, network: nn.Module, val: Data) -> float:
        """Return the mean IoU over all pixels of a validation set."""
        return pooled_miou(network, val, self.batch)

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename ``save/ENet_default`` of davidtvs's PyTorch-ENet, trained on CamVid in 2018."""
        if not (self.form == "older" and self.void_output):
            raise ValueError("the released weights need form: older and void_output: true")
        state = Network(3, 11, FORMS[self.form], void_output=self.void_output).state_dict()
        return rename(tensors, state)
