"""Models of ``benchmark.yaml``: fixed matrices of victims, defences and attacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from harness.common.errors import UserError, UserErrors, split
from harness.config.budget import BUDGET_FIELDS, BudgetEntry
from harness.config.data_entry import LEVEL, DataEntry
from harness.config.dataset import DatasetManifest, load_dataset
from harness.config.ensembles import Ensemble, ensemble_problems
from harness.config.field_types import (
    Count,
    Limits,
    Line,
    Name,
    NonEmpty,
    NonEmptySet,
    Question,
    Task,
    ThreatModel,
)
from harness.config.file_model import Problem, Strict
from harness.config.keep import Keep
from harness.config.matrix_entries import (
    Entries,
    Goal,
    GoalField,
    Knowledge,
    KnowledgeField,
)
from harness.config.random_answers import RandomAnswers, Smoothing
from harness.config.strict_yaml import Document, Loc, nearest, quote
from harness.config.threat import THREATS
from harness.config.validation import name_problems, read_all, read_model


class EvalSubset(Strict):
    """Test examples that every cell of the matrix is judged on: the first by hash of their ids."""

    examples: Count = Field(
        description="Number of examples. A test set with fewer makes the cells `not_applicable`."
    )
    batch: Count = Field(
        description="Examples in one call of `perturb`, `trigger` or the network. It is part of "
        "the result: an attack may treat a batch as a whole."
    )
    rows: Line | None = Field(
        default=None,
        description="Path of a text file with a place in the test split on each line, from 0: the "
        "examples are the first of these, for example `./breakable.txt` for those that are known "
        "to be breakable. Where it is not there, the cells are `missing`. Default: of all.",
    )


class Matrix(Strict):
    """Victims × defences × attacks × budgets × seeds under one threat model on one task."""

    name: Name = Field(description="Name of the matrix, unique in the benchmark.")
    title: Line = Field(
        description="Name for people, unique in the benchmark; the heading of its page, for "
        "example `Handwritten digits, L∞ noise`."
    )
    question: Question = Field(
        description="What the matrix asks, as one sentence with a question mark; shown below the "
        "title."
    )
    out_of_scope: Line | None = Field(
        default=None,
        description="What its figures say nothing about, in a sentence or two; shown above the "
        "first number, after the benchmark's own. Default: none.",
    )
    threat_model: ThreatModel = Field(
        description="Threat model: what the attacker may do, is granted and is withheld "
        "(`docs/reference/threat_models.md`)."
    )
    task: Task | None = Field(
        default=None,
        description="Task of the matrix, for readers: the student's data set decides, and nothing "
        "depends on this key. Default: not said.",
    )
    data: dict[Literal["public", "attacker", "student"], DataEntry] = Field(
        description="Role → data set. `student` trains and tests the victim and is required; "
        "`public` trains the public network that the student starts from. Without it, weights "
        "that the victim starts from (`start: true` in its manifest) are the public network. "
        "`attacker` is the attacker's own in `supply-chain` (default: the public data)."
    )
    victims: Entries = Field(description="Victims, each a module name or an entry.")
    defenses: Entries = Field(
        description="Defences, each a module name or an entry. `none` is the undefended control. "
        "With `weights`, an entry is a released network of the victims: several of them are "
        "ranked in one table."
    )
    attacks: Entries = Field(
        description="Attacks, each a module name or an entry. `noop` and `random_noise` are "
        "controls."
    )
    budgets: NonEmpty[BudgetEntry] = Field(
        description="Budgets. Each is ranked by itself; all attacks get the same."
    )
    goal: GoalField = Field(
        default_factory=Goal,
        description="Goal of an evasion attack: `untargeted` (any wrong output), or "
        "`{targeted: next}`, `random`, `least_likely` or a class number. Default: `untargeted`.",
    )
    knowledge: KnowledgeField = Field(
        default_factory=Knowledge,
        description="Network that a poisoning or transfer attacker holds beside the data: `none`, "
        "`clean-victim` (the victim trained on the clean set), or `{surrogate: NAME}` (another "
        "victim). Default: `none`.",
    )
    poisons: Literal["train", "public"] = Field(
        default="train",
        description="Training set that `poison` edits: the student's (`train`) or the public "
        "network's (`public`). Default: `train`.",
    )
    ensembles: dict[Name, Ensemble] = Field(
        default_factory=dict,
        description="Name → labels of attacks, or `{hand_over: [NAME, …]}`. An example counts as "
        "robust only if all of them fail on it. Default: none.",
    )
    borrow: Literal["none", "undefended", "all"] = Field(
        default="all",
        description="Attacked inputs that a defence meets beside those made against itself, in "
        "`evasion`: those of every attack against the undefended control (`undefended`), and "
        "also, of every other defence, the strongest of its gradient attacks on each example "
        "(`all`). Unless `none`, it meets its own with each change shrunk, too. Default: `all`; "
        "other threat models borrow nothing "
        "(`docs/reference/threat_models.md`).",
    )
    eval_subset: EvalSubset = Field(
        description="Test examples that every cell is judged on, for example "
        "`{examples: 500, batch: 250}`."
    )
    clean: Count | None = Field(
        default=None,
        description="Clean examples for the hook `repair`, cut from the validation set. Default: "
        "the whole validation set.",
    )
    seeds: NonEmptySet[Annotated[int, Field(ge=0)]] = Field(
        default=(0,),
        description="Seeds. Each repeats training and attack; splits, evaluation subset and goals "
        "stay the same. Default: `[0]`.",
    )
    random: RandomAnswers = Field(
        default=RandomAnswers(),
        description="How often random networks are asked. Default: `{samples: 8, draws: 5}`.",
    )
    smoothing: Smoothing = Field(
        default=Smoothing(),
        description="How smoothed networks vote. Default: `{draws: 1000, selection: 100, alpha: "
        "0.001}`.",
    )
    keep: Keep = Field(
        default_factory=Keep,
        description="Artefacts that are kept for pictures. Default: `{examples: 8}`.",
    )

    @property
    def level_key(self) -> Loc | None:
        """Key path of the list of amounts of training data, or ``None``."""
        listed = self.data["student"].listed
        return None if listed is None else ("data", "student", listed)

    @property
    def levels(self) -> tuple[Matrix, ...]:
        """The matrices that are planned for this one, each with one amount of training data.

        Without a list of amounts it is this one. Else each is what it would be if it had been
        written out, under a name that says the amount (``digits@500``).
        """
        if self.level_key is None:
            return (self,)
        return tuple(
            self.model_copy(
                update={
                    "name": f"{self.name}{LEVEL}{entry.slug}",
                    "title": f"{self.title}, trained on {entry.amount or 'all examples'}",
                    "data": {**self.data, "student": entry},
                }
            )
            for entry in self.data["student"].levels
        )

    @property
    def needs_public(self) -> bool:
        """Whether there must be a public network: attacks hold it, edit its data or replace it."""
        threat = THREATS[self.threat_model]
        held = threat.access == "source" and self.knowledge.surrogate is None
        return threat.delivers or held or self.poisons == "public"

    def problems(self) -> Iterator[Problem]:
        """Check budgets, goal, roles and ensembles against the threat model and each other."""
        yield from self._budget_problems()
        yield from self._role_problems()
        yield from ensemble_problems(self.ensembles, self.attacks, self.threat_model, self.goal)
        if self.keep.attention and THREATS[self.threat_model].at_test is None:
            what = f"{self.threat_model} changes no test inputs to look at"
            yield Problem(("keep", "attention"), what, "remove it")
        if self.goal.targeted is not None and not BUDGET_FIELDS[self.threat_model].targeted:
            what = f"{self.threat_model} has no goal per example"
            yield Problem(("goal",), what, "remove it; a backdoor's target is in its budget")
        if "borrow" in self.model_fields_set and not THREATS[self.threat_model].borrows:
            what = f"{self.threat_model} borrows no inputs"
            yield Problem(("borrow",), what, "remove it")
        for name, entries in (("victims", self.victims), ("attacks", self.attacks)):
            for i, entry in enumerate(entries):
                if entry.adversary is not None:
                    what = "only a defence trains against an adversary"
                    yield Problem((name, i, "adversary"), what, "remove it")
        for i, entry in enumerate(self.defenses):
            if entry.weights is not None and ("public" in self.data or self.needs_public):
                what = "the student is trained from the public network, so no weights replace it"
                fix = "remove it" if self.needs_public else "remove it, or the public data"
                yield Problem(("defenses", i, "weights"), what, fix)

    def _budget_problems(self) -> Iterator[Problem]:
        for i, budget in enumerate(self.budgets):
            for loc, what, fix in budget.problems_under(self.threat_model):
                yield Problem(("budgets", i, *loc), what, fix)
            if budget.minimal and self.goal.targeted is not None:
                what = "the nearest wrong input beside a goal: any error counts there"
                yield Problem(("budgets", i, "minimal"), what, "write a radius, or another matrix")
            if budget.to_json() in [earlier.to_json() for earlier in self.budgets[:i]]:
                yield Problem(("budgets", i), f"duplicate entry {budget.label}", "keep one")

    def _role_problems(self) -> Iterator[Problem]:
        if "student" not in self.data:
            yield Problem(("data",), "no student's data", "add student: NAME")
        for role, entry in self.data.items():
            if role != "student" and entry.listed is not None:
                what = f"a list of amounts of {role} data: the student's alone may have one"
                yield Problem(("data", role, entry.listed), what, "write one amount")
        if "public" in self.data or not self.needs_public:
            return
        if self.poisons == "public":
            yield Problem(("data",), "a public network without public data", "add public: NAME")
        elif not any(victim.weights for victim in self.victims):
            # whether training starts from them is in the victims' manifests (planning.resolve)
            surrogate = THREATS[self.threat_model].access == "source"
            fix = "add public: NAME to data, or weights: NAME to each victim"
            fix += ", or knowledge: {surrogate: NAME}" if surrogate else ""
            yield Problem(("data",), "no public network: no public data, and no weights", fix)
        elif THREATS[self.threat_model].delivers and "attacker" not in self.data:
            what = "no attacker's data, and no public ones in their place"
            yield Problem(("data",), what, "add attacker: NAME")


class Benchmark(Strict):
    """Benchmark: a named list of matrices."""

    schema_: Literal["benchmark/1"] = Field(
        alias="schema", description="Form of this file and its version; always `benchmark/1`."
    )
    name: Name = Field(description="Name of the benchmark, equal to its folder's.")
    title: Line = Field(description="Name for people; the heading of its part of the overview.")
    question: Question = Field(
        description="What the benchmark asks, as one sentence with a question mark."
    )
    out_of_scope: Line | None = Field(
        default=None,
        description="What its figures say nothing about, in a sentence or two; shown on every "
        "page of its matrices, above the first number. Default: none.",
    )
    summary: str | None = Field(
        default=None,
        description="One sentence on the benchmark; shown by `gauntlet list` and on pages. "
        "Default: none.",
    )
    ceiling: Limits = Field(
        description="Largest time and memory of any stage. A module's own `limits` count below it."
    )
    matrices: NonEmpty[Matrix] = Field(description="Matrices, each with one threat model and task.")

    _own_data: tuple[DatasetManifest, ...] = PrivateAttr(default=())

    @property
    def own_data(self) -> tuple[DatasetManifest, ...]:
        """Data sets that it names by path."""
        return self._own_data

    @property
    def folder(self) -> Path | None:
        """Folder of its file, or ``None`` where it was not read from one."""
        return None if self._document is None else self._document.path.parent

    @property
    def planned(self) -> list[Matrix]:
        """The matrices that are planned: in place of one with a list of amounts, its levels."""
        return [level for matrix in self.matrices for level in matrix.levels]

    def problems(self) -> Iterator[Problem]:
        """Check that names and titles of matrices are unique."""
        for key in ("name", "title"):
            found = [getattr(matrix, key) for matrix in self.matrices]
            for i, text in enumerate(found):
                if text in found[:i]:
                    what = f"duplicate {key} {quote(text)}"
                    yield Problem(("matrices", i, key), what, "rename one")


def load_benchmark(path_or_name: str | Path, root: Path = Path()) -> Benchmark:
    """Read a benchmark by its name below ``root``, or by the path of its file or folder.

    Raises:
        UserErrors: everything wrong with it.
        UserError: there is none.
    """
    return _read(find_benchmark(path_or_name, root))


def check_benchmarks(paths: Iterable[Path]) -> tuple[list[Benchmark], list[UserError]]:
    """Read many files or folders; return the good benchmarks, and every error of the others."""
    return read_all(lambda path: _read(path / "benchmark.yaml" if path.is_dir() else path), paths)


def benchmark_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``benchmark.yaml`` for editors, with short forms."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | (
        Benchmark.model_json_schema()
    )


def _folder_problems(document: Document) -> Iterator[Problem]:
    folder = document.path.resolve().parent
    if folder.parent.name == "benchmarks":
        yield from name_problems(document, folder.name)


def find_benchmark(path_or_name: str | Path, root: Path = Path()) -> Path:
    """Return the file that a name or path stands for.

    Raises:
        UserError: there is none.
    """
    named = root / "benchmarks" / path_or_name / "benchmark.yaml"
    given = Path(path_or_name)
    for path in (named, given / "benchmark.yaml", given):
        if path.is_file():
            return path
    known = sorted(file.parent.name for file in root.glob("benchmarks/*/benchmark.yaml"))
    raise UserError(str(path_or_name), "no such benchmark", nearest(given.name, known))


def _read(path: Path) -> Benchmark:
    return _with_own_data(read_model(Benchmark, path, "benchmark", _folder_problems), path)


def _with_own_data(benchmark: Benchmark, path: Path) -> Benchmark:
    """Return a benchmark whose data sets all have names, with those that it names by path.

    Raises:
        UserErrors: everything wrong with the files of data sets.
    """
    own: dict[Path, DatasetManifest] = {}
    errors: list[UserError] = []
    matrices = list(benchmark.matrices)
    for index, matrix in enumerate(matrices):
        data = dict(matrix.data)
        for role, entry in data.items():
            if not entry.name.endswith(".yaml"):
                continue
            file = (path.parent / entry.name).resolve()
            try:
                own[file] = own.get(file) or load_dataset(file)
            except UserError as error:
                errors += split(error)
                continue
            data[role] = entry.model_copy(update={"name": own[file].name})
        matrices[index] = matrix.model_copy(update={"data": data})
    if errors:
        raise UserErrors(errors)
    named = benchmark.model_copy(update={"matrices": tuple(matrices)})
    named._own_data = tuple(own.values())
    return named
