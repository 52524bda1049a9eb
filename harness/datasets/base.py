"""What a data set is, and the two sources of chance that data sets may use.

Splits, pairs and scenes must be the same on every machine and under every version of numpy, so
nothing here draws from ``numpy.random``: order and chance both come from SHA-2 and SHA-3 of names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError

Array = NDArray[np.generic]
Ids = NDArray[np.int64]


_CANDIDATES = 2
"""Candidates drawn per pair wanted: some have equal values, a few come twice."""


class DataMissing(UserError):
    """A data set that has to be fetched is not under the data root, or not whole."""


def missing(name: str, what: str) -> DataMissing:
    """The error for a data set that is not there; it names the command that fetches it."""
    return DataMissing(f"data set {name}", what, f"run `gauntlet data fetch {name}`")


def by_hand(name: str, source: str, accepted: str) -> UserError:
    """The error for a set that we may not download and no folder was given for."""
    return UserError(
        f"data set {name}",
        "cannot be downloaded by us: its terms are between you and its authors",
        f"get it from {source}, then `gauntlet data fetch {name} --from DIR`, "
        f"where DIR has {accepted}",
    )


def check_folder(folder: Path, accepted: str) -> None:
    """Refuse a source that is no folder."""
    if not folder.is_dir():
        raise UserError(str(folder), "is not a folder", f"give a folder with {accepted}")


@dataclass(frozen=True)
class Split:
    """One part of a data set, in the form in which it is stored.

    Attributes:
        x: uint8 ``[N, C, H, W]``, or float32 features in [0, 1] ``[N, F]``; in ranking these are
            the items, not the comparisons, and may be int64 item numbers ``[N]``.
        y: classification int64 ``[N]``; segmentation uint8 ``[N, H, W]``; ranking int64
            ``[n, arity + 2]``: item rows, label ±1, attribute.
        ids: int64, one a row of ``y``: unique over the data set's splits, and never reassigned.
    """

    x: Array
    y: Array
    ids: Ids


@dataclass(frozen=True)
class Splits:
    """A whole data set: ``spec`` has the JSON-able fields of ``runtime.contracts.Spec``."""

    spec: dict[str, object]
    train: Split
    val: Split
    test: Split


def picture_spec(
    task: str, classes: Sequence[str], shape: Sequence[int], void: int | None = None
) -> dict[str, object]:
    """The spec of labelled pictures ``[C, H, W]``: one output a class."""
    return {
        "task": task,
        "outputs": len(classes),
        "shape": list(shape),
        "items": None,
        "arity": None,
        "void": void,
        "classes": list(classes),
    }


def comparison_spec(
    attributes: Sequence[str],
    shape: Sequence[int],
    *,
    arity: int = 2,
    outputs: int | None = None,
    items: int | None = None,
) -> dict[str, object]:
    """The spec of compared items: a score for each attribute, or an embedding of ``outputs``."""
    return {
        "task": "ranking",
        "outputs": len(attributes) if outputs is None else outputs,
        "shape": list(shape),
        "items": items,
        "arity": arity,
        "void": None,
        "classes": list(attributes),
    }


def inputs_of(spec: Mapping[str, object]) -> str:
    """Return the kind of a data set's inputs: ``images``, ``features`` or ``items``.

    >>> inputs_of(comparison_spec(["taste"], (), items=100))
    'items'
    """
    if spec["items"] is not None:
        return "items"
    shape = spec["shape"]
    assert isinstance(shape, list)
    return "images" if len(shape) == 3 else "features"


@dataclass(frozen=True)
class Card:
    """What a person has to know before using a data set; ``size`` is one line."""

    title: str
    licence: str
    citation: str
    source: str
    size: str
    note: str = ""


@dataclass(frozen=True)
class Listing:
    """The training comparisons of a ranking set in its authors' own words.

    Attributes:
        read: data root → one line, its end included, for each row of ``train.y``.
        flip: a line → the line of the opposite judgement; twice gives the line again.
    """

    read: Callable[[Path], list[str]]
    flip: Callable[[str], str]


@dataclass(frozen=True)
class Facts:
    """What is known of a data set without loading it: of the whole set, as it was published.

    Attributes:
        train: examples of the training split; in ranking, comparisons.
        val: of the validation split.
        test: of the test split.
        outputs: classes; in ranking, attributes or the embedding's dimensions.
        shape: of one input: ``(C, H, W)``, ``(F,)``, or ``()`` for items known by number.
    """

    train: int
    val: int
    test: int
    outputs: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """A row of the table of data sets.

    Attributes:
        version: raised by hand when the same source gives other arrays than before.
        facts: of the published set; a fetched copy may have fewer examples.
        load: data root → splits; bundled data sets ignore the root. Raises ``DataMissing``.
        fetch: data root, and a folder to read from (``None`` downloads). Bundled: ``None``.
        listing: in ranking, the lines that the comparisons were read from, if there are any.
        inputs: kind of input: ``images``, ``features`` or ``items`` (known by number).
    """

    name: str
    task: str
    version: int
    card: Card
    facts: Facts
    load: Callable[[Path], Splits]
    bundled: bool
    fetch: Callable[[Path, Path | None], None] | None
    listing: Listing | None = None
    inputs: str = "images"


def hash_order(ids: Ids, salt: str) -> NDArray[np.intp]:
    """Rows in an order that depends on each id and the salt alone.

    The order of two ids never depends on which others are there, so a prefix of a longer order
    contains the prefix of a shorter one.

    >>> hash_order(np.array([10, 11, 12]), "a").tolist()
    [1, 2, 0]
    """
    marks = [hashlib.sha256(f"{salt}:{i}".encode()).digest() for i in ids.tolist()]
    return np.array(sorted(range(len(marks)), key=marks.__getitem__), dtype=np.intp)


def draws(name: str, count: int) -> NDArray[np.float64]:
    """``count`` numbers in [0, 1) that depend on the name alone; evenly spread, 53 bits each.

    >>> draws("a", 2).round(3).tolist()
    [0.859, 0.613]
    """
    raw = np.frombuffer(hashlib.shake_256(name.encode()).digest(8 * count), dtype="<u8")
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def identities(name: str, keys: Iterable[str]) -> Ids:
    """Ids made of names: 48 bits of a digest each, so that in a subset all keep those of the whole.

    A key that comes again is another example; it is told apart by how often it came before.

    >>> identities("camvid", ["0016E5_07959"]).tolist()
    [259648880056340]
    """
    seen: Counter[str] = Counter()
    marks = []
    for key in keys:
        again = f"#{seen[key]}" if seen[key] else ""
        seen[key] += 1
        digest = hashlib.sha256(f"{name}/{key}{again}".encode()).digest()
        marks.append(int.from_bytes(digest[:6], "big"))
    return np.array(marks, dtype=np.int64)


def unequal_pairs(name: str, value: Ids, wanted: int) -> Ids:
    """Pairs of rows with different values, drawn by the name; no two rows meet twice.

    Args:
        value: int64 ``[N]``. wanted: how many pairs; fewer come where few rows differ.

    Returns:
        int64 ``[n, 3]``: two rows, and +1 where the first has the larger value, else −1.

    >>> unequal_pairs("e", np.array([5, 7, 7]), 2).tolist()
    [[1, 0, 1], [2, 0, 1]]
    """
    chance = draws(name, 2 * _CANDIDATES * wanted).reshape(-1, 2)
    pairs = (chance * len(value)).astype(np.int64)
    pairs = pairs[value[pairs[:, 0]] != value[pairs[:, 1]]]
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs = pairs[np.sort(first)[:wanted]]
    return np.column_stack([pairs, np.sign(value[pairs[:, 0]] - value[pairs[:, 1]])])


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turn what torchvision raises when a download fails into one line."""
    try:
        yield
    # RuntimeError: the MD5 is wrong, or no mirror answered. URLError is an OSError.
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data set {name}",
            f"the download failed ({reason})",
            f"try again, or read a copy with `gauntlet data fetch {name} --from DIR`",
        ) from error
