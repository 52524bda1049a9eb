"""Types of data sets, their specs and their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset import DatasetManifest

Array = NDArray[np.generic]
Ids = NDArray[np.int64]


class DataMissing(UserError):
    """Error for a data set that is not in the data root, or only in part."""


def missing_data_error(name: str, what: str) -> DataMissing:
    """Return the error for a data set that is not there; it names the command that fetches it."""
    return DataMissing(f"data set {name}", what, f"run `gauntlet data fetch {name}`")


def manual_download_error(name: str, source: str) -> UserError:
    """Return the error for a set that the harness may not download, without a source folder."""
    return UserError(
        f"data set {name}",
        "cannot be downloaded by the harness: its terms are between you and its authors",
        f"get it ({source}), then `gauntlet data fetch {name} --from DIR`",
    )


@dataclass(frozen=True)
class Split:
    """One split of a data set, as it is stored.

    Attributes:
        x: inputs: uint8 images ``[N, C, H, W]`` or float32 features in [0, 1] ``[N, F]``. In
            ranking, one row for each item (not comparison), or int64 item numbers ``[N]``.
        y: labels: int64 ``[N]`` in classification, uint8 ``[N, H, W]`` in segmentation, int64
            ``[n, arity + 2]`` in ranking (item rows, label ±1, attribute).
        ids: int64, one for each row of ``y``: unique across splits, and never reassigned.
        boxes: int64 ``[N, 4]``, the object's left, top, right and bottom edge in pixels of ``x``,
            right and bottom excluded; ``None`` where the data set has none. No module sees them.
        groups: int64 ``[N]``, equal for examples of one object, such as a track of one sign;
            ``None`` where the data set has none. No module sees them.
    """

    x: Array
    y: Array
    ids: Ids
    boxes: Ids | None = None
    groups: Ids | None = None


@dataclass(frozen=True)
class Splits:
    """A whole data set.

    Attributes:
        spec: fields of ``runtime.contracts.Spec``, ready for JSON.
        train: training split.
        val: validation split.
        test: test split.
    """

    spec: dict[str, object]
    train: Split
    val: Split
    test: Split


MOST_CLASSES = 254
"""Most classes of a segmentation set."""


def image_spec(
    task: str,
    classes: Sequence[str],
    shape: Sequence[int],
    void: int | None = None,
    *,
    stored: Sequence[int] | None = None,
) -> dict[str, object]:
    """Return the spec of labelled images ``[C, H, W]``, with one output for each class.

    Args:
        task: ``classification`` or ``segmentation``.
        classes: names of the classes.
        shape: one input as networks see it.
        void: label of pixels that do not count, or ``None``.
        stored: one input as it is stored, where that is larger: networks see its middle, and may
            train on random crops.

    Raises:
        ValueError: stored pictures are smaller than the inputs, have other channels, or class maps
            that would have to be cropped with them. Or class maps have more than 254 classes: in
            eight bits, 255 is for pixels without a class, and 254 may be the output for void.
    """
    if task == "segmentation" and len(classes) > MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes; class maps hold at most {MOST_CLASSES}")
    spec: dict[str, object] = {
        "task": task,
        "outputs": len(classes),
        "shape": list(shape),
        "items": None,
        "arity": None,
        "void": void,
        "classes": list(classes),
    }
    if stored is None or list(stored) == list(shape):
        return spec
    larger = stored[1] >= shape[1] and stored[2] >= shape[2] and stored[0] == shape[0]
    if task != "classification" or not larger:
        raise ValueError(f"{task} inputs {list(shape)} cannot be cropped from {list(stored)}")
    return spec | {"stored": list(stored)}


def comparison_spec(
    attributes: Sequence[str],
    shape: Sequence[int],
    *,
    arity: int = 2,
    outputs: int | None = None,
    items: int | None = None,
) -> dict[str, object]:
    """Return the spec of a ranking set.

    Args:
        attributes: names of the attributes that are compared.
        shape: of one item.
        arity: items in a comparison, 2 or 3.
        outputs: dimensions of the embedding; ``None`` for one score for each attribute.
        items: number of items that are known by number; ``None`` for items with inputs.
    """
    return {
        "task": "ranking",
        "outputs": len(attributes) if outputs is None else outputs,
        "shape": list(shape),
        "items": items,
        "arity": arity,
        "void": None,
        "classes": list(attributes),
    }


def input_kind(spec: Mapping[str, object]) -> str:
    """Return the kind of a data set's inputs: ``images``, ``features`` or ``items``.

    >>> input_kind(comparison_spec(["taste"], (), items=100))
    'items'
    """
    if spec["items"] is not None:
        return "items"
    shape = spec["shape"]
    assert isinstance(shape, list)
    return "images" if len(shape) == 3 else "features"


@dataclass(frozen=True)
class Card:
    """Data card: title, licence, citation, source, size (one line) and note."""

    title: str
    license: str
    citation: str
    source: str
    size: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Sizes of a whole published data set, known without loading it.

    Attributes:
        train: number of training examples; in ranking, of comparisons.
        val: number of validation examples.
        test: number of test examples.
        outputs: number of classes; in ranking, of attributes or embedding dimensions.
        shape: shape of one input: ``(C, H, W)``, ``(F,)``, or ``()`` for items known by number.
    """

    train: int
    val: int
    test: int
    outputs: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """Data set that a benchmark can name.

    Attributes:
        name: its name.
        task: ``classification``, ``ranking`` or ``segmentation``.
        card: data card; its size is of what is here, else of the published set.
        facts: sizes of the published set, of your own data of what is here; ``None``: unknown.
        here: sizes of what is here; ``None``: it is not here, or bundled.
        inputs: kind of input: ``images``, ``features`` or ``items`` (known by number).
        bundled: makes the splits of a set that comes with the harness; ``None``: it is stored.
        manifest: description of a set that is read from a source; ``None``: it is bundled.
    """

    name: str
    task: str
    card: Card
    facts: Facts | None
    inputs: str = "images"
    here: Facts | None = None
    bundled: Callable[[], Splits] | None = None
    manifest: DatasetManifest | None = None


@contextmanager
def wrap_download_errors(name: str) -> Iterator[None]:
    """Turn the errors of a failed torchvision download into a ``UserError`` of one line."""
    try:
        yield
    # RuntimeError: the MD5 is wrong, or no mirror answered. URLError is an OSError. ValueError: the
    # set has no such split.
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data set {name}",
            f"the download failed ({reason})",
            f"try again, or read a copy with `gauntlet data fetch {name} --from DIR`",
        ) from error
