"""Hooks of victims: architecture, loss, training, existing weights."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, Spec
from harness.runtime.recipe import Recipe


class VictimBuild(Protocol):
    """Architecture of a victim."""

    def build(self, spec: Spec) -> nn.Module:
        """Return an untrained network for a data set.

        Required. A victim also has the attributes ``head`` (module path of the last layer) and
        ``stages`` (module paths of feature maps, shallow to deep).

        Called:
            In every process that needs the network, many times for one trained network. Weights
            are loaded into the result afterwards, so every call must return the same architecture.

        Args:
            spec: task, number of outputs and input shape. The network may depend on nothing else.

        Returns:
            A network that takes float32 inputs in [0, 1], normalises them itself and does not write
            into them. In float32 it returns logits ``[B, K]`` in classification, logits
            ``[B, K, H, W]`` in segmentation (or one output more, for void, as the last), scores or
            embeddings ``[B, D]`` of single items in ranking. Ranking by item number takes int64
            item numbers in place of images.

        Raises:
            NotApplicable: the architecture does not exist for this task or input shape.

        Withheld:
            All data. Torch's global generator is seeded before each call.

        Example:
            def build(self, spec):
                pixels = math.prod(spec.shape)
                return nn.Sequential(nn.Flatten(), nn.Linear(pixels, spec.outputs))
        """
        ...


class VictimLoss(Protocol):
    """Training loss of a victim."""

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return one loss value for each example.

        Optional. Without it the task's loss is used: cross entropy in classification and
        segmentation (a mean over labelled pixels), half the squared error of decision values in
        ranking.

        Called:
            Stage ``train``, at every training step, unless the defence has a loss of its own. In
            ``attack`` also through ``model.training_loss``, by attacks that ask for it; then
            ``network`` may be a function that returns given outputs.

        Args:
            network: the network, in train mode; in eval mode when an attack calls.
            x: inputs, float32 in [0, 1], ``[B, …]``; in ranking the items that the batch names.
            y: labels. Classification int64 ``[B]``; segmentation uint8 ``[B, H, W]``,
                void where it is ``spec.void``; ranking int64 ``[B, arity + 2]``: rows of ``x``,
                label ±1, attribute.

        Returns:
            float ``[B]``, one value per example, never reduced, differentiable in the parameters
            and in ``x``.

        Raises:
            NotApplicable: the loss does not exist for this task.

        Withheld:
            Which examples were edited.

        Example:
            def loss(self, network, x, y):
                return F.multi_margin_loss(network(x), y, reduction="none")
        """
        ...


class VictimRecipe(Protocol):
    """Training recipe of a victim, as data."""

    def recipe(self, train: Data) -> Recipe:
        """Return the recipe of a whole training: steps, batch, rates, schedule, augmentation.

        Required. Where the victim has no ``fit``, the harness trains as the recipe says.

        Called:
            Stage ``train``, before each training, and in all stages by defences and attacks that
            train by another recipe: ``replace(victim.recipe(train), steps=100, lr=0.001)``.

        Args:
            train: the training set, whose size gives the steps of an epoch
                (``recipe.steps_per_epoch``).

        Returns:
            A ``harness.runtime.recipe.Recipe``, the same at each call.

        Raises:
            NotApplicable: the recipe does not exist for these data.

        Withheld:
            Validation and test data, the defence and the attack.

        Example:
            def recipe(self, train):
                return Recipe(steps=300, batch=64, lr=0.1, schedule="cosine")
        """
        ...


class VictimFit(Protocol):
    """Training loop of a victim."""

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        recipe: Recipe | None = None,
    ) -> None:
        """Train the network in place.

        Optional. Without it ``training.fit`` trains as the recipe says.

        Called:
            Stages ``public`` and ``train``, once for each training set and seed, unless the
            defence has ``fit``. Defences and attacks call it too, with their own loss or another
            recipe, also in stages ``sanitize``, ``repair``, ``deliver`` and ``poison``.

        Args:
            network: the network to train; untrained, or with weights to start from.
            train: the training set.
            val: the validation set, for curves and for the choice of the best step.
            loss: ``loss(network, x, y)`` returns one value per example; training minimises its
                mean. It is the defence's, the victim's or the task's loss.
            ctx: seeds, the device, ``ctx.checkpoint`` (survives a kill), ``ctx.metric`` for
                training curves.
            recipe: recipe of the training; ``None`` for the victim's own.

        Returns:
            Nothing. The network's weights are saved after the call.

        Raises:
            NotApplicable: the recipe does not exist for these data.

        Withheld:
            Test data, which examples were edited, and the attack.

        Example:
            def fit(self, network, train, val, loss, ctx, recipe=None):
                ctx.log(f"training on {len(train)} examples")
                training.fit(network, train, loss, ctx, recipe or self.recipe(train), val=val)
        """
        ...


class VictimImportWeights(Protocol):
    """Names of existing weights."""

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the state dict that existing weights make.

        Optional. Without it the tensors must have the names and shapes of the network that
        ``build`` returns.

        Called:
            Stage ``import``, once for each entry of a benchmark with ``weights: NAME``, in place
            of training (or before it, where the weights say ``start: true``).

        Args:
            tensors: the tensors of the files under ``weights``, by name, on the CPU, whose SHA-256
                was checked. A ``.npy`` file is one tensor with the file's name. Names of a nested
                state dict are its own; a prefix ``module.`` of all names is left out.

        Returns:
            Tensors by name. Names and shapes must be those of the network that ``build`` returns;
            with ``start: true`` the last layer's are ignored, and batch norm's counters
            (``num_batches_tracked``) may always be left out.

        Raises:
            NotApplicable: the file holds weights of another variant.

        Withheld:
            All data.

        Example:
            def import_weights(self, tensors):
                names = {"W1": "1.weight", "B1": "1.bias", "W2": "3.weight", "B2": "3.bias"}
                return {names[name]: tensor.t() for name, tensor in tensors.items()}
        """
        ...
