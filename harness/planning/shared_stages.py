"""Stages that many cells share: data, test examples, goals; and how a stage enters the graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Literal, TypeVar, cast

from harness.common.errors import UserError
from harness.config.benchmark import Matrix
from harness.config.field_types import Limit
from harness.config.strict_yaml import quote
from harness.datasets import DataMissing, Datasets
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Graph, Input
from harness.planning.options import NoOptions, Options
from harness.planning.own_files import find_own_file
from harness.planning.places import PLACES, read_places
from harness.planning.recipe import (
    THREADS,
    DataRecipe,
    FileRecipe,
    GoalRecipe,
    StageRecipe,
    SubsetRecipe,
)
from harness.planning.resolved_entry import ResolvedEntry

T = TypeVar("T")

NO_BUDGET: Mapping[str, Limit] = {}
NO_OPTIONS = NoOptions()


class SharedStages:
    """Adds stages to a graph, each once, and remembers those that many cells ask for.

    Args:
        graph: where the stages go.
        sets: the data sets.
        folder: folder of the benchmark's file, or ``None``.
    """

    def __init__(self, graph: Graph, sets: Datasets, folder: Path | None) -> None:
        self.graph, self.sets, self._folder = graph, sets, folder
        self._digests: dict[str, str] = {}
        self._known: dict[Hashable, object] = {}

    def once(self, identity: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returned for the first cell with this identity."""
        if identity not in self._known:
            self._known[identity] = make()
        return cast(T, self._known[identity])

    def data(self, matrix: Matrix, role: str) -> str:
        """Add the data stage of a role."""
        entry = matrix.data[role_of(matrix, role)]
        if entry.name not in self._digests:
            self._digests[entry.name] = self.sets.key_digest(entry.name)
        digest, fraction = self._digests[entry.name], entry.fraction
        if entry.examples is not None:
            fraction = self.sets.share(entry.name, entry.examples)
        recipe = DataRecipe(entry.name, digest, fraction, entry.shots, entry.part)
        return self.once(("data", recipe), lambda: self.graph.add("data", {}, recipe))

    def eval_subset(self, matrix: Matrix, data: str) -> str:
        """Add the stage of the test examples that cells are judged on."""
        examples = matrix.eval_subset.examples
        return self.once(
            ("slice", matrix.name),
            lambda: self.test_examples(data, examples, self.listed_rows(matrix)),
        )

    def listed_rows(self, matrix: Matrix) -> FileRecipe | None:
        """Return the list of places that the test examples of a matrix are from, if it has one.

        Raises:
            DataMissing: it is not where the benchmark says.
            UserError: it is no such list.
        """
        return self.once(("rows", matrix.name), lambda: self._find_rows(matrix))

    def _find_rows(self, matrix: Matrix) -> FileRecipe | None:
        text = matrix.eval_subset.rows
        if text is None or self._folder is None:
            return None
        where = f"{self._folder.name}: {matrix.name}.eval_subset.rows"
        file = find_own_file(self._folder, text, where)
        if file is None:
            what = f"{quote(Path(text).name)}, the list of rows, is not where it is named"
            raise DataMissing(where, what, "put it there")
        try:
            read_places(file.path)
        except ValueError as error:
            raise UserError(f"{where}: {file.label}", str(error), PLACES) from error
        return file

    def test_examples(self, data: str, examples: int, listed: FileRecipe | None = None) -> str:
        """Add the stage of the first test examples of a data stage, of those in a list if given."""
        inputs = {"data": Input(data, "test"), "spec": Input(data, "")}
        if listed is not None:
            inputs["rows"] = Input(self.graph.add("file", {}, listed), "file")
        return self.graph.add("slice", inputs, SubsetRecipe(examples))

    def goal(self, s: CellSetting, subset: str) -> str | None:
        """Add the stage of targets per example; untargeted attacks have none.

        A backdoor's target, which its budget names, goes before the matrix's goal.
        """
        target = s.budget.values.get("target", s.matrix.goal.targeted)
        if target is None or target == "least_likely":  # the model draws these itself
            return None
        assert isinstance(target, int | str)
        inputs, recipe = {"slice": Input(subset, "")}, GoalRecipe(target)
        return self.once(("goal", subset, target), lambda: self.graph.add("goal", inputs, recipe))

    def module_stage(
        self,
        kind: str,
        seed: int,
        inputs: Mapping[str, Input],
        roles: Mapping[str, ResolvedEntry],
        budget: Mapping[str, Limit] = NO_BUDGET,
        options: Options = NO_OPTIONS,
    ) -> str:
        """Add a stage that runs module code.

        Args:
            kind: kind of the stage.
            seed: the cell's seed.
            inputs: name → part that the stage may read.
            roles: role → module that the stage may load.
            budget: limits of the attack.
            options: all else that the stage is told.
        """
        entries = dict(roles)
        if kind == "train":  # the only stage in which a defence meets its adversary
            for entry in roles.values():
                if entry.adversary is not None:
                    entries["adversary"] = entry.adversary
        modules = {role: entry.ref for role, entry in entries.items()}
        files = [file for entry in entries.values() for file in entry.files.values()]
        if files:
            added = {one.reference: Input(self.graph.add("file", {}, one), "file") for one in files}
            inputs = {**inputs, **added}
        recipe = StageRecipe(modules, seed, THREADS, budget, options)
        return self.graph.add(kind, inputs, recipe)


def role_of(matrix: Matrix, role: str) -> Literal["public", "attacker", "student"]:
    """Return the role whose data play ``role``: the attacker's are the public ones by default."""
    return role if role in matrix.data else "public"


def spec(data: str) -> dict[str, Input]:
    """Return the input that tells a stage shapes and classes of a data set."""
    return {"spec": Input(data, "")}


def start(weights: str | None) -> dict[str, Input]:
    """Return the input of the weights that training starts from, where there are some."""
    return {} if weights is None else {"start": Input(weights, "")}
