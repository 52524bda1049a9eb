"""Codebooks that are read: stored arrays, recordings, word vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .codebooks import Array
from .speech import spectrogram


def read(path: Path, name: str, words: tuple[str, ...]) -> Array:
    """Return the codebook that a file or folder holds, ``[K, …]``.

    Args:
        path: an array ``.npy`` with a label for each class, in the data set's order; a folder of
            such arrays; a folder of recordings ``WORD.wav``; or word vectors, a text file of lines
            ``WORD number number …``.
        name: name of the codebook, for a folder of arrays: ``NAME.npy`` or ``…_NAME.npy``.
        words: words of the K classes, for recordings and word vectors.

    Raises:
        ValueError: there is no such codebook, or it is none for these classes.
    """
    if not path.is_dir():
        if path.suffix == ".npy":
            return checked(load(path), path.name, len(words))
        return checked(vectors(path, words), path.name, len(words))
    if any(path.glob("*.wav")):
        return checked(recordings(path, words), path.name, len(words))
    found = [path / f"{name}.npy"] if (path / f"{name}.npy").is_file() else []
    found = found or sorted(path.glob(f"*_{name}.npy"))
    arrays = [(one.name, load(one)) for one in found]
    fitting = [one for one in arrays if len(one[1]) == len(words)] or arrays
    if len(fitting) != 1:
        said = ", ".join(file for file, _ in fitting) or "no such file"
        raise ValueError(f"{path.name}: expected one {name}.npy or *_{name}.npy, found {said}")
    return checked(fitting[0][1], fitting[0][0], len(words))


def load(path: Path) -> Array:
    """Return a stored array of numbers as float64.

    Raises:
        ValueError: it is no array of numbers.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name}: not an array of numbers ({error})") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu" or found.ndim < 2:
        raise ValueError(f"{path.name}: expected an array of numbers [classes, …]")
    return found.astype(np.float64)


def recordings(folder: Path, words: tuple[str, ...]) -> Array:
    """Return the spectrograms of spoken words, ``[K, 64, 64]``.

    Raises:
        ValueError: a word has no recording, or one without a label.
    """
    missing = [word for word in words if not (folder / f"{word}.wav").is_file()]
    if missing:
        raise ValueError(f"{folder.name}: no {missing[0]}.wav; name the files in `words`")
    return np.stack([spectrogram(folder / f"{word}.wav") for word in words]).astype(np.float64)


def vectors(path: Path, words: tuple[str, ...]) -> Array:
    """Return word vectors, ``[K, D]``.

    Raises:
        ValueError: a word has no vector, or the file is none of word vectors.
    """
    wanted, found = set(words), {}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                word, _, numbers = line.partition(" ")
                if word in wanted:
                    found[word] = np.array(numbers.split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: no word vectors ({error})") from error
    missing = [word for word in words if word not in found]
    if missing:
        raise ValueError(f"{path.name}: no vector of {missing[0]!r}; name the words in `words`")
    if len({len(one) for one in found.values()}) > 1:
        raise ValueError(f"{path.name}: vectors of several lengths")
    return np.stack([found[word] for word in words])


def checked(codebook: Array, name: str, classes: int) -> Array:
    """Return a codebook that has a label of its own for each class.

    Raises:
        ValueError: it has not, or a number in it is not finite.
    """
    if len(codebook) != classes:
        raise ValueError(f"{name}: {len(codebook)} labels, the data set has {classes} classes")
    if not np.isfinite(codebook).all():
        raise ValueError(f"{name}: not all numbers are finite")
    flat = codebook.reshape(classes, -1).astype(np.float32)
    for k, label in enumerate(flat):
        same = np.flatnonzero((flat[:k] == label).all(axis=1))
        if len(same):
            raise ValueError(f"{name}: classes {same[0]} and {k} have the same label")
    return codebook
