"""Committed digests: what decides the keys of a data set, for machines that do not have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.common.errors import UserError
from harness.config.dataset_digest import digest_mistakes
from harness.datasets import stored
from harness.datasets.findings import shared_sentence

FOLDER = "digests"
"""Folder beside the manifests of data sets, with a file for each set."""


def digest_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digest of a stored set, of its ``manifest.json``."""
    kept = {field: found[field] for field in ("reading", "sha256", "counts", "spec")}
    return kept | {"note": found.get("note", ""), "shared": shared_sentence(found)}


def write_digest(name: str, root: Path, folder: Path) -> Path:
    """Write the digest of a stored set, to be committed, and return its path.

    Args:
        name: of the set.
        root: data root.
        folder: of digest files.

    Raises:
        DataMissing: the set is not stored.
    """
    kept = digest_of(stored.read_facts(name, root))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_digest(name: str, folder: Path | None) -> Mapping[str, Any] | None:
    """Return the committed digest of a set; ``None`` where it has none.

    Args:
        name: of the set.
        folder: of digest files; ``None``: there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = None if folder is None else folder / f"{name}.json"
    if path is None or not path.is_file():
        return None
    fix = f"write it again: gauntlet data digests {name}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(str(path), f"is damaged ({error})", fix) from error
    if mistakes := digest_mistakes(found):
        raise UserError(str(path), "; ".join(mistakes), fix)
    return {"note": "", "shared": "", **found}
