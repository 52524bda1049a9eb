"""Loads the class of a module from its folder and checks its hooks against ``hooks.HOOKS``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType

from harness.runtime.contracts import ContractError
from harness.runtime.hooks import HOOKS
from harness.runtime.training import fit_by_recipe
from harness.runtime.worker.packages import add_packages


def load_entry(folder: Path, entry: str) -> type:
    """Import ``file.py:Class`` from a module folder.

    The file may import other files of its folder by ``from .other import …``. Each folder is a
    package of its own name, so two modules may both have an ``other.py``.

    Args:
        folder: folder of the module.
        entry: entry in the manifest's form.

    Raises:
        ContractError: the file or the class does not exist (the module is responsible).
        Exception: any error while the file is imported.
    """
    add_packages()
    file, _, name = entry.partition(":")
    path = folder / file
    if not path.is_file():
        raise ContractError(f"entry {entry}: no file {file} in {folder.name}/")
    module = _import(path, f"gauntlet_module_{folder.parent.name}_{folder.name}".replace("-", "_"))
    cls: object = getattr(module, name, None)
    if not inspect.isclass(cls):
        raise ContractError(f"entry {entry}: {file} defines no class {name}")
    return cls


def _import(path: Path, name: str) -> ModuleType:
    for stale in [known for known in sys.modules if known.startswith(f"{name}.")]:
        del sys.modules[stale]  # of another folder with the same name
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    if spec is None or spec.loader is None:
        raise ContractError(f"{path.name} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # the decorator of a dataclass looks up the class's module while the file runs
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def implemented_hooks(cls: type, kind: str) -> set[str]:
    """Return the hooks that a class has, of those that its kind of module may have."""
    return {hook for hook in HOOKS[kind] if callable(getattr(cls, hook, None))}


def check_hooks(cls: type, kind: str, declared: Collection[str]) -> None:
    """Compare a class with its manifest and with the table of hooks.

    Args:
        cls: class of the module.
        kind: kind of the module.
        declared: hooks that the manifest lists.

    Raises:
        ContractError: declared and implemented hooks differ, or an argument's name is wrong.
    """
    found = implemented_hooks(cls, kind)
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


def construct(
    folder: Path, entry: str, kind: str, hooks: Collection[str], params: Mapping[str, object]
) -> object:
    """Load, check and construct a module.

    Args:
        folder: folder of the module.
        entry: entry in the manifest's form, ``file.py:Class``.
        kind: ``attack``, ``defense`` or ``victim``.
        hooks: hooks that the manifest lists.
        params: arguments of the constructor.

    Raises:
        ContractError: the class does not exist, or does not fit manifest or parameters.
        Exception: any error of the module's own code.
    """
    cls = load_entry(folder, entry)
    check_hooks(cls, kind, hooks)
    if kind == "victim" and "fit" not in hooks:
        cls.fit = fit_by_recipe  # type: ignore[attr-defined]
    try:
        inspect.signature(cls).bind(**params)
    except TypeError as error:
        raise ContractError(f"{cls.__name__}({', '.join(params)}): {error}") from error
    factory: Callable[..., object] = cls
    return factory(**params)
