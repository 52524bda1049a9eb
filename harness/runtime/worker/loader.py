"""Loads a module's class by path and checks its hooks against the table in ``contracts``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.runtime.contracts import ContractError
from harness.runtime.hooks import HOOKS


def load_entry(folder: Path, entry: str) -> type[Any]:
    """Import ``file.py:Class`` from a module folder.

    The file may take others of its folder along, with ``from .other import …``: it is a package of
    its own name, so that two modules may both have an ``other.py``.

    Args:
        folder: the module's folder.
        entry: as in the manifest.

    Raises:
        ContractError: the file or the class is not there (the module's fault).
        Exception: whatever the file raises while it is imported.
    """
    file, _, name = entry.partition(":")
    path = folder / file
    if not path.is_file():
        raise ContractError(f"entry {entry}: no file {file} in {folder.name}/")
    module = _import(path, f"gauntlet_module_{folder.parent.name}_{folder.name}".replace("-", "_"))
    cls = getattr(module, name, None)
    if not inspect.isclass(cls):
        raise ContractError(f"entry {entry}: {file} defines no class {name}")
    return cls


def _import(path: Path, name: str) -> ModuleType:
    for stale in [known for known in sys.modules if known.startswith(f"{name}.")]:
        del sys.modules[stale]  # another folder's, of the same name
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    if spec is None or spec.loader is None:
        raise ContractError(f"{path.name} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their own module up while the class body runs
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def implemented(cls: type[Any], kind: str) -> set[str]:
    """The hooks of a kind that a class has."""
    return {hook for hook in HOOKS[kind] if callable(getattr(cls, hook, None))}


def check_hooks(cls: type[Any], kind: str, declared: list[str]) -> None:
    """Compare a class with its manifest and with the hook table.

    Raises:
        ContractError: declared and implemented hooks differ, or an argument's name is wrong.
    """
    found = implemented(cls, kind)
    if missing := sorted(set(declared) - found):
        raise ContractError(f"{cls.__name__} declares but does not implement: {', '.join(missing)}")
    if extra := sorted(found - set(declared)):
        raise ContractError(
            f"{cls.__name__} implements but does not declare: {', '.join(extra)}; "
            "add to hooks: in manifest.yaml"
        )
    for hook in sorted(found):
        names = tuple(inspect.signature(getattr(cls, hook)).parameters)[1:]
        if names != HOOKS[kind][hook]:
            raise ContractError(
                f"{cls.__name__}.{hook}({', '.join(names)}): expected arguments "
                f"({', '.join(HOOKS[kind][hook])}), in this order"
            )


def construct(folder: Path, entry: str, kind: str, hooks: list[str], params: dict[str, Any]) -> Any:  # noqa: ANN401
    """Load, check and construct a module with its resolved parameters."""
    cls = load_entry(folder, entry)
    check_hooks(cls, kind, hooks)
    try:
        inspect.signature(cls).bind(**params)
    except TypeError as error:
        raise ContractError(f"{cls.__name__}({', '.join(params)}): {error}") from error
    return cls(**params)
