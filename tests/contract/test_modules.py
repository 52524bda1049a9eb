"""Every module folder gets the conformance tests; there is no list of them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands.new import new
from harness.common.keys import ROOT
from harness.config.catalog import FOLDERS, Catalog, Module
from harness.config.manifest_file import load_manifest
from harness.conformance.checks import run_checks
from harness.executors.local import LocalExecutor
from harness.storage.store import Store
from harness.workspace import Workspace

MODULES = sorted(Catalog.load(ROOT).modules.values(), key=lambda module: module.ref)


def assert_conforms(module: Module, workspace: Workspace, executor: LocalExecutor) -> None:
    checks = list(run_checks(workspace, module, executor, Store(workspace.home / "store")))
    assert [f"{c.name}: {c.detail}" for c in checks if not c.ok] == []
    assert len(checks) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.ref)
def test_module_conforms(module: Module, workspace: Workspace, executor: LocalExecutor) -> None:
    assert_conforms(module, workspace, executor)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_new_module_conforms(
    kind: str, workspace: Workspace, executor: LocalExecutor, tmp_path: Path
) -> None:
    """As ``gauntlet new`` writes it, before its author changes a line."""
    new(Workspace(tmp_path, tmp_path), kind, "fresh", Console(file=io.StringIO()))
    folder = tmp_path / FOLDERS[kind] / "fresh"
    module = Module(folder, load_manifest(folder / "manifest.yaml"))
    assert_conforms(module, workspace, executor)
