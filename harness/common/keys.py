"""Canonical JSON, digests and the version of everything that is hashed."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from pathlib import Path

KEY_VERSION = 2
"""Part of every stage key. Raise it when the recipe of keys changes; a test pins a golden key."""

IGNORED = {"__pycache__", ".DS_Store", ".ipynb_checkpoints"}

ROOT = Path(__file__).resolve().parents[2]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN.

    >>> canonical({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'

    Raises:
        ValueError: NaN or infinity. TypeError: what JSON cannot hold; nothing is hashed by repr.
    """
    return _ENCODER.encode(value).encode()


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """Digest of every file below a folder, by relative name; caches and byte code do not count."""
    return digest([[str(p.relative_to(folder)), file_digest(p)] for p in files_below(folder)])


def files_below(folder: Path) -> list[Path]:
    """Regular files below a folder, sorted by relative name."""
    names = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [folder / name for name in sorted(names, key=str) if not IGNORED & set(name.parts)]


def code_digest(names: Iterable[str]) -> str:
    """Digest of some of our own source files or packages, named relative to ``harness/``."""
    paths: list[Path] = []
    for name in names:
        path = ROOT / "harness" / name
        paths += files_below(path) if path.is_dir() else [path]
    return digest([[str(p.relative_to(ROOT)), file_digest(p)] for p in paths if p.suffix == ".py"])


@functools.cache
def runtime_digest() -> str:
    """Digest of what runs beside a module."""
    return code_digest(["runtime"])


@functools.cache
def judge_digest() -> str:
    """Digest of what turns artefacts into numbers; part of the score key only."""
    return code_digest(["judge", "results/scoring.py", "results/codec.py"])


@functools.cache
def environment_digest() -> str:
    """The local environment: the lock file, Python's and torch's versions.

    torch's version is read from its metadata: importing it would cost a second and a half.
    """
    from importlib.metadata import version

    lock = ROOT / "requirements" / "lock.txt"
    return digest(
        {
            "lock": file_digest(lock) if lock.is_file() else None,
            "python": ".".join(platform.python_version_tuple()[:2]),
            "torch": version("torch"),
        }
    )
