"""What a stage must leave behind, read from its files before anything relies on them.

The worker checks what a hook returns, but it shares a process with the hook: what lies in the
output folder may come from the hook alone. So the host looks again, at names, types and shapes.
"""

from __future__ import annotations

import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.common.files import Array, load_array
from harness.common.text import one_line
from harness.executors.base import StageJob

OURS = ("receipt.json", "log.txt", "oracle")
"""Names in an artefact that the harness writes itself."""

UNREADABLE = (
    *(OSError, ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)
"""What numpy raises on a header that is not one, and ``given`` on an array that will not do."""


def check_output(job: StageJob) -> str | None:
    """What is wrong with the output of a stage that claims to be fine, or ``None``."""
    out = job.folder / "out"
    taken = [name for name in OURS if (out / name).exists() or (out / name).is_symlink()]
    if taken:
        return f"the output holds {taken[0]}, a name that is the harness's"
    try:
        CHECKS[job.job["stage"]](job, out)
    except UNREADABLE as error:
        return one_line(f"the output cannot be used: {error}")
    return None


def network(job: StageJob, out: Path) -> None:
    """Weights; whether they fit is found by whoever loads them."""
    if not (out / "network.safetensors").is_file():
        raise ValueError("no network.safetensors")


def edits(job: StageJob, out: Path) -> None:
    """Proposed edits; whether they are allowed is the judge's matter."""
    ids = given(out / "edits" / "ids.npy", np.int64, (None,))
    for name in ("x", "y"):
        path = out / "edits" / f"{name}.npy"
        if path.exists():
            like = stored(job, "train", name)
            kind = np.float32 if name == "x" else like.dtype
            given(path, kind, (len(ids), *like.shape[1:]))


def keep(job: StageJob, out: Path) -> None:
    """A sanitizer's mask, and corrected labels."""
    labels = stored(job, "train", "y")
    mask = given(out / "keep" / "mask.npy", np.bool_, (len(labels),))
    if not mask.any():
        raise ValueError("mask.npy keeps nothing")
    if (out / "keep" / "y.npy").exists():
        given(out / "keep" / "y.npy", labels.dtype, labels.shape)


def state(job: StageJob, out: Path) -> None:
    """Whatever ``learn`` left: for its own attack only."""
    if not (out / "state").is_dir():
        raise ValueError("no state folder")


def attacked(job: StageJob, out: Path) -> None:
    """Attacked inputs, what the model showed for them, and goals that were drawn from the model."""
    clean = stored(job, "slice_x", "x")
    given(out / "attacked" / "x.npy", np.float32, clean.shape)
    if (out / "shown" / "outputs.npy").exists():
        answers(job, out / "shown" / "outputs.npy", len(clean))
    if (out / "goal" / "goal.npy").exists():
        given(out / "goal" / "goal.npy", None, (len(clean), *clean.shape[2:][: 2 * maps(job)]))


def outputs(job: StageJob, out: Path) -> None:
    """Predictions."""
    answers(job, out / "outputs" / "outputs.npy", len(stored(job, "x", "x")))


def nothing(job: StageJob, out: Path) -> None:
    """Stages of conformance, which reads what it needs itself."""


CHECKS: dict[str, Callable[[StageJob, Path], None]] = {
    "import": network,
    "public": network,
    "train": network,
    "deliver": network,
    "repair": network,
    "poison": edits,
    "sanitize": keep,
    "learn": state,
    "attack": attacked,
    "predict": outputs,
    "inspect": nothing,
    "gradients": nothing,
}
"""THE table of outputs: stage kind → what it must leave."""


def maps(job: StageJob) -> bool:
    """Whether a label is a map of the picture."""
    return bool(job.job["spec"]["task"] == "segmentation")


def answers(job: StageJob, path: Path, rows: int) -> None:
    """Stored answers of a network: class maps, or numbers per class or output."""
    spec = job.job["spec"]
    if maps(job):
        given(path, np.uint8, (rows, *spec["shape"][1:]))
    else:
        given(path, np.float32, (rows, spec["outputs"]))


def stored(job: StageJob, name: str, file: str) -> Array:
    """An array that the stage was given."""
    return load_array(Path(job.job["inputs"][name]) / f"{file}.npy")


def given(path: Path, dtype: Any, shape: tuple[int | None, ...]) -> Array:  # noqa: ANN401
    """An array that the stage left, of this type and shape (``None``: any length).

    Raises:
        ValueError: it is not; OSError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"no {path.parent.name}/{path.name}")
    array = load_array(path)
    if dtype is not None and array.dtype != dtype:
        found, wanted = array.dtype.name, np.dtype(dtype).name
        raise ValueError(f"{path.name} is of type {found}, expected {wanted}")
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{path.name} has shape {list(array.shape)}, expected {list(shape)}")
    return array
