"""Time and disk that stages took on this machine, from which a plan's are estimated."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path

from harness.common.keys import canonical_json
from harness.config.data_entry import part_of
from harness.datasets import BUNDLED
from harness.planning.forecast import Forecast, Range
from harness.planning.graph import Stage
from harness.planning.plan import Plan
from harness.planning.recipe import DataRecipe, Recipe, StageRecipe, SubsetRecipe
from harness.planning.stage_keys import HOST
from harness.planning.timing_file import Sample, Size, Work, read, stored_size, write
from harness.storage.store import Store

MAX_SAMPLES = 20
"""Number of the latest samples of a setting that are stored; their median counts."""
MAX_SETTINGS = 50
"""Number of the latest settings that are stored for a label."""

READ = ("slice_x", "x", "clean", "train", "slice", "data", "spec")
"""Names of inputs whose examples a stage works through; the first that it has counts."""


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
        self._sets = plan.sets
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
            if receipt is None or receipt.status != "ok":
                continue
            sample = self._sample(self._stages[key])
            sample.seconds.append(receipt.seconds)
            sample.sizes.append(store.size(key))
            del sample.seconds[:-MAX_SAMPLES], sample.sizes[:-MAX_SAMPLES]
        for stage in self._stages.values():
            recipe = stage.recipe
            # with shots or parts, the artefact does not tell how many examples the set has
            whole = isinstance(recipe, DataRecipe) and (recipe.shots, recipe.part) == (None, None)
            if isinstance(recipe, DataRecipe) and whole and store.has(stage.key):
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
        # thousands of stages differ only in the seed or in the weights that they read
        alike = (stage.kind, _identity(stage.recipe), self._work(stage))
        if alike not in self._expected:
            self._expected[alike] = self._nearest(stage)
        return self._expected[alike]

    def _nearest(self, stage: Stage) -> tuple[Range, Range] | None:
        """Return the medians of the same setting, else the estimates from the most alike ones."""
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
        # the narrower the factor, the more alike the settings; equally alike ones count together
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
        # at one end nothing depends on an amount, at the other all grows in proportion to each
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
        known = BUNDLED.get(name)
        if name not in self._data and known is not None and known.bundled is not None:
            splits = known.bundled()
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
        parts: dict[str, Mapping[str, object]] = {}
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
        # a part of the examples, handed over by other attacks, says nothing of the whole
        handed = ["handed"] if "rows" in stage.inputs else []
        setting = canonical_json([parts, rest, work, *handed]).decode()
        return Sample(setting=setting, counts=counts, work=work)

    def _work(self, stage: Stage) -> Work | None:
        if stage.key not in self._works:
            self._works[stage.key] = self._find_work(stage)
        return self._works[stage.key]

    def _training_work(self, recipe: DataRecipe) -> Work:
        """Return the training examples that a data stage leaves."""
        facts = self._sets.get(recipe.name).facts
        if recipe.shots is None or facts is None:
            share = recipe.train_fraction / part_of(recipe.part)[1]
            return Work(recipe.name, share, "train", None)
        return Work(recipe.name, 1.0, "train", recipe.shots * facts.outputs)

    def _find_work(self, stage: Stage) -> Work | None:
        recipe = stage.recipe
        if isinstance(recipe, DataRecipe):
            return self._training_work(recipe)
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
