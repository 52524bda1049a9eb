"""Existing weights: files that a victim's manifest names by digest, fetched once.

They take the place of a victim's training: of all rows of a table (an entry of ``victims``), or of
one row (an entry of ``defenses``), which is then a released network beside others.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.common.errors import UserError
from harness.common.keys import file_digest
from harness.config.catalog import Catalog, Module
from harness.config.manifest_weights import Weights
from harness.config.strict_yaml import nearest, quote
from harness.planning.recipe import WeightsRecipe
from harness.planning.resolved_entry import ResolvedEntry

SECONDS = 60.0
"""Longest silence of a download, in seconds."""

TRAINING_PARTS = ("build", "fit", "loss", "sanitize")
"""Hooks of a defence that play a part in training, so that weights leave nothing to them."""


def named_weights(module: Module, name: str) -> Weights:
    """Return a module's weights of this name.

    Raises:
        UserError: the module has none of this name.
    """
    known = module.manifest.weights
    if name not in known:
        fix = nearest(name, known) if known else "remove weights:"
        raise UserError(module.ref, f"has no weights {quote(name)}", fix)
    return known[name]


def weights_recipe(module: Module, name: str) -> WeightsRecipe:
    """Return the recipe of a ``weights`` stage: name, files and bytes."""
    return WeightsRecipe(f"{module.manifest.name}/{name}", named_weights(module, name).digests)


def network_of(victim: ResolvedEntry, defense: ResolvedEntry) -> ResolvedEntry:
    """Return the victim as the row of a defence has it.

    Where the defence's entry names weights, they take the place of the victim's training or of its
    own weights, with the variant that they belong to; parameters of the victim's entry are those of
    a training and play no part. The label stays, as it names the table.

    Raises:
        UserError: the victim has no such weights, they are only a start of training, or the defence
            takes part in training.
    """
    name = defense.released
    if name is None:
        return victim
    if name not in (known := victim.manifest.weights):
        what = f"has no weights {quote(name)}, and a row's weights are of each victim of its matrix"
        fix = nearest(name, known) if known else "give each victim a matrix of its own"
        raise UserError(victim.module.ref, what, fix)
    weights = known[name]
    if weights.start:
        what = f"its weights {quote(name)} are a start of training, and no network"
        raise UserError(victim.module.ref, what, "name others, or give them to the victim")
    if hooks := [hook for hook in TRAINING_PARTS if defense.uses(hook)]:
        what = f"takes part in training ({', '.join(hooks)}), and weights take the place of it"
        fix = f"write {{name: none, weights: {name}, as: LABEL}}, or remove weights:"
        raise UserError(defense.module.ref, what, fix)
    params = victim.manifest.resolve(weights.variant)
    recipe = weights_recipe(victim.module, name)
    return replace(victim, weights=recipe, params=params, fine_tunes=False, files={}, absent=None)


def find(recipe: WeightsRecipe, data_root: Path) -> list[Path]:
    """Return the files of a recipe in the data folder.

    Raises:
        UserError: one is not there, or is another one; says how to get it.
    """
    victim, _, _ = recipe.name.partition("/")
    fix = f"run `gauntlet data fetch {recipe.name}`"
    where = f"weights {recipe.name}"  # no path: records and pages show it
    found = []
    for file, sha256 in recipe.files.items():
        path = data_root / "weights" / victim / file
        if not path.is_file():
            raise UserError(where, f"{file} is not in the data folder", fix)
        if file_digest(path) != sha256:
            raise UserError(where, f"{file} is not the file that the manifest names", fix)
        found.append(path)
    return found


def fetch(catalog: Catalog, name: str, data_root: Path, source: Path | None) -> list[Path]:
    """Put weights into the data folder, after a check against their manifest.

    Args:
        catalog: the modules.
        name: ``VICTIM/WEIGHTS``.
        data_root: the folder of fetched data.
        source: a folder that holds the files, or the only file; ``None`` downloads them.

    Returns:
        The files in the data folder.

    Raises:
        UserError: unknown, unreadable, or other bytes than the manifest names.
    """
    victim, _, which = name.partition("/")
    module = catalog.get("victim", victim, f"weights {name}")
    weights = named_weights(module, which)
    if source is not None and not source.is_dir() and len(weights.digests) > 1:
        what = f"weights {name} are {len(weights.digests)} files"
        raise UserError(str(source), what, "give the folder that holds them")
    found = []
    for file, sha256 in weights.digests.items():
        given = source / file if source is not None and source.is_dir() else source
        target = data_root / "weights" / victim / file
        _fetch_file(f"weights {name}", target, sha256, given or weights.address(file))
        found.append(target)
    return found


def _fetch_file(where: str, target: Path, sha256: str, source: Path | str) -> None:
    """Copy or download a file to its place, if it has a digest."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            aside = Path(scratch) / target.name
            if isinstance(source, str):
                _download(source, aside)
            else:
                shutil.copyfile(source, aside)
            if (found := file_digest(aside)) != sha256:
                what = f"has the digest {found[:12]}…, the manifest names {sha256[:12]}…"
                raise UserError(str(source), what, "give the original file")
            aside.replace(target)
    except OSError as error:  # of a download, too
        what = f"{target.name} cannot be had ({error})"
        label = where.removeprefix("weights ")
        fix = f"get {source} and run `gauntlet data fetch {label} --from FILE`"
        raise UserError(where, what, fix) from error


def _download(url: str, target: Path) -> None:
    import urllib.request  # slow to import, and most commands download nothing

    if not url.startswith("https://"):
        raise OSError(f"{url} is no https address")
    with urllib.request.urlopen(url, timeout=SECONDS) as answer, target.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file)
