"""Measures of a network's gradients: do they exist, and do they lead where they should?

A network that is hard to attack because its gradients are of no use is not robust (Athalye, Carlini
and Wagner, ICML 2018). Honest networks are measured the same way, so every figure has two sides.
All losses are margins in units of a row's spread of logits: no scale of the logits changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.runtime.contracts import Spec
from harness.runtime.gradients import like_rows
from harness.runtime.tasks import TASKS
from harness.runtime.worker import health_names as names

Network = Callable[[Tensor], Tensor]

RADIUS = 8 / 255
"""Radius of the short search, and length of a direction's steps in each value: 16 times the
rounding of a guard that stores 8 bits a value, and a quarter of the budgets on small pictures."""
STEPS = (2 / 255,) * 8
"""Steps of the short search."""
LONG_STEPS = tuple(0.25 * (1 / 8) ** (n / 29) for n in range(30))
"""Steps of the search in the whole box: from a quarter of it down to 1/32, in equal ratios."""
MOMENTUM = 0.75
"""Share of the earlier directions in each step of that search. A median filter's gradient reaches
one value in nine: behind one, the search made 93.5 % of digit-scenes' pixels wrong without it, and
all with it. Through a gradient of the wrong sign it made 15 and 18 % wrong."""
DIRECTIONS = 8
"""Random directions that the gradient's direction is compared with."""
CONFIDENT = 0.1
"""Margin, in spreads of logits, beyond which a label that is wrong counts no further."""
MOST_GAIN = 1e6
"""Largest gain; random directions that change nothing at all would make it infinite."""
LEAST_SPREAD = 1e-36
"""Smallest spread of logits that is divided by; its inverse is a float32."""


@dataclass(frozen=True)
class Labels:
    """Labels of a batch, and the losses that rise as its outputs leave them.

    Attributes:
        y: classes, int64 ``[B]`` or uint8 ``[B, H, W]``.
        spec: description of the data set.
    """

    y: Tensor
    spec: Spec

    @property
    def counted(self) -> Tensor:
        """Return which labels count, bool shaped as ``y``."""
        known: Tensor = self.y < self.spec.outputs
        return known if self.spec.void is None else known & (self.y != self.spec.void)

    def margins(self, outputs: Tensor) -> Tensor:
        """Return the best other logit minus the label's, float64 shaped as ``y``."""
        index = torch.where(self.counted, self.y, 0).long().unsqueeze(1)
        wide = outputs.double()
        others = wide.scatter(1, index, -torch.inf).amax(dim=1)
        return others - wide.gather(1, index).squeeze(1)

    def wrong(self, outputs: Tensor) -> Tensor:
        """Return which labels that count are not the outputs' class, bool shaped as ``y``."""
        finite = torch.isfinite(outputs).all(dim=1)
        return ((outputs.argmax(dim=1) != self.y) | ~finite) & self.counted

    def share(self, labels: Tensor) -> Tensor:
        """Return the share of each row's labels that are marked, float64 ``[B]``."""
        counted = self.counted.flatten(1) if self.y.ndim > 1 else self.counted[:, None]
        marked = labels.reshape(counted.shape) * counted
        return marked.double().sum(1) / counted.sum(1).clamp_min(1)

    def loss(self, outputs: Tensor, spread: Tensor, most: float = torch.inf) -> Tensor:
        """Return the mean margin of each row's labels in units of ``spread``, float64 ``[B]``.

        Args:
            outputs: ``[B, K, …]``.
            spread: unit of each row, ``[B]``.
            most: margin beyond which a label does not count further.
        """
        unit = like_rows(spread, self.y)
        margins = (self.margins(outputs) / unit).clamp(max=most)
        return self.share(torch.where(self.counted, margins, 0))

    def task_loss(self, outputs: Tensor) -> Tensor:
        """Return the task's own loss, the cross entropy, float32 ``[B]``."""
        return TASKS[self.spec.task].loss(outputs, self.y, self.spec.void)


