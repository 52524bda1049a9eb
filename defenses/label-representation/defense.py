"""Dense labels: the head draws a fixed label of each class, and the nearest label decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Spec, Victim
from harness.runtime.model import capture, eval_mode
from harness.runtime.training import loss_of

from .codebooks import FROM_FILES, Array, draw, rescaled, shuffle, stored_name
from .files import checked, read
from .heads import make_head

CATEGORY = "category"
"""Ordinary labels: scores of classes and cross-entropy, behind the head of dense labels."""


class Decode(nn.Module):
    """Layer from drawn labels ``[B, D]`` to scores of classes ``[B, K]``.

    A score is half the squared distance to the class's label, with the sign turned, up to what is
    equal for all classes: a fixed linear function, whose largest score is the nearest label's.

    Args:
        codebook: float32 ``[K, D]``.
    """

    codebook: Tensor
    scale: Tensor
    middle: Tensor
    centered: Tensor
    norms: Tensor

    def __init__(self, codebook: Tensor) -> None:
        super().__init__()
        middle = codebook.mean(dim=0)
        centered = codebook - middle
        self.register_buffer("codebook", codebook)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("middle", middle, persistent=False)
        self.register_buffer("centered", centered, persistent=False)
        self.register_buffer("norms", centered.square().sum(dim=1) / 2, persistent=False)

    def forward(self, drawn: Tensor) -> Tensor:
        scores = (drawn - self.middle) @ self.centered.T - self.norms
        return self.scale * scores


class LabelRepresentation:
    """Label representations (Chen et al., ICLR 2021).

    Args:
        label: name of the codebook.
        files: array, recordings or word vectors that make the codebook, or ``None``.
        words: words of the classes in ``files``, divided by commas; empty: the classes' names.
        dim: dimensions of ``normal`` and ``simplex``.
        gap: offset from class to class of ``gap`` and ``offset``.
        bits: entropy of ``levels``.
        distance: mean RMS distance to which the labels are rescaled; 0: as they are.
        head: ``linear``, ``deconvolution``, or ``auto``: by the label's shape.
        margin: median margin of the scores after training; 0: scores as they are, whose softmax
            has no gradient in float32.
        passes: steps, as a multiple of the victim's.
    """

    def __init__(
        self,
        *,
        label: str,
        files: Path | None,
        words: str,
        dim: int,
        gap: float,
        bits: int,
        distance: float,
        head: str,
        margin: float,
        passes: float,
    ) -> None:
        self.label, self.files, self.words = label, files, words
        self.dim, self.gap, self.bits, self.distance = dim, gap, bits, distance
        self.head, self.margin, self.passes = head, margin, passes

    def build(self, victim: Victim, spec: Spec) -> nn.Module:
        network = victim.build(spec)
        head = network.get_submodule(victim.head)
        if not isinstance(head, nn.Linear):
            raise ValueError(
                f"{victim.head} is {type(head).__name__}, expected one linear layer, whose "
                "features the labels are drawn from"
            )
        new: nn.Module
        if self.label == CATEGORY:
            new = make_head(self.head, head.in_features, (spec.outputs,))
        else:
            found = self.codebook(spec)
            decode = Decode(torch.tensor(found.reshape(len(found), -1), dtype=torch.float32))
            new = nn.Sequential()
            new.add_module("draw", make_head(self.head, head.in_features, found.shape[1:]))
            new.add_module("decode", decode)
        parent, _, name = victim.head.rpartition(".")
        setattr(network.get_submodule(parent), name, new)
        return network

    def codebook(self, spec: Spec) -> Array:
        """Return the codebook of a data set's classes, ``[K, …]``.

        Raises:
            ValueError: there is none.
        """
        words = tuple(self.words.split(",")) if self.words else spec.classes
        words = words or tuple(map(str, range(spec.outputs)))
        if len(words) != spec.outputs:
            raise ValueError(f"words: {len(words)} words, the data set has {spec.outputs} classes")
        if self.files is not None:
            # shuffled labels are made of spoken ones, unless a stored array has them
            spoken = self.label == "shuffle" and any(self.files.glob("*.wav"))
            name = stored_name(self.label, self.dim, self.gap)
            found = read(self.files, name, words)
            found = shuffle(found) if spoken else found
        elif self.label in FROM_FILES:
            raise ValueError(f"label {self.label}: cannot be drawn; name its `files`")
        else:
            found = draw(self.label, spec.outputs, dim=self.dim, gap=self.gap, bits=self.bits)
        found = checked(found, self.label, spec.outputs)
        return rescaled(found, self.distance) if self.distance else found

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if self.label == CATEGORY:
            return F.cross_entropy(network(x), y, reduction="none")
        path, decode = find_decode(network)
        with capture(network, (path,), inputs=True) as seen:
            network(x)
        return F.smooth_l1_loss(seen[0], decode.codebook[y], reduction="none").mean(dim=1)

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        recipe = victim.recipe(train)
        recipe = replace(recipe, steps=max(1, round(self.passes * recipe.steps)))
        category = self.label == CATEGORY
        loss = loss_of(victim, train.spec, recipe.label_smoothing) if category else self.loss
        victim.fit(network, train, val, loss, ctx, recipe)
        if self.margin and not category:
            scale = self.margin / median_margin(network, val)
            find_decode(network)[1].scale.mul_(scale)
            ctx.log(f"scores are multiplied by {scale:.3g}: their median margin is {self.margin:g}")


def find_decode(network: nn.Module) -> tuple[str, Decode]:
    """Return the path of the layer that decodes labels, and the layer."""
    return next((path, m) for path, m in network.named_modules() if isinstance(m, Decode))


def median_margin(network: nn.Module, val: Data) -> float:
    """Return the median lead of the largest score over the second, of right answers.

    Raises:
        ValueError: nothing is right.
    """
    margins = []
    with eval_mode(network), torch.no_grad():
        for x, y in val.batches(500):
            scores = network(x)
            two = scores.topk(2, dim=1)
            margins.append((two.values[:, 0] - two.values[:, 1])[two.indices[:, 0] == y])
    found = torch.cat(margins) if margins else torch.empty(0)
    if not len(found):
        raise ValueError(
            "no validation image is right after training, so that scores have no scale; train "
            "longer, or set margin: 0"
        )
    return max(float(found.median()), torch.finfo(torch.float32).tiny)
