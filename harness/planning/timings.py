"""Time and disk that stages took on this machine, from which a plan's are estimated."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness import datasets
from harness.common.files import load_array, read_json, write_json
from harness.common.keys import canonical
from harness.config.field_types import Value
from harness.planning.forecast import Forecast, Range
from harness.planning.graph import HOST, Stage
from harness.planning.plan import Plan
from harness.planning.recipe import DataRecipe, Recipe, StageRecipe, SubsetRecipe
from harness.storage.store import Store

SCHEMA = "timings/2"
MAX_SAMPLES = 20
"""Number of the latest samples of a setting that are stored; their median counts."""
MAX_SETTINGS = 50
"""Number of the latest settings that are stored for a label."""

READ = ("slice_x", "x", "clean", "train", "slice", "data", "spec")
"""Names of inputs whose examples a stage works through; the first that it has counts."""


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


class Timings:
    """Expected time and disk of a plan's stages, from ``timings.json``.

    A stage of a setting that has run here takes the median of those runs. For another number of
    steps, or another amount of data, the time lies between the known one and the proportional one:
    that is a range. Where not even the amounts can be compared, nothing is expected.

    A file of another version, or a broken one, counts as none.

    Args:
        home: the folder of local work.
        plan: the stages.
    """

    def __init__(self, home: Path, plan: Plan) -> None:
        self.path = home / "timings.json"
        self._stages, self._device = plan.graph.stages, plan.environments.device
        self._works: dict[str, Work | None] = {}
        self._expected: dict[Hashable, tuple[Range, Range] | None] = {}
        try:
            self._data, self._samples = read(self.path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._data, self._samples = {}, {}

    # -- learning -----------------------------------------------------------------------------

    def learn(self, store: Store, keys: list[str]) -> None:
        """Add what a run's stages took, and write the file.

        Args:
            store: the artefacts of the run.
            keys: the stages that were run.
        """
        for key in keys:
            receipt = store.receipt(key)
            if receipt is None or receipt["status"] != "ok":
                continue
            sample = self._sample(self._stages[key])
            sample.seconds.append(receipt["seconds"])
            sample.sizes.append(store.size(key))
            del sample.seconds[:-MAX_SAMPLES], sample.sizes[:-MAX_SAMPLES]
        for stage in self._stages.values():
            recipe = stage.recipe
            if isinstance(recipe, DataRecipe) and store.has(stage.key):
                with suppress(OSError, ValueError, KeyError):  # it failed, or is being cleaned up
                    self._data[recipe.name] = stored_size(store, stage.key, recipe)
        if keys:
            write(self.path, self._data, self._samples)

    def _sample(self, stage: Stage) -> Sample:
        """Return the sample of a stage's setting, as the latest of its label."""
        samples = self._samples.setdefault(self.label(stage), [])
        new = self._setting(stage)
        known = next((one for one in samples if one.setting == new.setting), new)
        samples[:] = [*[one for one in samples if one is not known][1 - MAX_SETTINGS :], known]
        return known

    # -- expecting ----------------------------------------------------------------------------

    def forecast(self, stages: list[Stage]) -> Forecast:
        """Return what these stages will take together."""
        found = [self.expect(stage) for stage in stages]
        known = [one for one in found if one is not None]
        return Forecast(
            stages=len(found),
            unknown=len(found) - len(known),
            seconds=Range.sum(seconds for seconds, _ in known),
            size=Range.sum(size for _, size in known),
        )

    def expect(self, stage: Stage) -> tuple[Range, Range] | None:
        """Return seconds and bytes of a stage, or ``None`` when nothing comparable has run here."""
        # thousands of stages differ in nothing but the seed or the weights that they read
        alike = (stage.kind, _identity(stage.recipe), self._work(stage))
        if alike not in self._expected:
            self._expected[alike] = self._nearest(stage)
        return self._expected[alike]

    def _nearest(self, stage: Stage) -> tuple[Range, Range] | None:
        asked = self._setting(stage)
        samples = [
            one for one in self._samples.get(self.label(stage), []) if one.seconds and one.sizes
        ]
        for known in samples:
            if known.setting == asked.setting:
                seconds, size = known.medians
                return Range.exactly(seconds), Range.exactly(size)
        compared = [(self._factor(known, asked), known) for known in samples]
        factors = [(factor, known) for factor, known in compared if factor is not None]
        if not factors:
            return None
        narrow = min(factor.spread for factor, _ in factors)
        best = [
            [factor.times(value) for value in known.medians]
            for factor, known in factors
            if factor.spread == narrow
        ]
        return Range.hull(one[0] for one in best), Range.hull(one[1] for one in best)

    def _factor(self, known: Sample, asked: Sample) -> Range | None:
        """Return how many times as much the asked setting takes, from independent to in proportion.

        ``None`` where the amounts of data cannot be compared.
        """
        ratios = [
            count / known.counts[name]
            for name, count in asked.counts.items()
            if count > 0 and known.counts.get(name, 0) > 0
        ]
        if known.work != asked.work:
            before, now = self._amount(known.work), self._amount(asked.work)
            if before is None or now is None:
                return None
            ratios.append(now / before)
        return Range(
            math.prod(min(1.0, ratio) for ratio in ratios),
            math.prod(max(1.0, ratio) for ratio in ratios),
        )

    def _amount(self, work: Work | None) -> float | None:
        """Return the number of input values, or ``None`` for a data set of unknown size."""
        size = None if work is None else self._size(work.data)
        if work is None or size is None:
            return None
        share = work.share if work.part == "train" else 1.0
        count = work.examples or size.examples[work.part] * share
        return count * size.values or None

    def _size(self, name: str) -> Size | None:
        """Return a data set's size as runs have seen it; only bundled sets are loaded to count."""
        if name not in self._data and datasets.get(name).bundled:
            splits = datasets.load(name, Path())
            counts = {p: float(len(getattr(splits, p).ids)) for p in ("train", "val", "test")}
            shape = splits.spec["shape"]
            assert isinstance(shape, list)
            self._data[name] = Size(examples=counts, values=math.prod(shape))
        return self._data.get(name)

    # -- what identifies a stage ----------------------------------------------------------------

    def label(self, stage: Stage) -> str:
        """Return device, kind and modules: ``cpu attack attacks/pgd+victims/small-cnn``."""
        device = "cpu" if stage.kind in HOST else self._device
        names = sorted(ref.module for ref in stage.modules.values())
        return f"{device} {stage.kind} {'+'.join(names)}".strip()

    def _setting(self, stage: Stage) -> Sample:
        parts: dict[str, Mapping[str, Value]] = {}
        for role, ref in stage.modules.items():
            parts[role] = ref.params
            parts[f"{role} budget"] = ref.budget or {}
        parts["budget"] = getattr(stage.recipe, "budget", None) or {}
        counts = {
            f"{part} {name}": value
            for part, values in parts.items()
            for name, value in values.items()
            if type(value) is int and name not in _LABELS
        }
        rest = {
            name: value for name, value in stage.recipe.to_json().items() if name not in _LEFT_OUT
        }
        work = self._work(stage)
        return Sample(setting=canonical([parts, rest, work]).decode(), counts=counts, work=work)

    def _work(self, stage: Stage) -> Work | None:
        if stage.key not in self._works:
            self._works[stage.key] = self._find_work(stage)
        return self._works[stage.key]

    def _find_work(self, stage: Stage) -> Work | None:
        recipe = stage.recipe
        if isinstance(recipe, DataRecipe):
            return Work(recipe.name, recipe.train_fraction, "train", None)
        name = next((name for name in READ if name in stage.inputs), None)
        if name is None:
            return None
        work = self._work(self._stages[stage.inputs[name].key])
        if work is not None and isinstance(recipe, SubsetRecipe):
            part = stage.inputs["data"].part
            return work._replace(part=part, examples=recipe.examples)
        return work


_LEFT_OUT = ("modules", "budget", "seed", "digest")
_LABELS = ("target",)
"""Integers that are labels, not amounts."""


def _identity(recipe: Recipe) -> Hashable:
    """Return what tells one stage's recipe from another's, cheaply; modules are shared objects."""
    if isinstance(recipe, StageRecipe):
        modules = tuple((role, id(ref)) for role, ref in recipe.modules.items())
        return modules, recipe.threads, repr(recipe.budget), recipe.options
    return tuple((k, repr(v)) for k, v in recipe.to_json().items() if k != "digest")


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