def measure(
    network: Network,
    predict: Network,
    x: Tensor,
    y: Tensor,
    spec: Spec,
    generator: torch.Generator,
    training_gradient: Network | None = None,
) -> dict[str, float]:
    """Measure the gradients of a network at inputs and along two searches from them.

    Args:
        network: function of inputs ``[B, …]`` with a gradient.
        predict: the same without one; what it answers is what a judge would see.
        x: inputs in [0, 1], float32 ``[B, …]``.
        y: their labels.
        spec: description of the data set.
        generator: source of random directions.
        training_gradient: function of inputs that returns the gradient of the loss that the network
            was trained with, shaped as they are; zero where there is none.

    Returns:
        Name of ``health_names.PROBE`` → finite number.
    """
    labels = Labels(y, spec)
    first = predict(x)
    spread = spread_of(first)

    def loss(outputs: Tensor) -> Tensor:
        return labels.loss(outputs, spread)

    def capped(outputs: Tensor) -> Tensor:
        return labels.loss(outputs, spread, CONFIDENT)

    start = gradient_of(network, loss, x)
    end = climb(network, loss, x, STEPS, RADIUS)
    far = climb(network, capped, x, LONG_STEPS, 1.0, MOMENTUM)
    gains, agreements = directions(lambda at: loss(predict(at)), start, x, generator)
    open_rows = labels.share(~labels.wrong(first)) > 0  # others are wrong from the start
    rose = (loss(predict(end)) > loss(first))[open_rows]
    wrong = labels.wrong(predict(far))[labels.counted]
    found = {
        names.EXAMPLES: float(len(x)),
        names.SPREAD: float(spread.median()),
        names.ZERO_START: bad_share(start),
        names.ZERO_END: bad_share(gradient_of(network, loss, end)),
        names.ZERO_LOSS_START: bad_share(gradient_of(network, labels.task_loss, x)),
        names.ZERO_LOSS_END: bad_share(gradient_of(network, labels.task_loss, end)),
        names.GAIN: float(gains.median()),
        names.AGREEMENT: float(agreements.mean()),
    }
    if len(rose):
        found[names.LOSS_ROSE] = float(rose.double().mean())
    if len(wrong):
        found[names.UNLIMITED] = float(wrong.double().mean())
        found[names.PROBE_SATURATED] = saturated_share(labels, first)
    if training_gradient is not None:
        cosines = row_cosines(training_gradient(x), start)
        if len(cosines):
            found[names.LOSS_COSINE] = float(cosines.median())
    return found


def row_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of each row of two gradients, float64; rows without one are left out.

    >>> row_cosines(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2)).round(decimals=3)
    tensor([0.7070], dtype=torch.float64)
    """
    a, b = (unit_rows(finite(one)).flatten(1).double() for one in (a, b))
    known = a.any(1) & b.any(1)
    return torch.cosine_similarity(a[known], b[known])


def saturated_share(labels: Labels, outputs: Tensor) -> float:
    """Return the share of labels for which the cross entropy has no gradient in its logits.

    In float32 it is exactly zero where the label's logit leads by about 100: in a picture with a
    label map, most pixels may have none while the picture's gradient is not zero.
    """
    pulled = gradient_of(lambda out: out, labels.task_loss, outputs).any(dim=1)
    return float((~pulled[labels.counted]).double().mean())


def gradient_of(network: Network, loss: Network, x: Tensor) -> Tensor:
    """Return the gradient of the summed loss of a network's outputs, shaped as ``x``."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(network(x)).sum(), x)
    return gradient


def climb(
    network: Network,
    loss: Network,
    x: Tensor,
    steps: Sequence[float],
    radius: float,
    momentum: float = 0.0,
) -> Tensor:
    """Raise a loss by steps along the gradient's signs; return the last inputs.

    With momentum (Dong et al. 2018), the inputs of each row's largest loss are returned instead: a
    search that goes far may lose what it had.

    Args:
        network: function of inputs with a gradient.
        loss: function of its outputs, ``[B]``.
        x: inputs in [0, 1], ``[B, …]``.
        steps: change of each value in each step.
        radius: largest change of a value altogether.
        momentum: share of the earlier directions in a step.
    """
    low, high = (x - radius).clamp_min(0), (x + radius).clamp_max(1)
    at, best, direction = x, x, torch.zeros_like(x)
    most = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    for step in steps:
        at = at.detach().requires_grad_()
        with torch.enable_grad():
            value = loss(network(at))
            (gradient,) = torch.autograd.grad(value.sum(), at)
        better = value.detach() > most
        most = torch.where(better, value.detach(), most)
        best = torch.where(like_rows(better, x), at.detach(), best)
        direction = momentum * direction + unit_rows(finite(gradient))
        at = torch.minimum(torch.maximum(at.detach() + step * direction.sign(), low), high)
    if not momentum:
        return at
    with torch.no_grad():
        better = loss(network(at)) > most
    return torch.where(like_rows(better, x), at, best)


