"""Value types and hook signatures that modules and the worker agree on.

Nothing here computes. A module author may import these names or just follow the signatures:
they are checked by argument name when the module is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""``loss(network, x, y) -> [B]``: one value a row, never reduced."""

HOOKS: dict[str, dict[str, tuple[str, ...]]] = {
    "attack": {
        "learn": ("model", "train", "val", "budget", "ctx"),
        "perturb": ("model", "x", "y", "goal", "budget", "ctx"),
        "poison": ("train", "val", "model", "budget", "ctx"),
        "trigger": ("x", "budget", "ctx"),
        "deliver": ("victim", "network", "train", "val", "budget", "ctx"),
    },
    "defense": {
        "build": ("victim", "spec"),
        "sanitize": ("victim", "network", "train", "ctx"),
        "fit": ("victim", "network", "train", "val", "adversary", "ctx"),
        "loss": ("network", "x", "y"),
        "repair": ("victim", "network", "clean", "ctx"),
        "guard": ("network", "ctx"),
    },
    "victim": {
        "build": ("spec",),
        "loss": ("network", "x", "y"),
        "fit": ("network", "train", "val", "loss", "ctx", "steps"),
        "import_weights": ("path",),
    },
}
"""THE table of hooks: kind → hook → argument names, in order."""


class ContractError(Exception):
    """A module broke its contract; the message says which part and what was found."""


class OutputError(ContractError):
    """A hook returned something of the wrong type, shape, range, or not finite."""


class QueryRefused(Exception):
    """The oracle refused an answer: at least one row of the batch has no query left."""


class NotApplicable(Exception):
    """Raised by a module that finds at run time that it cannot play this cell; say why.

    Of a victim or an attack, the cell does not count. Of a defence, also below one of its hooks, it
    is ``avoided``: a gap of the defence's row, as what it makes impossible was not withstood.
    """


