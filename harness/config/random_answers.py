"""How often a matrix asks networks that draw as they answer, or whose inputs get noise."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.config.file_model import Strict


class RandomAnswers(Strict):
    """How often networks are asked whose victim or defence declares `random: true`."""

    samples: Annotated[int, Field(ge=2, le=64)] = Field(
        default=8,
        description="Passes whose mean, with its gradient, is one answer to a white-box attack "
        "(expectation over transformation); a query gets a single one. As many answers to the "
        "attacked inputs are compared with the judged ones. Default: 8.",
    )
    draws: Annotated[int, Field(ge=2, le=64)] = Field(
        default=5,
        description="Predictions of each input that are judged: an example is right only if all "
        "are. Default: 5.",
    )


class Smoothing(Strict):
    """How networks vote whose defence declares `smoothing`: on noisy copies of each input."""

    draws: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=1000,
        description="Noisy copies of each input whose classes are counted. They decide the "
        "prediction and bound the certified radius, which grows with their number. Default: 1000.",
    )
    selection: Annotated[int, Field(ge=10, le=10_000)] = Field(
        default=100,
        description="Further noisy copies that choose the class whose radius is certified. "
        "Default: 100.",
    )
    alpha: Annotated[float, Field(gt=0, le=0.1)] = Field(
        default=0.001,
        description="Probability with which the certificate of an example may be wrong, and level "
        "of the test below which a prediction abstains. Default: 0.001.",
    )
