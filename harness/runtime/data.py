"""Data sets as hooks receive them: examples, labels, and what is put on the pictures last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor


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
class Overlay:
    """Trigger that is put on some pictures of a training set after augmentation.

    So it has its full size at its place at every step, which no crop cuts off and no flip moves.

    Attributes:
        ids: int64 ``[E]``, identifiers of the pictures with the trigger, each once. Identifiers
            that a set lacks do nothing, so that any part of a set may keep the whole overlay.
        patch: float32 in [0, 1] ``[C, h, w]``, the trigger's pixels.
        mask: float32 in [0, 1] ``[C, h, w]``, its opacity: 1 replaces the picture, 0 leaves it.
        places: int64 ``[E, 2]``, row and column of the patch's first pixel in each picture as
            networks see it.
    """

    ids: Tensor
    patch: Tensor
    mask: Tensor
    places: Tensor

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.patch.ndim != 3 or self.mask.shape != self.patch.shape:
            raise ValueError(
                f"an overlay has a patch [C, h, w] and a mask of its shape, got "
                f"{list(self.patch.shape)} and {list(self.mask.shape)}"
            )
        if self.ids.shape != (count,) or self.places.shape != (count, 2):
            raise ValueError(
                f"an overlay has ids [E] and places [E, 2], got {list(self.ids.shape)} and "
                f"{list(self.places.shape)}"
            )

    def check_inside(self, shape: tuple[int, ...]) -> None:
        """Check that the patch lies inside pictures wherever it is put.

        Args:
            shape: one input's shape.

        Raises:
            ValueError: it does not, or the inputs are no pictures of its channels.
        """
        if len(shape) != 3 or shape[0] != self.patch.shape[0]:
            raise ValueError(f"an overlay {list(self.patch.shape)} on inputs {list(shape)}")
        room = torch.tensor(shape[1:]) - torch.tensor(self.patch.shape[1:])
        outside = ((self.places < 0) | (self.places > room)).any(dim=1)
        if bool(outside.any()):
            raise ValueError(
                f"an overlay {list(self.patch.shape)} on inputs {list(shape)} is outside at "
                f"{int(outside.sum())} of {len(outside)} places"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the overlay by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        return torch.sort(self.ids)

    def __call__(self, x: Tensor, ids: Tensor) -> Tensor:
        """Return a batch with the trigger on the pictures that have it.

        Args:
            x: pictures, float32 in [0, 1] ``[B, C, H, W]``; they stay as they are.
            ids: int64 ``[B]``, their identifiers.
        """
        known, order = self._sorted
        if not len(known):
            return x
        at = torch.searchsorted(known, ids).clamp_(max=len(known) - 1)
        rows = (known[at] == ids).nonzero().flatten()
        if not len(rows):
            return x
        x, places = x.clone(), self.places[order[at[rows]]]
        patch, mask = self.patch.to(x.device), self.mask.to(x.device)
        height, width = patch.shape[1:]
        for place in torch.unique(places, dim=0):  # few, unless each picture has its own
            top, left = place.tolist()
            some = rows[(places == place).all(dim=1)].to(x.device)
            area = (some, slice(None), slice(top, top + height), slice(left, left + width))
            x[area] = x[area].lerp(patch, mask)
        return x


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
        overlay: what is put on the inputs after any random crop and flip: an ``Overlay``, or inside
            one process a function ``overlay(x, ids)`` of a batch ``[B, …]`` and its ids ``[B]``,
            which returns new inputs and depends on its arguments only. Not in ranking.
    """

    raw: Tensor
    y: Tensor
    ids: Tensor
    spec: Spec
    device: torch.device
    uncropped: Tensor | None = None
    overlay: Callable[[Tensor, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.overlay is not None and self.spec.arity is not None:
            raise ValueError("an overlay in ranking, where many comparisons share an item")
        if isinstance(self.overlay, Overlay):
            self.overlay.check_inside(self.spec.shape)

    def __len__(self) -> int:
        return int(self.y.shape[0])

    @cached_property
    def x(self) -> Tensor:
        """Return all inputs, float32 in [0, 1] on ``device``; item numbers stay int64.

        The overlay is on them, as in ``take`` and ``batches``.

        They are in memory at once, of large pictures many GB: ``take`` and ``batches`` read a part.
        """
        return self._overlaid(as_input(self.raw, self.device), self.ids)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs, with the overlay on them, and labels of some examples.

        In ranking, the inputs are the items of these comparisons, each once, and the labels are
        renumbered to them, so that ``loss(network, x, y)`` has the same form in all tasks.

        Args:
            rows: int64 ``[B]``, positions in the set.
        """
        rows = rows.to(self.y.device)
        y = self.y[rows]
        if self.spec.arity is None:
            rows = rows.cpu()
            return self._overlaid(as_input(self.raw[rows], self.device), self.ids[rows]), y
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

    def _overlaid(self, x: Tensor, ids: Tensor) -> Tensor:
        return x if self.overlay is None else self.overlay(x, ids)


def as_input(raw: Tensor, device: torch.device) -> Tensor:
    """Return stored inputs as network inputs: uint8 as float32 in [0, 1], other types unchanged."""
    moved = raw.to(device)
    return moved.float().div_(255) if moved.dtype == torch.uint8 else moved
