"""Files of a new victim that has weights: manifest entries, layers, names of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.commands.placeholders import PLACEHOLDER
from harness.common.keys import file_digest
from harness.conformance.sketches import Sketch, Tensors, guess_inputs

HOOK = '''
    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a file under the network's names."""
        return {name: tensors[theirs]TURN for name, theirs in NAMES.items()}
'''


class Given(NamedTuple):
    """Weights of one network.

    Attributes:
        name: their name in the manifest.
        files: their files.
        tensors: their tensors by name.
    """

    name: str
    files: tuple[Path, ...]
    tensors: Tensors


def write_manifest(text: str, given: Sequence[Given], found: Sketch | None) -> str:
    """Return a manifest with weights, and with the inputs that a sketch takes.

    Args:
        text: the manifest's text.
        given: the weights.
        found: the network's layers, if they could be guessed.
    """
    if found is not None and needs_hook(found):
        text = text.replace("[build, recipe]", "[build, recipe, import_weights]")
    takes = _inputs(found, given[0].tensors)
    known = [f"{name}: [{value}]" for name, value in takes.items() if value is not None]
    requirement = [f"requires: [{{{', '.join(known)}}}]"] if known else []
    return "\n".join([text.rstrip("\n"), *requirement, *_entries(given), ""])


def _inputs(found: Sketch | None, tensors: Tensors) -> dict[str, int | None]:
    """Return what a network takes, as far as it is known."""
    if found is not None:
        return {"channels": found.channels, "side": found.side, "classes": found.outputs}
    channels, outputs = guess_inputs(tensors)
    return {"channels": channels, "classes": outputs}


def _entries(given: Sequence[Given]) -> Iterator[str]:
    yield "weights:"
    for one in given:
        yield f"  {one.name}:"
        if len(one.files) == 1:
            yield f"    file: {one.files[0].name}"
            yield f"    sha256: {file_digest(one.files[0])}"
        else:
            yield "    files:"
            yield from (f"      {path.name}: {file_digest(path)}" for path in one.files)
        yield f"    license: {PLACEHOLDER}"
        yield f"    source: {PLACEHOLDER}" + ("/" if len(one.files) > 1 else "")
        yield f"    trained_on: {PLACEHOLDER}"


def needs_hook(found: Sketch) -> bool:
    """Return whether tensors have other names or forms than those of the network."""
    return any(name != one.name or one.transposed for name, one in found.names.items())


def write_code(text: str, found: Sketch) -> str:
    """Return a victim's code with the layers of a sketch.

    Args:
        text: code of the scaffold.
        found: the layers.
    """
    layers = [
        f"            {layer.code},{'  # a guess' if layer.guessed else ''}\n"
        for layer in found.layers
    ]
    places = range(len(found.layers))
    head = max(n for n in places if found.layers[n].tensors)
    flat = next((n for n in places if found.layers[n].code == "nn.Flatten()"), head)
    # maps after their activation; of a network without maps, its hidden layers
    active = [n for n in places if "ReLU" in found.layers[n].code and n < head]
    stages = [n for n in active if n < flat] or active or [0]
    text = text.replace("            # LAYERS\n", "".join(layers)).replace("HEAD", str(head))
    text = text.replace('"STAGES",', ", ".join(f'"{n}"' for n in stages) + "," * (len(stages) == 1))
    if needs_hook(found):
        rows = "".join(f'    "{name}": "{one.name}",\n' for name, one in found.names.items())
        table = f'NAMES = {{\n{rows}}}\n"""Tensor of the network → its name in the file."""\n'
        text = text.replace("\n\nclass Network", f"\n{table}\n\nclass Network", 1)
        turned = any(one.transposed for one in found.names.values())
        text += HOOK.replace("TURN", ".t()" if turned else "")
    return text
