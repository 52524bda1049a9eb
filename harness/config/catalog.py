"""Catalogue of modules: the three folders with their manifests and digests; no code is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.common.errors import UserError, UserErrors
from harness.common.text import suggest
from harness.config.identity import module_digest
from harness.config.manifest import Manifest
from harness.config.manifest_file import check_manifests

FOLDERS = {"attack": "attacks", "defense": "defenses", "victim": "victims"}
"""Kind → top-level folder."""


@dataclass(frozen=True)
class Module:
    """Module folder with its manifest."""

    folder: Path
    manifest: Manifest

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides results; see ``identity``.

        Raises:
            UserErrors: the folder holds links or other things that are no plain files.
        """
        return module_digest(self.folder, self.manifest)

    @property
    def ref(self) -> str:
        """``attacks/pgd``."""
        return f"{FOLDERS[self.manifest.kind]}/{self.manifest.name}"


@dataclass
class Catalog:
    """Every module below a root, by kind and name."""

    root: Path
    modules: dict[tuple[str, str], Module] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> Catalog:
        """Read every manifest.

        Raises:
            UserErrors: every mistake of every manifest, at once.
        """
        catalog, errors = cls.load_with_errors(root)
        if errors:
            raise UserErrors(errors)
        return catalog

    @classmethod
    def load_with_errors(cls, root: Path) -> tuple[Catalog, list[UserError]]:
        """Return the readable modules, and what is wrong with the others."""
        paths = [
            folder / "manifest.yaml"
            for top in FOLDERS.values()
            for folder in sorted((root / top).glob("*"))
            if folder.is_dir() and not folder.name.startswith((".", "_"))
        ]
        manifests, errors = check_manifests(paths)
        by_folder = {(FOLDERS[m.kind], m.name): m for m in manifests}
        catalog = cls(root)
        for path in paths:
            manifest = by_folder.get((path.parent.parent.name, path.parent.name))
            if manifest is not None:
                catalog.modules[manifest.kind, manifest.name] = Module(path.parent, manifest)
        return catalog, errors

    def of(self, kind: str) -> list[Module]:
        """Return the modules of a kind, by name."""
        return [m for (k, _), m in sorted(self.modules.items()) if k == kind]

    def get(self, kind: str, name: str, where: str) -> Module:
        """Return a module by name.

        Raises:
            UserError: there is none; names the nearest.
        """
        if (kind, name) in self.modules:
            return self.modules[kind, name]
        names = [m.manifest.name for m in self.of(kind)]
        what = f"no {kind} named {name!r} in {FOLDERS[kind]}/"
        raise UserError(where, what, suggest(name, names))
