"""Identity of a module: the part of every stage key that stands for its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from harness.common.keys import digest
from harness.config.manifest import Manifest
from harness.config.module_files import file_digests

IN_KEY: Mapping[str, bool] = MappingProxyType(
    {
        "schema": False,  # how the file is written
        "kind": True,
        "name": True,
        "summary": False,
        "reference": False,
        "license": False,
        "tasks": True,
        "threat_models": True,
        "needs": True,
        "offers": True,
        "entry": True,
        "hooks": True,
        "params.*.type": True,
        "params.*.default": True,
        "params.*.min": True,
        "params.*.max": True,
        "params.*.choices": True,
        "params.*.help": False,
        "variants": True,
        "weights.*.file": True,
        "weights.*.sha256": True,
        "weights.*.files": True,
        "weights.*.license": False,
        "weights.*.source": False,  # the digest says which bytes they are
        "weights.*.trained_on": False,
        "weights.*.claims": False,
        "weights.*.proven": False,
        "weights.*.variant": True,
        "weights.*.start": True,
        "limits": True,
        "smoke": False,  # `gauntlet check` alone reads it
        "random": True,
        "batch_dependent": True,
        "no_model_access": True,
        "gradients": True,
        "smoothing": False,  # the noise, and how votes are counted, are in the keys of stages
        "against": True,
        "requires": False,  # decides which cells are planned, not what a stage does
        "learn_when": False,  # a stage `learn` more or less is in the keys of what reads it
        "clean_form": False,  # the parameters of a stage, in its key
        "scale_invariant_when": False,  # says which matrices are thin
        "remarks": False,  # sentences on pages
    }
)
"""Key path of a manifest (``*`` for any name) → whether results may depend on it.

False is for what only people and ``gauntlet check`` read. A test demands a row for every key.
"""


def module_digest(folder: Path, manifest: Manifest) -> str:
    """Return the digest of a module: its code, and the declarations that decide results.

    Comments, the order of keys and defaults that are written out change nothing.

    Raises:
        UserErrors: links and other things in the folder that are no plain files.
    """
    return joined_digest(file_digests(folder), manifest)


def joined_digest(files: Mapping[str, str], manifest: Manifest) -> str:
    """Return the digest of a module whose files have these digests."""
    listed = [[name, files[name]] for name in sorted(files)]
    return digest({"files": listed, "manifest": declarations(manifest)})


def declarations(manifest: Manifest) -> object:
    """Return the keys of a manifest that decide results, as plain values."""
    whole = manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return _select(whole, ())


def _select(value: object, path: tuple[str, ...]) -> object:
    """Return a value without what ``IN_KEY`` leaves out below it."""
    if ".".join(path) in IN_KEY:
        return value
    assert isinstance(value, dict)
    inner = {key: (*path, key if not path or path[-1] == "*" else "*") for key in value}
    return {
        key: _select(value[key], below)
        for key, below in inner.items()
        if IN_KEY.get(".".join(below), True)
    }
