"""Distillation of feature maps from a frozen teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import NotApplicable
from harness.runtime.model import capture, eval_mode


class Teacher:
    """Frozen network whose feature maps a student is trained to have, too.

    Args:
        network: network of its own, which it freezes.
        paths: names of the submodules whose outputs are compared, ``[B, C, H, W]`` each.

    Attributes:
        weights: weight of each channel of each map, ``[C]``; ``None`` for equal weights 1 / C.
        bridges: modules between a student's maps and the teacher's; ``None`` where they fit.
    """

    def __init__(self, network: nn.Module, paths: tuple[str, ...]) -> None:
        self.network, self.paths = network.eval().requires_grad_(False), paths
        self.weights: list[Tensor] | None = None
        self.bridges: nn.ModuleList | None = None

    @torch.no_grad()
    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the teacher's maps, in the order in which they are computed."""
        with capture(self.network, self.paths, inputs=False) as seen:
            self.network(x)
        return list(seen)

    def distance(self, maps: list[Tensor], x: Tensor) -> Tensor:
        """Return the distance of a student's maps from the teacher's on the same inputs, ``[B]``.

        It is the squared difference, as a mean over positions and a weighted sum over channels,
        summed over the maps.
        """
        if self.bridges is not None:
            maps = [bridge(map_) for bridge, map_ in zip(self.bridges, maps, strict=True)]
        pairs = zip(maps, self.maps(x), strict=True)
        squares = [F.mse_loss(own, theirs, reduction="none").flatten(2) for own, theirs in pairs]
        if self.weights is None:
            return torch.stack([square.mean(dim=(1, 2)) for square in squares]).sum(dim=0)
        weighted = zip(squares, self.weights, strict=True)
        return torch.stack([square.mean(dim=2) @ weight for square, weight in weighted]).sum(dim=0)

    def compare(self, student: nn.Module, x: Tensor) -> None:
        """Compare the maps of teacher and student on one batch, before the training.

        Where they differ in the number of channels, ``bridges`` become 1×1 convolutions from the
        student's channels to the teacher's (Renofeation, 2021), to be trained with the student.

        Raises:
            NotApplicable: the maps are no maps, or differ in number or side.
            ArithmeticError: the teacher's maps are not finite.
        """
        with (
            eval_mode(student),
            torch.no_grad(),
            capture(student, self.paths, inputs=False) as seen,
        ):
            student(x)
        theirs = self.maps(x)
        for path, one, other in zip(self.paths, seen, theirs, strict=True):
            if one.ndim != 4 or one.shape[2:] != other.shape[2:]:
                raise NotApplicable(
                    f"the output of {path} has shape {list(one.shape[1:])} in the student and "
                    f"{list(other.shape[1:])} in the teacher: expected maps of equal sides"
                )
            if not bool(other.isfinite().all()):
                raise ArithmeticError(f"the teacher's map {path} has values that are not finite")
        widths = [(one.shape[1], other.shape[1]) for one, other in zip(seen, theirs, strict=True)]
        if any(own != other for own, other in widths):
            self.bridges = nn.ModuleList(
                nn.Identity() if own == other else nn.Conv2d(own, other, 1, bias=False)
                for own, other in widths
            ).to(x.device)
