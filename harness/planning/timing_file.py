"""Measurements of stages, as ``timings.json`` keeps them: samples, and sizes of data sets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.common.files import load_array, read_json, write_json
from harness.planning.recipe import DataRecipe
from harness.storage.store import Store

SCHEMA = "timings/2"


class Work(NamedTuple):
    """Examples that a stage works through, as far as a plan knows them.

    Attributes:
        data: the data set's name.
        share: the share of its training examples that is used.
        part: the split.
        examples: how many of the split; ``None`` for all.
    """

    data: str
    share: float
    part: str
    examples: int | None


@dataclass(frozen=True)
class Size:
    """The size of a data set.

    Attributes:
        examples: split → number of examples; for training, of the whole set.
        values: numbers in one example's input.
    """

    examples: Mapping[str, float]
    values: int


@dataclass(frozen=True)
class Sample:
    """Measurements of the stages of one setting.

    Attributes:
        setting: all but module digests and the seed, as text.
        counts: the whole numbers among parameters and budget, such as steps or queries.
        work: the examples; ``None`` where no data are read.
        seconds: of the latest such stages.
        sizes: bytes of their artefacts.
    """

    setting: str
    counts: Mapping[str, int]
    work: Work | None
    seconds: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)

    @property
    def medians(self) -> tuple[float, float]:
        """Median seconds and bytes of a setting in which at least one stage has run."""
        return statistics.median(self.seconds), statistics.median(self.sizes)


def read(path: Path) -> tuple[dict[str, Size], dict[str, list[Sample]]]:
    """Read sizes of data sets, and samples by label of a stage."""
    content = read_json(path)
    if content["schema"] != SCHEMA:
        raise ValueError(content["schema"])
    data = {name: Size(**size) for name, size in content["data"].items()}
    samples = {
        label: [
            Sample(
                setting=str(one["setting"]),
                counts=dict(one["counts"]),
                work=one["work"] and Work(*one["work"]),
                seconds=[float(value) for value in one["seconds"]],
                sizes=[float(value) for value in one["sizes"]],
            )
            for one in found
        ]
        for label, found in content["samples"].items()
    }
    return data, samples


def write(path: Path, data: dict[str, Size], samples: dict[str, list[Sample]]) -> None:
    """Write the file that ``read`` reads."""
    content = {
        "schema": SCHEMA,
        "data": {name: asdict(size) for name, size in data.items()},
        "samples": {label: [asdict(one) for one in found] for label, found in samples.items()},
    }
    write_json(path, content)


def stored_size(store: Store, key: str, recipe: DataRecipe) -> Size:
    """Return the size of a data stage's set, from the artefact's headers."""
    counts = {
        part: float(len(load_array(store.part(key, part) / "ids.npy")))
        for part in ("train", "val", "test")
    }
    counts["train"] /= recipe.train_fraction
    shape = read_json(store.part(key, "spec.json"))["shape"]
    return Size(examples=counts, values=math.prod(shape))
