"""``gauntlet check``: tests of a module or a data set, or validation of the whole checkout."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.commands.data import check_data, is_dataset_path
from harness.commands.placeholders import unwritten
from harness.common.errors import UserError, UserErrors
from harness.common.keys import conformance_digest
from harness.common.text import suggest
from harness.config.benchmark import check_benchmarks
from harness.config.catalog import FOLDERS, Catalog, Module
from harness.config.dataset import check_datasets
from harness.config.environments import environment_of, problems
from harness.config.manifest_file import load_manifest
from harness.planning.attack_floor import KINDS
from harness.planning.budget_rules import budget_errors
from harness.planning.plan import Plan
from harness.results import record_tree
from harness.results.checks import Checks, ModuleCheck
from harness.workspace import Workspace

if TYPE_CHECKING:
    from harness.conformance.runner import CheckResult


def check(
    workspace: Workspace,
    path: Path | None,
    executor: str,
    console: Console,
    from_dir: Path | None = None,
) -> None:
    """Check one folder, one data set, or everything.

    Args:
        workspace: the checkout.
        path: a module's or benchmark's folder; a data set's name, file or folder; or ``None`` for
            everything.
        executor: where a module's code runs.
        console: shows the results.
        from_dir: folder that a data set is read from.

    Raises:
        UserErrors: all mistakes at once.
    """
    if path is None:
        check_checkout(workspace, console)
    elif (path / "benchmark.yaml").is_file() or path.name == "benchmark.yaml":
        warn_of_thin(workspace.plan(workspace.benchmark(str(path))), console)
        console.print(f"{path}: fine", highlight=False)
    elif is_dataset(workspace, path):
        check_data(workspace, str(path), from_dir, console)
    else:
        check_module(workspace, path, executor, console)


def is_dataset(workspace: Workspace, path: Path) -> bool:
    """Return whether an argument is a data set: the path of one, or its name."""
    if (path / "manifest.yaml").is_file():
        return False
    return is_dataset_path(path) or (len(path.parts) == 1 and str(path) in workspace.datasets)


def check_checkout(workspace: Workspace, console: Console) -> None:
    """Validate every manifest, benchmark, data set's file and record; run no module code."""
    catalog, errors = Catalog.load_with_errors(workspace.root)
    errors += [error for module in catalog.modules.values() for error in problems(module)]
    sets, broken_sets = check_datasets(workspace.root)
    errors += broken_sets
    readable = not errors
    errors += [error for manifest in sets for error in unwritten(manifest)]
    errors += [error for one in catalog.modules.values() for error in unwritten(one.manifest)]
    paths = sorted((workspace.root / "benchmarks").glob("*/benchmark.yaml"))
    benchmarks, wrong = check_benchmarks(paths)
    errors += wrong
    for benchmark in benchmarks:
        try:
            if readable:
                warn_of_thin(workspace.plan(benchmark), console)
            elif not broken_sets:  # modules that could not be read would count as missing
                errors += budget_errors(benchmark, workspace.datasets)
        except UserError as error:
            errors.append(error)
    found, broken = record_tree.load_all(workspace.local_records, workspace.published_records)
    errors += broken
    if errors:
        raise UserErrors(errors)
    console.print(
        f"{len(catalog.modules)} modules, {len(benchmarks)} benchmarks, {len(sets)} data sets, "
        f"{len(found)} records: fine. Module code was not run; gauntlet check FOLDER runs it.",
        soft_wrap=True,
        highlight=False,
    )


def thin_warnings(plan: Plan) -> Iterator[str]:
    """Yield a line for each matrix that lacks a kind of attack: place, what, and what to add."""
    for index, matrix in enumerate(plan.benchmark.matrices):
        # a matrix lacks the same attacks at every amount of training data
        if kinds := plan.thin.get(matrix.levels[0].name):
            where = plan.benchmark.where(("matrices", index, "attacks"))
            examples = " and ".join(KINDS[kind].example for kind in kinds)
            what = f"matrix {matrix.name} is thin: no {' and no '.join(kinds)}"
            yield str(UserError(where, what, f"add {examples}"))


def warn_of_thin(plan: Plan, console: Console) -> None:
    """Print the warnings of a plan, which are no errors."""
    for line in thin_warnings(plan):
        console.print(f"warning: {line}", soft_wrap=True, highlight=False, markup=False)


def summarize(module: Module, executor: str, results: Sequence[CheckResult]) -> ModuleCheck:
    """Return the results of a module's checks, for its file."""
    return ModuleCheck.model_validate(
        {
            "module": module.ref,
            "digest": module.digest,
            "harness": conformance_digest(),
            "executor": executor,
            "checks": len(results),
            "failures": [one.name for one in results if not one.ok],
            "untried": [one.name for one in results if not one.tried],
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )


def unknown_error(workspace: Workspace, path: Path) -> UserError:
    """Return the error for a path that is nothing to check."""
    if path.exists():
        what = "no manifest.yaml, benchmark.yaml or dataset.yaml is in it"
        fix = f"name a folder such as {FOLDERS['attack']}/pgd; of data, write a manifest first: "
        fix += f"gauntlet new dataset NAME --from {path}"
        return UserError(str(path), what, fix)
    if len(path.parts) > 1:
        beside = sorted(one.name for one in path.parent.glob("*/"))
        fix = suggest(path.name, beside, "beside it are") if beside else "check the path"
        return UserError(str(path), "there is no such folder", fix)
    known = [one.name for one in workspace.datasets]
    fix = suggest(path.name, known, f"name a folder such as {FOLDERS['attack']}/pgd, or one of")
    return UserError(str(path), "there is no such folder, and no data set of this name", fix)


def check_module(workspace: Workspace, folder: Path, executor: str, console: Console) -> None:
    """Run the conformance tests on a module's folder, which may lie anywhere; keep the result.

    Raises:
        UserError: it is no module folder, or a check failed.
        UserErrors: its requirements or its Dockerfile are wrong.
    """
    from harness.commands.lint import check_lint  # all are slow to import
    from harness.commands.run import (
        build_images,
        choose_executor,
        make_executor,
        print_ignored_requirements,
    )
    from harness.conformance.checks import run_checks

    if not (folder / "manifest.yaml").is_file():
        raise unknown_error(workspace, folder)
    folder = folder.resolve()
    module = Module(folder, load_manifest(folder / "manifest.yaml"))
    if errors := problems(module):
        raise UserErrors(errors)
    executor = choose_executor(executor, console)
    build_images(executor, [environment_of([module])], console)
    print_ignored_requirements(executor, [module], console)
    lint = check_lint(module)
    print_result(lint, console)
    results = []
    with closing(make_executor(executor)) as place:
        for one in run_checks(workspace, module, place, workspace.store()):
            print_result(one, console)
            results.append(one)
        Checks(workspace.checks).write(summarize(module, place.name, results))
    if failed := [one for one in (lint, *results) if not one.ok]:
        what = f"{len(failed)} of {1 + len(results)} checks failed"
        raise UserError(module.ref, what, "mend what the FAIL lines above name")
    for error in unwritten(module.manifest):
        console.print(f"warning: {error}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"{module.ref}: every check passed", highlight=False)


def print_result(result: CheckResult, console: Console) -> None:
    """Print the line of a check, which is the only place where a failure is described."""
    mark = "FAIL" if not result.ok else "ok  " if result.tried else "–   "
    text = f"{mark} {result.name}" + (f": {result.detail}" if result.detail else "")
    console.print(text, soft_wrap=True, highlight=False, markup=False)
