"""Value types that hooks receive and return.

The hooks themselves, with their arguments, are described in ``harness.runtime.hooks``. A module may
import these names or only follow the signatures: argument names are checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.runtime.data import Data as Data
from harness.runtime.data import Overlay as Overlay
from harness.runtime.data import Spec as Spec
from harness.runtime.data import as_input as as_input
from harness.runtime.recipe import Recipe

Sampler = Callable[[Sequence[int]], Tensor]
"""``sampler(shape) -> Tensor``: draws random numbers of a shape."""

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""``loss(network, x, y) -> [B]``: one value for each example, never reduced."""


class ContractError(Exception):
    """Breach of a module's contract; the message names the part and the value found."""


class OutputError(ContractError):
    """Return value of a hook with the wrong type, shape or range, or one that is not finite."""


class QueryRefused(Exception):
    """Refusal of the oracle: at least one row of the batch has no query left; none was counted."""


class NotApplicable(Exception):
    """A cell that the module cannot play, found at run time; the message says why.

    If a victim or an attack raises it, the cell does not count. If a defence raises it, or code
    that a hook of the defence calls, the cell is ``avoided`` and counts as a gap, because an attack
    that a defence makes impossible was not withstood. Facts that are known before a run belong into
    the manifest, so that ``plan`` reports them.
    """


@dataclass(frozen=True)
class Edits:
    """Changes to a training set, returned by ``poison``; the harness counts and applies them.

    Attributes:
        ids: int64 ``[E]``, identifiers of the changed examples, each at most once.
        x: new inputs, float32 in [0, 1] ``[E, …]``, or ``None`` when inputs do not change. They
            replace the stored ones: a random crop or a flip comes later and moves what is in them.
        y: new labels in the data set's form, or ``None`` when labels do not change. In ranking an
            edit may only turn the label's sign or swap the two compared items.
        overlay: trigger on the edited pictures, put there after any random crop and flip, or
            ``None``. All its ids are among ``ids``. Not beside ``x``, and not in ranking.
    """

    ids: Tensor
    x: Tensor | None = None
    y: Tensor | None = None
    overlay: Overlay | None = None


@dataclass(frozen=True)
class Keep:
    """Training examples to keep, returned by ``sanitize``.

    Attributes:
        mask: bool ``[N]``, true for examples that stay.
        y: corrected labels of all ``N`` examples, or ``None``.
    """

    mask: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Budget:
    """Limits of an attack, set by the benchmark. Unused fields are ``None``.

    Attributes:
        norm: norm of the perturbation, ``linf`` or ``l2``.
        eps: largest norm of the perturbation, in units of [0, 1] pixels.
        per_channel: unit of ``eps`` in each channel, beside ``linf``: channel c may change by
            ``eps · per_channel[c]``. ``gradients.ball(budget, x)`` gives these radii.
        patch: side in pixels of the square that may change.
        pixels: number of pixels that may change, each counted once for all its channels.
        edits: number of training examples that may change (a count; the benchmark gives a share).
        labels: whether edits may change labels.
        features: whether edits may change inputs.
        queries: queries per example.
        answers: form of an oracle's answer, ``scores`` or ``labels``.
        target: target class of a backdoor, or ``next`` for the class after each input's own, which
            only attacks get whose manifest says ``targets: [next]``; ``wanted`` is for both.
        unbounded: true when the perturbation has no limit but the box [0, 1].
        minimal: true when the nearest wrong input in ``norm`` is asked for, whatever its distance;
            then there is no ``eps``.
    """

    norm: str | None = None
    eps: float | None = None
    per_channel: tuple[float, ...] | None = None
    patch: int | None = None
    pixels: int | None = None
    edits: int | None = None
    labels: bool | None = None
    features: bool | None = None
    queries: int | None = None
    answers: str | None = None
    target: int | str | None = None
    unbounded: bool | None = None
    minimal: bool | None = None

    def wanted(self, y: Tensor, classes: int) -> Tensor:
        """Return the classes as which a backdoor's triggered inputs should be classified.

        Args:
            y: own classes of the inputs, int64.
            classes: number of classes.

        Raises:
            NotApplicable: the target is none of these classes, or there is none.

        >>> y = torch.tensor([0, 2])
        >>> Budget(target=1).wanted(y, 3), Budget(target="next").wanted(y, 3)
        (tensor([1, 1]), tensor([1, 0]))
        """
        if self.target == "next":
            return (y + 1) % classes
        if not isinstance(self.target, int) or self.target >= classes:
            raise NotApplicable(f"the target {self.target} is none of the {classes} classes")
        return torch.full_like(y, self.target)


