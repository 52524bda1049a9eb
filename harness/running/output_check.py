"""Checks of a stage's output files, before other code relies on them.

The worker checks what a hook returns, but it shares a process with the hook: the files in the
output folder may come from the hook alone. So the host checks names, types and shapes again.
What the service of an attack left is checked in ``service_output``.
"""

from __future__ import annotations

import json
import math
import tokenize
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from harness.common.files import Array, load_array
from harness.common.text import one_line
from harness.executors.base import StageJob
from harness.executors.outcome import open_plain
from harness.running import overlays
from harness.runtime.worker import health_names

SERVED = ("oracle", "shown", "goal")
"""Parts of an attack's artefact that its service leaves: counts of queries, what the network
answered to the attacked inputs, goals drawn from the network."""

RESERVED = ("receipt.json", "log.txt", *SERVED)
"""Names in an artefact that no stage with module code may leave; the harness adds them later."""

FIGURES_BYTES = 1 << 16
"""Longest file of figures; an honest one is below 1 KiB."""

UNREADABLE = (
    *(OSError, ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)
"""Exceptions of numpy on a malformed header, and of ``check_array`` on a wrong array."""


def check_output(job: StageJob) -> str | None:
    """Return what is wrong with the output of a stage that claims success, or ``None``."""
    out = job.folder / "out"
    taken = [name for name in RESERVED if (out / name).exists() or (out / name).is_symlink()]
    if taken:
        return f"the output holds {taken[0]}, a name that is the harness's"
    try:
        CHECKS[job.file.stage](job, out)
    except UNREADABLE as error:
        return one_line(f"the output cannot be used: {error}")
    return None


def check_network(job: StageJob, out: Path) -> None:
    """Check that there are weights; the stage that loads them finds out whether they fit."""
    if not (out / "network.safetensors").is_file():
        raise ValueError("no network.safetensors")


def check_edits(job: StageJob, out: Path) -> None:
    """Check proposed edits; the judge decides whether they are within the budget."""
    ids = check_array(out / "edits" / "ids.npy", np.int64, (None,))
    for name in ("x", "y"):
        path = out / "edits" / f"{name}.npy"
        if path.exists():
            like = load_input(job, "train", name)
            # images may be stored larger than modules see them
            kind, shape = (
                (np.float32, job.file.spec["shape"])
                if name == "x"
                else (like.dtype, like.shape[1:])
            )
            check_array(path, kind, (len(ids), *shape))
    if (out / "edits" / overlays.FOLDER).exists():
        check_overlay(out / "edits" / overlays.FOLDER)


def check_overlay(folder: Path) -> None:
    """Check the arrays of an overlay; the judge checks what they hold."""
    ids = check_array(folder / "ids.npy", np.int64, (None,))
    patch = check_array(folder / "patch.npy", np.float32, (None, None, None))
    check_array(folder / "mask.npy", np.float32, patch.shape)
    check_array(folder / "places.npy", np.int64, (len(ids), 2))


def check_mask(job: StageJob, out: Path) -> None:
    """Check a sanitizer's mask, and corrected labels."""
    labels = load_input(job, "train", "y")
    mask = check_array(out / "keep" / "mask.npy", np.bool_, (len(labels),))
    if not mask.any():
        raise ValueError("mask.npy keeps nothing")
    if (out / "keep" / "y.npy").exists():
        check_array(out / "keep" / "y.npy", labels.dtype, labels.shape)


def check_state(job: StageJob, out: Path) -> None:
    """Check that ``learn`` left a folder; only its own attack reads the content."""
    if not (out / "state").is_dir():
        raise ValueError("no state folder")


def check_attacked(job: StageJob, out: Path) -> None:
    """Check attacked inputs."""
    check_array(out / "attacked" / "x.npy", np.float32, load_input(job, "slice_x", "x").shape)


def check_shown(job: StageJob, out: Path) -> None:
    """Check the network's answers to the attacked inputs, and goals drawn from it."""
    clean = load_input(job, "slice_x", "x")
    if (out / "shown" / "outputs.npy").exists():
        samples = job.file.options.get("samples", 1)
        check_answers(job, out / "shown" / "outputs.npy", len(clean), samples)
    if (out / "goal" / "goal.npy").exists():
        pixels = clean.shape[2:4] if has_label_maps(job) else ()
        check_array(out / "goal" / "goal.npy", None, (len(clean), *pixels))


def check_outputs(job: StageJob, out: Path) -> None:
    """Check predictions, and those of a sample in other batches, twice."""
    examples, draws = len(load_input(job, "x", "x")), job.file.options.get("draws", 1)
    check_answers(job, out / "outputs" / "outputs.npy", examples, draws)
    if job.file.options.get("rebatch"):
        check_sample(job, out, examples)


def check_sample(job: StageJob, out: Path, examples: int) -> None:
    """Check the outputs of a sample of the inputs that was asked again, in other batches, twice."""
    rows = check_array(out / "rebatched" / "rows.npy", np.int64, (None,))
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= examples:
        raise ValueError("rows.npy names rows that are not among the inputs")
    for name in ("outputs", "repeated"):
        check_answers(job, out / "rebatched" / f"{name}.npy", len(rows))


def check_votes(job: StageJob, out: Path) -> None:
    """Check the votes on noisy copies, the outputs of some, and those of a sample asked again."""
    examples, options = len(load_input(job, "x", "x")), job.file.options
    for name, copies in (("counts", "votes"), ("selection", "selection")):
        shape = (examples, job.file.spec["outputs"])
        found = check_array(out / "votes" / f"{name}.npy", np.int32, shape)
        if (found < 0).any() or (found.sum(axis=1) > options[copies]).any():
            raise ValueError(
                f"{name}.npy holds other numbers than those of {options[copies]} votes"
            )
    check_answers(job, out / "draws" / "outputs.npy", examples, options["draws"])
    if options["rebatch"] and examples:
        check_sample(job, out, examples)
        rows = load_array(out / "rebatched" / "rows.npy")
        check_answers(job, out / "rebatched" / "first.npy", int(rows.max()) + 1)


def check_maps(job: StageJob, out: Path) -> None:
    """Check attention maps: one of equal size for each input, finite and not negative."""
    examples = len(load_input(job, "x", "x"))
    for mode in job.file.options["modes"]:
        found = check_array(out / "maps" / f"{mode}.npy", np.float32, (examples, None, None))
        if 0 in found.shape:
            raise ValueError(f"{mode}.npy has shape {list(found.shape)}, which holds no map")
        if not (np.isfinite(found).all() and (found >= 0).all()):
            raise ValueError(f"{mode}.npy holds values that are negative or not finite")


def check_figures(job: StageJob, out: Path) -> None:
    """Check that a probe left finite numbers under names of the closed list."""
    with open_plain(out / "probe" / health_names.FIGURES) as file:
        found = json.loads(file.read(FIGURES_BYTES))
    if not isinstance(found, dict) or not {health_names.EXAMPLES} <= found.keys():
        raise ValueError("no figures")
    for name, value in found.items():
        known = name in health_names.PROBE and type(value) in (int, float)
        if not known or not math.isfinite(value):
            raise ValueError(f"{health_names.FIGURES} holds {name}: {str(value)[:80]}")


def check_nothing(job: StageJob, out: Path) -> None:
    """Accept the output of a conformance stage; conformance checks what it reads."""


CHECKS: dict[str, Callable[[StageJob, Path], None]] = {
    "import": check_network,
    "public": check_network,
    "train": check_network,
    "deliver": check_network,
    "repair": check_network,
    "poison": check_edits,
    "sanitize": check_mask,
    "learn": check_state,
    "attack": check_attacked,
    "predict": check_outputs,
    "votes": check_votes,
    "maps": check_maps,
    "probe": check_figures,
    "inspect": check_nothing,
    "gradients": check_nothing,
    "applies": check_nothing,
    "probe_network": check_nothing,
    "probe_attack": check_nothing,
}
"""Table of checks by stage kind."""


def has_label_maps(job: StageJob) -> bool:
    """Return whether a label is a map of the image."""
    return job.file.spec["task"] == "segmentation"


def check_answers(job: StageJob, path: Path, rows: int, draws: int = 1) -> None:
    """Check a network's stored answers: class maps, or one number for each output.

    Several draws of a random network come first in the shape.
    """
    spec = job.file.spec
    several = () if draws == 1 else (draws,)
    if has_label_maps(job):
        check_array(path, np.uint8, (*several, rows, *spec["shape"][1:]))
    else:
        check_array(path, np.float32, (*several, rows, spec["outputs"]))


def load_input(job: StageJob, name: str, file: str) -> Array:
    """Return an array of a granted input."""
    return load_array(Path(job.file.inputs[name]) / f"{file}.npy")


def check_array(path: Path, dtype: DTypeLike | None, shape: tuple[int | None, ...]) -> Array:
    """Return an array that the stage left, of this type and shape (``None``: any length).

    Raises:
        ValueError: the array has another type or shape.
        OSError: the file cannot be read.
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
