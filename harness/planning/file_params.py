"""Parameters of modules that are files: which are the benchmark's own, and which the module's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.common.errors import UserError
from harness.config.catalog import Module
from harness.config.field_types import Value
from harness.config.strict_yaml import quote
from harness.planning.own_files import find_own_file
from harness.planning.recipe import FileRecipe


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Parameters of an entry, and the benchmark's own files among them.

    Attributes:
        params: every parameter with its value; of such a file its name and digest.
        files: parameter → such a file.
        absent: why one is missing here, or ``None``.
        errors: what is wrong with those that cannot be taken.
    """

    params: Mapping[str, Value]
    files: Mapping[str, FileRecipe] = field(default_factory=dict)
    absent: str | None = None
    errors: tuple[UserError, ...] = ()


def take_files(
    folder: Path | None, module: Module, params: Mapping[str, Value], places: Mapping[str, str]
) -> OwnFiles:
    """Find the files that a benchmark's entry gives a module.

    All others are the module's own: its manifest names them, and its digest covers them. So are
    those of a benchmark without a file, which ``gauntlet check`` makes of a manifest's values.

    Args:
        folder: folder of the benchmark's file, or ``None``.
        module: the module.
        params: every parameter with its value.
        places: parameter that the entry gives → its place in the benchmark.
    """
    values, found = dict(params), dict[str, FileRecipe]()
    absent, errors = None, []
    for name in module.manifest.files:
        if folder is None or name not in places or not values[name]:
            continue
        text = str(values[name])
        values[name] = title = Path(text).name
        try:
            file = find_own_file(folder, text, places[name])
        except UserError as error:
            errors.append(error)
            continue
        if file is not None:
            found[name], values[name] = file, file.label
        elif absent is None:  # pages show it: no folder of this machine belongs there
            role = f"{module.manifest.kind} {module.manifest.name}"
            absent = f"{quote(title)}, the parameter {name} of {role}, is not where it is named"
    return OwnFiles(values, found, absent, tuple(errors))