class Context(Protocol):
    """Surroundings of a hook: device, folders, random seeds, log.

    Attributes:
        device: device on which tensors belong.
        scratch: folder for temporary files, deleted after the stage.
        state: folder that this module's earlier hook wrote; read-only in later hooks.
        checkpoint: folder bound to the stage: it survives a kill and is deleted on success.
        spec: description of the data set.
    """

    device: torch.device
    scratch: Path
    state: Path
    checkpoint: Path
    spec: Spec

    def seed(self, *dims: object) -> int:
        """Return a seed that depends on the cell's seed, the stage, the module and ``dims``.

        In ``perturb`` it depends on the batch too, and during adversarial training on the step, so
        that no two calls draw the same numbers. In ``trigger`` it is equal in all batches.

        Args:
            dims: names or numbers that tell several draws of one hook apart.
        """
        ...

    def generator(self, *dims: object, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a generator seeded with ``seed(*dims)``.

        Args:
            dims: as in ``seed``.
            device: the CPU unless given, which draws the same numbers on every machine.
        """
        ...

    def draw(self, shape: Sequence[int], sampler: Sampler) -> Tensor:
        """Return random numbers for the rows of a batch, each row's its own.

        ``perturb`` may be given a part of a batch alone: the rows that still stand after another
        attack (``hand_over``). Numbers are drawn for the whole batch, and those of the present rows
        returned, so that an input gets the same ones whatever other rows there are.

        Args:
            shape: ``[B, …]``, with the number of rows that the hook was given.
            sampler: draws numbers of a shape, for example
                ``lambda shape: torch.rand(shape, generator=generator)``.

        Raises:
            ContractError: ``shape`` has another number of rows.
        """
        ...

    def remaining(self) -> float:
        """Return the seconds left before the stage is stopped."""
        ...

    def log(self, message: str) -> None:
        """Write a line to the stage's log."""
        ...

    def count_steps(self, number: int) -> None:
        """Add gradient steps to the stage's number, which is shown as self-reported.

        ``training.fit`` calls it; a module with a training loop of its own can.
        """
        ...

    def metric(self, name: str, value: float, step: int) -> None:
        """Add a point to a training curve, which is shown as self-reported and never scored."""
        ...


class Model(Protocol):
    """Network that an attack is granted: frozen, in eval mode, guarded, counting its passes.

    A defended network lives in another process: what it returns has a gradient of first order, and
    its code, parameters and hooks stay there. Surrogates and public networks live in the attack's
    own process.

    ``loss``, ``features``, ``maps``, ``module`` and ``undefended`` exist only where the threat
    model grants them and the manifest's ``needs`` asks for them; an oracle has ``predict`` and
    ``left`` only. A public network that is existing weights has a new last layer: it offers
    ``features``, ``maps`` and ``fresh`` only.

    Attributes:
        module: the guarded network as a module (needs ``gradients``); that of a defended network
            has a forward pass, but no parameters.
        undefended: the network without its guard, with its parameters, in the attack's own process
            (needs ``weights``). If the defence has a ``build`` of its own, it is the network that
            was trained without a defence.
        spec: description of the data set.
    """

    module: nn.Module
    undefended: nn.Module
    spec: Spec

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs for inputs in [0, 1], without gradients.

        Args:
            x: inputs, float32 in [0, 1] ``[R, …]``.
            rows: int64 ``[R]``, the example of the present batch that each input belongs to
                (default: all, in order). An oracle charges a query to the example whose clean
                input is nearest; ``rows`` decides between equally near ones.

        Raises:
            QueryRefused: an example has no query left.
            NotApplicable: the last layer is new and untrained, so that outputs mean nothing.
        """
        ...

    def left(self) -> Tensor | None:
        """Return the queries left per example of the batch, int64 ``[B]``; ``None``: no limit."""
        ...

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss ``[B]``, differentiable in ``x``; void pixels do not count."""
        ...

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss (the defence's or victim's) ``[B]``, differentiable in ``x``."""
        ...

    def training_loss_of(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the training loss ``[B]`` of given outputs, differentiable in them.

        It is right where the loss uses the network only to get the outputs of ``x``. A loss that
        reads a layer, such as a map that it captures, has ``training_loss(x, y)`` alone.

        Args:
            outputs: any network's outputs for a batch.
            y: the batch's labels.

        Raises:
            NotApplicable: the loss reads a layer of the network.
        """
        ...

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the last layer, flat ``[B, D]``, differentiable in ``x``."""
        ...

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return feature maps of the victim's stages, shallow to deep, differentiable in ``x``."""
        ...

    def fresh(self) -> nn.Module:
        """Return a trainable network of the same architecture, as its training begins.

        It is untrained, or has the existing weights that the victim's training starts from, with a
        new last layer. A defended network, whose code runs in another process, has no ``fresh``.
        """
        ...


class Adversary(Protocol):
    """Attack that a defence trains against, named by the benchmark's ``adversary`` key."""

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return attacked inputs; the network is in eval mode meanwhile, and then as before.

        Args:
            network: the network in training.
            x: inputs, float32 in [0, 1] ``[B, …]``.
            y: their labels.
        """
        ...

    def learn(self, network: nn.Module, train: Data, val: Data) -> None:
        """Run the attack's ``learn`` against the network as it is now, if it has that hook.

        Args:
            network: the network in training.
            train: the training set.
            val: the validation set.
        """
        ...


class Victim(Protocol):
    """Network family with its training recipe; the hooks are described in ``hooks.victim``.

    Attributes:
        head: module path of the last layer.
        stages: module paths of feature maps, shallow to deep.
    """

    head: str
    stages: tuple[str, ...]

    def build(self, spec: Spec) -> nn.Module:
        """Return an untrained network from inputs in [0, 1] to the task's outputs."""
        ...

    def recipe(self, train: Data) -> Recipe:
        """Return the recipe of a whole training on a training set."""
        ...

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        recipe: Recipe | None = None,
    ) -> None:
        """Train ``network`` in place by a recipe, the victim's own where it is ``None``."""
        ...

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the state dict that existing weights make.

        Only a victim whose manifest has ``weights`` with other names than its network's has it.

        Args:
            tensors: the tensors of the files, by name.

        Returns:
            Tensors by name, with the names and shapes of the network that ``build`` returns.
        """
        ...
