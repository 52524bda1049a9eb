"""Placeholder until the ranking sets are moved."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def comparison_lines(name: str, root: Path, train_fraction: float = 1.0) -> list[str]:
    """Return lines."""
    raise NotImplementedError


def flip_lines(name: str, root: Path, lines: Sequence[str], rows: Iterable[int]) -> list[str]:
    """Flip lines."""
    raise NotImplementedError
