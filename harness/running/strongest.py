"""Host stage ``strongest``: of each example, the attack's input that a network gets most wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array, read_json, read_parts, save_array, save_parts
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
    attacked = [load_array(inputs[f"attacked_{n}"] / "x.npy") for n in numbers]
    path, shape = out / "attacked" / "x.npy", attacked[0].shape
    save_parts(path, shape, attacked[0].dtype, choose(attacked, choice))
    if recipe.shrunk:
        chosen = path.with_name("chosen.npy")
        path.rename(chosen)
        shrunk = shrink(load_array(folder / "x" / "x.npy"), load_array(chosen))
        save_parts(path, shape, np.dtype(np.float32), shrunk)
        chosen.unlink()
    save_array(out / "choice" / "choice.npy", choice)


def choose(
    attacked: Sequence[Array], choice: Array, places: Sequence[Array] | None = None
) -> Iterator[Array]:
    """Yield, in parts, of each row the input of the attack whose number is chosen for it.

    Args:
        attacked: inputs of each attack; the first one's are of all rows.
        choice: number of an attack for each row.
        places: rows that the inputs of each attack are of, in order; ``None`` for all.
    """
    start = 0
    for part in read_parts(attacked[0]):
        chosen, rows = np.array(part), choice[start : start + len(part)]
        for number in np.unique(rows[rows > 0]).tolist():
            own = np.flatnonzero(rows == number)
            here = start + own
            chosen[own] = attacked[number][
                here if places is None else np.searchsorted(places[number], here)
            ]
        yield chosen
        start += len(part)


def shrink(clean: Array, attacked: Array) -> Iterator[Array]:
    """Yield the attacked inputs, in parts, with every change multiplied by [``LEAST``, 1].

    The factors follow from the attacked inputs, so that no network knows them beforehand.

    Args:
        clean: ``[N, …]``, uint8 or float32 in [0, 1].
        attacked: float32 in [0, 1], shaped as ``clean``.
    """
    seed = hashlib.sha256()
    for part in read_parts(attacked):
        seed.update(np.ascontiguousarray(part).data)
    random, start = np.random.default_rng(list(seed.digest())), 0
    for part in read_parts(attacked):
        seen = as_seen(clean[start : start + len(part)])
        factor = random.uniform(LEAST, 1, part.shape)
        yield (seen + factor * (part - seen)).astype(np.float32)
        start += len(part)


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