@dataclass(frozen=True)
class Spec:
    """What a network may depend on; comes from the data set.

    Attributes:
        task: ``classification``, ``ranking`` or ``segmentation``.
        outputs: classes, or scores/embedding size per item in ranking.
        shape: one input's shape, ``(C, H, W)`` for images, ``(F,)`` for features.
        items: number of items for free embeddings (ranking by item number), else ``None``.
        arity: 2 for pairs, 3 for triplets, ``None`` outside ranking.
        void: label value that no score counts (255), or ``None``.
        classes: names of the classes or attributes, for people.
    """

    task: str
    outputs: int
    shape: tuple[int, ...]
    items: int | None = None
    arity: int | None = None
    void: int | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """A labelled set as a module sees it.

    Attributes:
        raw: stored inputs, uint8 ``[N, C, H, W]`` (or float32 features, int64 item numbers).
            In ranking the rows are items; elsewhere they are examples.
        y: labels on ``device``. Classification int64 ``[N]``; segmentation uint8 ``[N, H, W]``;
            ranking int64 ``[N, arity + 2]``: item rows, label ±1, attribute.
        ids: int64 ``[N]``, stable names of the examples (in ranking: of the comparisons).
        spec: what the data set is.
        device: where ``x`` and batches go.
    """

    raw: Tensor
    y: Tensor
    ids: Tensor
    spec: Spec
    device: torch.device

    def __len__(self) -> int:
        return int(self.y.shape[0])

    @cached_property
    def x(self) -> Tensor:
        """All inputs as modules see them: float32 in [0, 1] on ``device``; item numbers stay."""
        return as_input(self.raw, self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some rows.

        In ranking, the inputs are the items that these comparisons name, each once, and the
        labels are renumbered to them, so that ``loss(network, x, y)`` has one form for all tasks.
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
        """Batches of one pass, in order, or shuffled when a generator is given."""
        order = torch.arange(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
        for start in range(0, len(order), size):
            yield self.take(order[start : start + size])


def as_input(raw: Tensor, device: torch.device) -> Tensor:
    """Inputs as modules see them: uint8 becomes float32 in [0, 1]; others keep their type."""
    moved = raw.to(device)
    return moved.float().div_(255) if moved.dtype == torch.uint8 else moved


@dataclass(frozen=True)
class Edits:
    """Changes to a training set, proposed by ``poison``; the harness counts and applies them.

    Attributes:
        ids: int64 ``[E]``, which examples change; each at most once.
        x: replaced inputs, float32 in [0, 1] ``[E, …]``, or ``None`` when inputs stay.
        y: replaced labels in the data set's form, or ``None`` when labels stay. In ranking an edit
            may only turn the label's sign or swap the two compared items.
    """

    ids: Tensor
    x: Tensor | None = None
    y: Tensor | None = None


@dataclass(frozen=True)
class Keep:
    """What a sanitizer keeps: bool ``mask`` ``[N]``, and corrected labels ``y`` or ``None``."""

    mask: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Budget:
    """What the threat model allows. Unused fields are ``None``.

    Attributes:
        norm: ``linf`` or ``l2``. eps: radius in units of [0, 1] pixels.
        patch: side of the square of pixels a trigger may cover.
        edits: number of training examples that may change (a count, already rounded).
        labels: whether edits may change labels. features: whether they may change inputs.
        queries: answers per example. answers: ``scores`` or ``labels``.
        target: the backdoor's target class.
        unbounded: no limit on the perturbation.
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
    """What a hook gets of its surroundings.

    Attributes:
        device: where tensors belong.
        scratch: a folder for temporary files, gone after the stage.
        state: a folder that this module's earlier hook wrote (read-only in later hooks).
        checkpoint: a folder bound to the stage: survives a kill, removed on success.
        spec: the data set's spec.
    """

    device: torch.device
    scratch: Path
    state: Path
    checkpoint: Path
    spec: Spec

    def seed(self, *dims: object) -> int:
        """A seed that depends on the cell's seed, the stage, the module, and ``dims``.

        In ``perturb`` on the batch as well, and where a defence trains against it on the step: no
        two calls draw the same. A ``trigger`` is the same in all batches.
        """
        ...

    def generator(self, *dims: object, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator seeded by ``seed(*dims)``, on the CPU unless asked: equal on every device."""
        ...

    def remaining(self) -> float:
        """Seconds left before the stage is stopped."""
        ...

    def log(self, message: str) -> None:
        """A line in the stage's log."""
        ...

    def metric(self, name: str, value: float, step: int) -> None:
        """A point of a training curve; shown as self-reported, never scored."""
        ...


class Model(Protocol):
    """A network as an attack holds it: eval mode, frozen, guarded, counting its passes.

    ``loss``, ``features``, ``maps`` and ``module`` exist only where the access and the manifest's
    ``needs`` grant them; an oracle answers ``predict`` and ``left`` alone.
    """

    module: nn.Module
    spec: Spec

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Outputs for inputs in [0, 1], without gradients.

        ``rows`` says which examples of the present batch the inputs belong to (default: all, in
        order); an oracle counts queries by it and raises ``QueryRefused`` for a row over budget.
        """
        ...

    def left(self) -> Tensor | None:
        """Queries left per row of the present batch, int64 ``[B]``; ``None`` when not limited."""
        ...

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The task's loss ``[B]``, differentiable in ``x``; void never enters it."""
        ...

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The victim's own training loss ``[B]``."""
        ...

    def training_loss_of(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The same ``[B]``, of outputs that any network gave; differentiable in them.

        Where the loss reads nothing of the network but its outputs on the inputs as they are.
        """
        ...

    def features(self, x: Tensor) -> Tensor:
        """The head's input, flat ``[B, D]``, differentiable in ``x``."""
        ...

    def maps(self, x: Tensor) -> list[Tensor]:
        """Outputs of the victim's stages, shallow to deep, differentiable in ``x``."""
        ...

    def fresh(self) -> nn.Module:
        """A trainable network of the same architecture, as its training begins.

        Untrained; where the victim's training starts from existing weights, with these and a new
        head.
        """
        ...


class Adversary(Protocol):
    """The attack that a matrix entry names for training."""

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Attacked inputs; the network is in eval mode meanwhile, and then as before."""
        ...

    def learn(self, network: nn.Module, train: Data, val: Data) -> None:
        """Let an attack learn against the network as it is now; others do nothing here."""
        ...


class Victim(Protocol):
    """A network family with its training recipe.

    Attributes:
        head: module path of the last layer. stages: module paths of feature maps, shallow to deep.
    """

    head: str
    stages: tuple[str, ...]

    def build(self, spec: Spec) -> nn.Module:
        """An untrained network: inputs in [0, 1] in, the task's outputs out; normalises itself."""
        ...

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        steps: int | None = None,
    ) -> None:
        """Train in place; ``steps`` shortens the recipe (fine-tuning), ``None`` runs it whole."""
        ...


Params = dict[str, Any]
