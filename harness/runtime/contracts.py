"""Value types that hooks receive and return.

The hooks themselves, with their arguments, are described in ``harness.runtime.hooks``. A module may
import these names or only follow the signatures: argument names are checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.runtime.recipe import Recipe

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
class Spec:
    """Description of a data set: all that a network's architecture may depend on.

    Attributes:
        task: ``classification``, ``ranking`` or ``segmentation``.
        outputs: number of classes; in ranking the number of scores or embedding values per item.
        shape: one input's shape, ``(C, H, W)`` for images, ``(F,)`` for features.
        items: number of items in ranking by item number, else ``None``.
        arity: items per comparison, 2 (pairs) or 3 (triplets); ``None`` outside ranking.
        void: label of pixels that do not count, beyond the classes, or ``None``.
        classes: names of the classes or attributes, for display.
        stored: one image's shape as it is stored, if that is larger than ``shape``; else ``None``.
    """

    task: str
    outputs: int
    shape: tuple[int, ...]
    items: int | None = None
    arity: int | None = None
    void: int | None = None
    classes: tuple[str, ...] = ()
    stored: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Data:
    """Labelled data set: training, validation or clean examples.

    In ranking, an example is a comparison of items; elsewhere it is one input with its label.

    Attributes:
        raw: stored inputs, uint8 ``[N, C, H, W]``, float32 features ``[N, F]`` or int64 item
            numbers ``[N]``. In ranking the rows are items.
        y: labels on ``device``. Classification int64 ``[N]``; segmentation uint8 ``[N, H, W]``;
            ranking int64 ``[N, arity + 2]``: item rows, label ±1, attribute.
        ids: int64 ``[N]``, stable identifiers of the examples (in ranking, of the comparisons).
        spec: description of the data set.
        device: device of ``x``, ``y`` and the batches.
        uncropped: images ``[N, *spec.stored]`` of which ``raw`` is the middle, or ``None`` where
            they are stored as networks see them. A recipe's ``crop`` may train on all of them.
    """

    raw: Tensor
    y: Tensor
    ids: Tensor
    spec: Spec
    device: torch.device
    uncropped: Tensor | None = None

    def __len__(self) -> int:
        return int(self.y.shape[0])

    @cached_property
    def x(self) -> Tensor:
        """Return all inputs, float32 in [0, 1] on ``device``; item numbers stay int64.

        They are in memory at once, of large pictures many GB: ``take`` and ``batches`` read a part.
        """
        return as_input(self.raw, self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of some examples.

        In ranking, the inputs are the items of these comparisons, each once, and the labels are
        renumbered to them, so that ``loss(network, x, y)`` has the same form in all tasks.

        Args:
            rows: int64 ``[B]``, positions in the set.
        """
        rows = rows.to(self.y.device)
        y = self.y[rows]
        if self.spec.arity is None:
            return as_input(self.raw[rows.cpu()], self.device), y
        items, inverse = torch.unique(y[:, : self.spec.arity], return_inverse=True)
        y = torch.cat([inverse, y[:, self.spec.arity :]], dim=1)
        return as_input(self.raw[items.cpu()], self.device), y

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of one epoch as pairs of inputs and labels.

        Args:
            size: examples per batch; the last batch may be smaller.
            generator: source of a random order; ``None`` keeps the order of the set.
        """
        order = torch.arange(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
        for start in range(0, len(order), size):
            yield self.take(order[start : start + size])


def as_input(raw: Tensor, device: torch.device) -> Tensor:
    """Return stored inputs as network inputs: uint8 as float32 in [0, 1], other types unchanged."""
    moved = raw.to(device)
    return moved.float().div_(255) if moved.dtype == torch.uint8 else moved


@dataclass(frozen=True)
class Edits:
    """Changes to a training set, returned by ``poison``; the harness counts and applies them.

    Attributes:
        ids: int64 ``[E]``, identifiers of the changed examples, each at most once.
        x: new inputs, float32 in [0, 1] ``[E, …]``, or ``None`` when inputs do not change.
        y: new labels in the data set's form, or ``None`` when labels do not change. In ranking an
            edit may only turn the label's sign or swap the two compared items.
    """

    ids: Tensor
    x: Tensor | None = None
    y: Tensor | None = None


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
        patch: side in pixels of the square that may change.
        edits: number of training examples that may change (a count; the benchmark gives a share).
        labels: whether edits may change labels.
        features: whether edits may change inputs.
        queries: queries per example.
        answers: form of an oracle's answer, ``scores`` or ``labels``.
        target: target class of a backdoor.
        unbounded: true when the perturbation has no limit but the box [0, 1].
    """

    norm: str | None = None
    eps: float | None = None
    patch: int | None = None
    edits: int | None = None
    labels: bool | None = None
    features: bool | None = None
    queries: int | None = None
    answers: str | None = None
    target: int | None = None
    unbounded: bool | None = None


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

        It is right where the loss uses the network only to get the outputs of ``x``.

        Args:
            outputs: any network's outputs for a batch.
            y: the batch's labels.
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
