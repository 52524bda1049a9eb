"""``gauntlet new victim NAME --weights FILE``: a scaffold that fits a trained network's tensors."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path

from rich.console import Console

from harness.commands.placeholders import PLACEHOLDER
from harness.commands.victim_files import Given, write_code, write_manifest
from harness.common.errors import UserError
from harness.conformance.sketches import Sketch, read_tensors, sketch
from harness.workspace import Workspace

SCAFFOLDS = {True: "trained-victim", False: "victim"}
"""Whether the network's layers could be guessed → folder of the scaffold."""

FILE_NAME = re.compile(r"\w[\w.-]*")
NO_TENSOR = "–"


def group_files(files: Sequence[Path]) -> list[Given]:
    """Return the networks that files hold: all ``.npy`` files are one, every other is its own.

    Raises:
        UserError: a file is not there, has a name that no manifest can hold, or cannot be read.
    """
    for path in files:
        if not path.is_file():
            raise UserError(str(path), "is no file", "give a file of weights")
        if not FILE_NAME.fullmatch(path.name):
            what = "its name has more than letters, digits, dots, _ and -"
            raise UserError(str(path), what, "rename the file")
    arrays = tuple(path for path in files if path.suffix == ".npy")
    others = [(path,) for path in files if path.suffix != ".npy"]
    found: list[Given] = []
    for group in filter(None, (arrays, *others)):
        # the letters that names begin with, not the folders of paths
        shared = commonprefix([path.stem.lower() for path in group])  # noqa: RUF071
        name = re.sub(r"[^a-z0-9_-]+", "-", shared).strip("-_")[:41] or "weights"
        if name in [one.name for one in found]:
            what = f"another file gives its weights the name {name}, too"
            raise UserError(str(group[0]), what, "rename one of the files")
        try:
            found.append(Given(name, group, read_tensors(group)))
        except ValueError as error:
            raise UserError(str(group[0].parent), str(error), "give another file") from error
    return found


@dataclass(frozen=True)
class Trained:
    """Weights that were read, and the network that they seem to be of.

    Attributes:
        given: the weights, at least one.
        found: the layers of the first one's network; ``None`` if they cannot be guessed.
        why: why they cannot.
    """

    given: tuple[Given, ...]
    found: Sketch | None
    why: str

    @property
    def scaffold(self) -> str:
        """Folder of the scaffold."""
        return SCAFFOLDS[self.found is not None]


def read(files: Sequence[Path]) -> Trained:
    """Read files of weights.

    Raises:
        UserError: as ``group_files``.
    """
    given = group_files(files)
    return Trained(tuple(given), *sketch(given[0].files, given[0].tensors))


def fill(workspace: Workspace, folder: Path, trained: Trained, console: Console) -> None:
    """Write weights into a victim's folder, and copy their files into the data folder.

    Args:
        workspace: the checkout.
        folder: the victim's folder, fresh from the scaffold.
        trained: the weights.
        console: shows the tensors of the network and of the files side by side.
    """
    manifest, code = folder / "manifest.yaml", folder / "victim.py"
    text = write_manifest(manifest.read_text(encoding="utf-8"), trained.given, trained.found)
    manifest.write_text(text, encoding="utf-8")
    if trained.found is not None:
        text = write_code(code.read_text(encoding="utf-8"), trained.found)
        code.write_text(text, encoding="utf-8")
    target = workspace.data / "weights" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for one in trained.given:
        for path in one.files:
            shutil.copyfile(path, target / path.name)
    lines = [line for one in trained.given for line in compare(trained.found, one)]
    for line in (*lines, *remarks(trained)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def compare(found: Sketch | None, given: Given) -> Iterator[str]:
    """Yield a table: tensors of the network beside those of the file that fill them."""
    sources = {} if found is None else found.names
    theirs = {one.name for one in sources.values()}
    pairs = [(name, one.name, one.transposed) for name, one in sources.items()]
    pairs += [(NO_TENSOR, name, False) for name in given.tensors if name not in theirs]
    rows = [("network", "file", "shape in the file", "type")]
    for ours, name, transposed in pairs:
        tensor = given.tensors.get(name)
        if tensor is None:
            rows.append((ours, NO_TENSOR, NO_TENSOR, ""))
            continue
        shape = "x".join(map(str, tensor.shape)) or "one number"
        dtype = str(getattr(tensor, "dtype", "")).removeprefix("torch.")
        rows.append((ours, name, shape + " (transposed)" * transposed, dtype))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield f"weights {given.name}: {len(given.tensors)} tensors"
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def remarks(trained: Trained) -> Iterator[str]:
    """Yield what is left to do."""
    found = trained.found
    yield f"manifest.yaml: replace each {PLACEHOLDER}; the weights are in the data folder already."
    if found is None:
        yield f"The network could not be guessed: {trained.why}. Write it in victim.py, in build()."
        yield "Inputs come in [0, 1]: it normalises them itself."
    else:
        yield "Inputs come in [0, 1]: set MEAN and STD in victim.py if the network expects others."
    if found is not None and any(layer.guessed for layer in found.layers):
        yield "Lines with `# a guess` in victim.py are not in the file: check strides, activations."
    first, *others = trained.given
    for one in others:
        if _shapes(one) != _shapes(first):
            yield f"{one.name} is another network than {first.name}: give it a variant or a folder."


def _shapes(given: Given) -> list[tuple[str, list[int]]]:
    return sorted((name, list(one.shape)) for name, one in given.tensors.items())
