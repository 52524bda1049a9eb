"""Artefacts of a matrix that are kept for the pictures on pages."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from harness.config.file_model import Strict, field_error
from harness.config.strict_yaml import quote

MODES = ("activation", "grad-cam")
"""Ways in which an attention map is made of the output of a network's last stage."""


def _modes(found: object) -> tuple[str, ...]:
    """Return the modes that are written: ``true`` stands for the first, ``false`` for none."""
    if isinstance(found, bool):
        return MODES[:1] if found else ()
    if isinstance(found, list | tuple) and found and all(mode in MODES for mode in found):
        return tuple(mode for mode in MODES if mode in found)
    what = f"expected true, false or a list of {' and '.join(MODES)}, found {quote(found)}"
    raise field_error(what, "write true")


ModesField: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(_modes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "array", "items": {"enum": list(MODES)}, "minItems": 1},
            ]
        }
    ),
]


class Keep(Strict):
    """Artefacts that are kept for the pictures on pages."""

    examples: Annotated[int, Field(ge=0)] = Field(
        default=8,
        description="Number of examples whose clean and attacked inputs are kept. Default: 8.",
    )
    attention: ModesField = Field(
        default_factory=tuple,
        description="Maps of where each network looks, on clean and on attacked inputs. Of the "
        "whole eval subset, the records hold how much of a map lies on the object and on the "
        "trigger; of the first `examples`, the page shows pictures. `activation`, which `true` "
        "stands for: mean over channels of the absolute output of the victim's last stage, without "
        "any class. `grad-cam`: its channels weighted by the mean gradient of the class that the "
        "network itself predicts. `[activation, grad-cam]` keeps both. It takes classification of "
        "pictures, under a threat model that changes test inputs. Default: `false`.",
    )
