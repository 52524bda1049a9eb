"""Host stage ``strongest``: of each example, the attack's input that a network gets most wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array, read_json, save_array
from harness.judge.budget import as_seen
from harness.planning.recipe import StrongestRecipe

Array = NDArray[Any]

LEAST = 0.9
"""Smallest factor of a shrunk change. Attacks saturate: nearly all their changes are exactly one
radius, which a defence can recognise and undo. (With 0.5, little of an attack is left: 63 % of 500
digits instead of 16 %.)"""


def strongest(
    recipe: StrongestRecipe, inputs: Mapping[str, Path], out: Path, data_root: Path
) -> None:
    """Store the strongest input of each example, as the answers of the attacked network show it."""
    folder = inputs["slice"]
    y, void = load_array(folder / "y" / "y.npy"), read_json(folder / "spec.json")["void"]
    goal = load_array(inputs["goal"] / "goal.npy") if "goal" in inputs else None
    numbers = range(recipe.attacks)
    scores = np.stack(
        [
            strength(np.array(load_array(inputs[f"outputs_{n}"] / "outputs.npy")), y, goal, void)
            for n in numbers
        ]
    )
    choice = scores.argmax(axis=0)  # of equals the first attack
    chosen = np.array(load_array(inputs["attacked_0"] / "x.npy"))
    for number in numbers[1:]:
        rows = choice == number
        chosen[rows] = load_array(inputs[f"attacked_{number}"] / "x.npy")[rows]
    if recipe.shrunk:
        chosen = shrink(np.array(load_array(folder / "x" / "x.npy")), chosen)
    save_array(out / "attacked" / "x.npy", chosen)
    save_array(out / "choice" / "choice.npy", choice)


def shrink(clean: Array, attacked: Array) -> Array:
    """Return the attacked inputs with every change multiplied by a factor in [``LEAST``, 1].

    The factors follow from the attacked inputs, so that no network knows them beforehand.

    Args:
        clean: ``[N, …]``, uint8 or float32 in [0, 1].
        attacked: float32 in [0, 1], shaped as ``clean``.
    """
    seed = hashlib.sha256(attacked.tobytes()).digest()
    factor = np.random.default_rng(list(seed)).uniform(LEAST, 1, clean.shape)
    seen = as_seen(clean)
    return (seen + factor * (attacked - seen)).astype(np.float32)


def strength(outputs: Array, y: Array, goal: Array | None, void: int | None) -> Array:
    """Return how far each answer is from what the defender wants, float64 ``[N]``.

    Args:
        outputs: logits ``[N, K]``, or class maps ``[N, H, W]``; of a random network ``[D, …]`` of
            these, of which the mean over the D draws is returned.
        y: classes ``[N]``, or class maps.
        goal: what the attacker wants, shaped as ``y``; ``None``: anything else than ``y``.
        void: the label that does not count, or ``None``.

    Returns:
        Margin beyond the decision boundary, infinite where an answer is not finite; of maps the
        share of pixels that are as the attacker wants them.

    >>> strength(np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 0]), None, None).tolist()
    [-1.0, 3.0]
    """
    if outputs.ndim == (3 if y.ndim == 1 else 4):
        mean: Array = np.mean([strength(draw, y, goal, void) for draw in outputs], axis=0)
        return mean
    labels = y if goal is None else goal
    if outputs.ndim == y.ndim:
        counted = np.ones(y.shape, bool) if void is None else labels != void
        wanted = (outputs == labels) if goal is not None else (outputs != labels)
        axes = tuple(range(1, y.ndim))
        pixels: Array = (wanted & counted).sum(axis=axes) / np.maximum(counted.sum(axis=axes), 1)
        return pixels
    logits, rows = outputs.astype(np.float64), np.arange(len(y))
    own = logits[rows, labels]
    others = logits.copy()
    others[rows, labels] = -np.inf
    margin = own - others.max(axis=1) if goal is not None else others.max(axis=1) - own
    return np.where(np.isfinite(logits).all(axis=1), margin, np.inf)