def directions(
    value: Callable[[Tensor], Tensor], gradient: Tensor, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Compare a gradient with central differences; return each row's gain and agreement.

    Args:
        value: function of inputs, ``[B]``.
        gradient: its gradient, as it is claimed, at ``x``.
        x: inputs in [0, 1], ``[B, …]``.
        generator: source of random directions.

    Returns:
        As ``alignment``.
    """
    changes = []

    def moves() -> Iterator[Tensor]:
        for move in moves_along(gradient, DIRECTIONS, generator):
            after, before = (x + RADIUS * move).clamp(0, 1), (x - RADIUS * move).clamp(0, 1)
            changes.append(value(after) - value(before))
            yield after - before

    found = [*foretell(gradient, moves())]
    return alignment(found, torch.stack(changes))


def moves_along(gradient: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield a gradient's signs, then random signs, each shaped as ``gradient``."""
    yield signs(gradient)
    for _ in range(count):
        random = torch.randint(0, 2, gradient.shape, generator=generator) * 2 - 1
        yield random.to(gradient.device, torch.float32)


def foretell(gradient: Tensor, moves: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a gradient foretells for each move of the input, and the move's length, ``[B]``.

    Moves are large: each may be forgotten before the next is made.

    Args:
        gradient: ``[B, …]``; its scale does not matter.
        moves: changes of the input, each shaped as ``gradient``.
    """
    slope = finite(gradient).flatten(1).double()
    slope = slope / slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    for move in moves:
        flat = move.flatten(1).double()
        yield (flat * slope).sum(1), flat.norm(dim=1)


def alignment(found: Sequence[tuple[Tensor, Tensor]], changes: Tensor) -> tuple[Tensor, Tensor]:
    """Return how well a gradient foretells what a function does.

    Args:
        found: of each move what ``foretell`` says, the gradient's own direction first.
        changes: what the function did, ``[D, B]``.

    Returns:
        Gain, ``[B]``: change along the gradient's direction per length, over the root mean square
        of that along the others; at most ``MOST_GAIN``. About √d for a linear function of d values,
        about 1 for a random direction, negative for a wrong one.
        Agreement, ``[B]``: cosine of the changes and those that the gradient foretells, from −1 to
        1. Both are 0 where the gradient is zero or nothing changes.
    """
    foretold, lengths = (torch.stack(one) for one in zip(*found, strict=True))
    changes = finite(changes).double()
    rates = changes / lengths.clamp_min(torch.finfo(torch.float32).tiny)
    random = rates[1:].square().mean(0).sqrt()
    gain = (rates[0] / random).nan_to_num(0.0, MOST_GAIN, -MOST_GAIN).clamp(-MOST_GAIN, MOST_GAIN)
    agreement = (foretold * changes).sum(0) / (foretold.norm(dim=0) * changes.norm(dim=0))
    return gain, agreement.nan_to_num(0.0)


def signs(gradient: Tensor) -> Tensor:
    """Return the signs of a gradient, 0 where it is not a number."""
    return torch.sign(torch.nan_to_num(gradient))


def finite(values: Tensor) -> Tensor:
    """Return values with 0 in place of those that are not finite."""
    return torch.nan_to_num(values, 0.0, 0.0, 0.0)


def spread_of(outputs: Tensor) -> Tensor:
    """Return the largest minus the smallest finite logit of each row, float64 ``[B]``."""
    flat = finite(outputs).flatten(1).double()
    return (flat.amax(1) - flat.amin(1)).clamp_min(LEAST_SPREAD)


def bad_share(gradient: Tensor) -> float:
    """Return the share of rows whose gradient is zero or not finite.

    >>> bad_share(torch.tensor([[0.0, 0.0], [0.0, 1.0], [torch.nan, 1.0], [1.0, 1.0]]))
    0.5
    """
    flat = gradient.flatten(1)
    bad = ~flat.any(1) | ~torch.isfinite(flat).all(1)
    return float(bad.double().mean())


def unit_rows(x: Tensor) -> Tensor:
    """Return each row divided by its largest magnitude; rows of zeros stay as they are."""
    largest = x.abs().flatten(1).amax(1)
    return x / like_rows(torch.where(largest > 0, largest, 1), x)
