"""Every module folder gets the conformance tests; there is no list of them."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from harness.common.keys import ROOT
from harness.config.catalog import Catalog, Module
from harness.conformance.checks import run_checks
from harness.executors.local import LocalExecutor
from harness.storage.store import Store
from harness.workspace import Workspace

MODULES = sorted(Catalog.load(ROOT).modules.values(), key=lambda module: module.ref)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One store for all workers of the session: a reference victim is trained once."""
    shared = tmp_path_factory.getbasetemp()
    return Workspace(
        ROOT, (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "conformance"
    )


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor()) as one:
        yield one


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.ref)
def test_module_conforms(module: Module, workspace: Workspace, executor: LocalExecutor) -> None:
    checks = list(run_checks(workspace, module, executor, Store(workspace.home / "store")))
    assert [f"{c.name}: {c.detail}" for c in checks if not c.ok] == []
    assert len(checks) >= 3
