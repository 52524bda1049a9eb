"""Reader of ``manifest.yaml``, with what else lies in the module's folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.common.errors import UserError, UserErrors, split
from harness.config.manifest import Manifest
from harness.config.manifest_folder import folder_problems, own_file_problems
from harness.config.module_files import MANIFEST, irregular_files
from harness.config.validation import read_all, read_model


def load_manifest(path: Path) -> Manifest:
    """Read a ``manifest.yaml``, named by its path or by its folder's.

    Raises:
        UserErrors: everything wrong with it, and other things that its folder must not hold.
    """
    file = path / MANIFEST if path.is_dir() else path
    errors = irregular_files(file.parent) if file.parent.is_dir() else []
    found = None
    if not file.is_symlink():  # what a link leads to is not to be quoted in errors
        try:
            found = read_model(Manifest, file, "manifest", folder_problems)
            if not errors:
                problems = own_file_problems(file.parent, found.params, found.presets)
                errors = [UserError(found.where(one.loc), one.what, one.fix) for one in problems]
        except UserError as wrong:
            errors += split(wrong)
    if found is None or errors:
        raise UserErrors(errors)
    return found


def check_manifests(paths: Iterable[Path]) -> tuple[list[Manifest], list[UserError]]:
    """Read many; return the good manifests, and every error of the others."""
    return read_all(load_manifest, paths)
