"""Sketch of the network that files of weights belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.conformance.network_sketch import Sketch, Tensors, guess_inputs, sketch_network
from harness.conformance.onnx_sketch import sketch_onnx
from harness.runtime.weight_files import read_tensors

__all__ = ["Sketch", "Tensors", "guess_inputs", "read_tensors", "sketch"]


def sketch(files: Sequence[Path], tensors: Tensors) -> tuple[Sketch | None, str]:
    """Return the layers of a network, or ``None`` and why they cannot be guessed.

    Args:
        files: the files of its weights.
        tensors: what they hold.
    """
    if files[0].suffix == ".onnx":
        made = sketch_onnx(files[0], tensors)
        return (None, made) if isinstance(made, str) else (made, "")
    found = sketch_network(tensors)
    return found, "" if found else "its tensors are no plain sequence of layers"
