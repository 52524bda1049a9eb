"""Canonical JSON, digests, and the version of the stage keys."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from pathlib import Path

KEY_VERSION = 3
"""Part of every stage key. Raise it when the recipe of keys changes; a test pins a golden key."""

IGNORED_NAMES = {"__pycache__", ".DS_Store", ".ipynb_checkpoints"}
"""Files and folders that are no part of any digest."""

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

RUNTIME_PINS = ROOT / "requirements" / "runtime.txt"
"""Exact versions of what runs beside a module, in images and outside."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> bytes:
    """Encode a value as its canonical JSON text: sorted keys, no spaces, no NaN.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'

    Raises:
        ValueError: NaN or infinity.
        TypeError: a value that JSON cannot hold; nothing is hashed by its repr.
    """
    return _ENCODER.encode(value).encode()


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """Return the digest of all files below a folder by relative name; caches do not count."""
    return digest([[str(p.relative_to(folder)), file_digest(p)] for p in files_below(folder)])


def files_below(folder: Path) -> list[Path]:
    """List the regular files below a folder, sorted by relative name; caches do not count."""
    names = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [folder / name for name in sorted(names, key=str) if not IGNORED_NAMES & set(name.parts)]


def code_digest(names: Iterable[str]) -> str:
    """Return the digest of source files or packages, named relative to ``harness/``."""
    paths: list[Path] = []
    for name in names:
        path = ROOT / "harness" / name
        paths += files_below(path) if path.is_dir() else [path]
    return digest([[str(p.relative_to(ROOT)), file_digest(p)] for p in paths if p.suffix == ".py"])


@functools.cache
def runtime_digest() -> str:
    """Return the digest of the code that runs beside a module."""
    return code_digest(["runtime"])


@functools.cache
def judge_digest() -> str:
    """Return the digest of the code that computes results; part of the score key only."""
    files = ("scoring", "comparisons", "codec", "attention")
    return code_digest(["judge", *(f"results/{name}.py" for name in files)])


@functools.cache
def conformance_digest() -> str:
    """Return the digest of the code that decides whether a module passes ``gauntlet check``."""
    return code_digest(["runtime", "judge", "conformance"])


@functools.cache
def environment_digest() -> str:
    """Return the digest of the local environment: pins, Python's and torch's versions.

    The pins are those of what runs beside a module, as in the images: another library to compare
    with in tests, or another linter, changes no result. torch's version is read from its metadata:
    importing torch takes a second and a half.
    """
    from importlib.metadata import version

    return digest(
        {
            "lock": file_digest(RUNTIME_PINS) if RUNTIME_PINS.is_file() else None,
            "python": ".".join(platform.python_version_tuple()[:2]),
            "torch": version("torch"),
        }
    )
