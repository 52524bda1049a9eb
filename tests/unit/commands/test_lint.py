"""What a newcomer writes first passes the lint that CI runs, and ``check`` runs it too."""

import io
import re
import shutil
from unittest.mock import patch

import pytest
from rich.console import Console

from harness.commands.check import check
from harness.commands.lint import check_lint
from harness.commands.new import new
from harness.common.errors import UserError
from harness.common.keys import ROOT
from harness.config.catalog import FOLDERS, Module
from harness.config.manifest_file import load_manifest
from harness.conformance.runner import CheckResult
from harness.workspace import Workspace

SAMPLE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def scaffold(root, kind: str = "attack") -> Module:
    new(Workspace(root, root), kind, "fresh", Console(file=io.StringIO()))
    folder = root / FOLDERS[kind] / "fresh"
    return Module(folder, load_manifest(folder / "manifest.yaml"))


def test_the_makefile_runs_the_same_commands():
    """``check`` runs both; a third in ``make lint`` would have to follow."""
    lint = (ROOT / "Makefile").read_text("utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert re.findall(r"\$\(BIN\)/(.+)", lint) == ["ruff check", "ruff format --check", "mypy"]
    assert "make lint" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_new_folder_passes(kind, tmp_path):
    assert check_lint(scaffold(tmp_path, kind)) == CheckResult("lint", True)


def test_the_sample_passes(tmp_path):
    module = scaffold(tmp_path)
    (sample,) = SAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    (module.folder / "attack.py").write_text(sample, "utf-8")
    assert check_lint(module) == CheckResult("lint", True)


def test_a_folder_is_linted_as_in_the_checkout_wherever_it_lies(tmp_path):
    """Rules depend on the path, and the order of imports on what is first party."""
    module = scaffold(tmp_path / "elsewhere")
    shutil.copy(ROOT / "attacks" / "pgd" / "attack.py", module.folder / "attack.py")
    assert check_lint(module).ok
    source = "from harness.runtime.gradients import ball\nimport torch\nx=1\n"
    (module.folder / "attack.py").write_text(source, "utf-8")
    found = check_lint(module)
    assert not found.ok
    lines = found.detail.split("\n  ")[1:]
    codes = [line.split(" ")[1] for line in lines]
    assert codes[:2] == ["D100", "I001"]
    assert lines[-1].startswith("attacks/fresh/attack.py: not in ruff's format")


def test_what_cannot_be_parsed_is_one_finding(tmp_path):
    module = scaffold(tmp_path)
    (module.folder / "attack.py").write_text("x = (\n", "utf-8")
    assert check_lint(module).detail.count("\n") == 1


def test_without_ruff_one_line_says_so(tmp_path):
    module = scaffold(tmp_path)
    with patch("importlib.util.find_spec", return_value=None):
        found = check_lint(module)
    assert (found.ok, found.tried) == (True, False)
    assert found.detail.startswith("ruff is not installed")


def test_check_prints_each_failure_once(tmp_path):
    module = scaffold(tmp_path)
    (module.folder / "attack.py").write_text("x=1\n", "utf-8")
    failed = [CheckResult("runs a", True), CheckResult("one row", False, "attack fresh: no")]
    shown = io.StringIO()
    with (
        patch("harness.conformance.checks.run_checks", lambda *_: iter(failed)),
        pytest.raises(UserError) as caught,
    ):
        check(Workspace(tmp_path, tmp_path), module.folder, "local", Console(file=shown, width=200))
    text = f"{shown.getvalue()}{caught.value}"
    assert text.count("attack fresh: no") == text.count("D100") == 1
    assert "attacks/fresh: 2 of 3 checks failed" in str(caught.value)
