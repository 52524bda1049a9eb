"""Throw-away checkouts for tests: modules and benchmarks as text, a victim that trains at once.

``Checkout(tmp_path)`` writes the modules below; a test adds its own with ``module`` and plans or
runs matrices in this process, or the whole command line in another one.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from rich.console import Console

from harness.commands import run as run_command
from harness.config.catalog import FOLDERS
from harness.planning.plan import Cell, Only, Plan
from harness.results import record_tree, records
from harness.results.records import Record
from harness.running.tally import Tally
from harness.workspace import Workspace
from tests.support.module_sources import ALL_THREATS, ANY_LIMIT, MODULES, Json


def matrix(name: str = "m", **changes: Any) -> Json:
    """A matrix of one cell on digits, which borrows nothing; any key may be given otherwise."""
    found = {
        "name": name,
        "title": f"Matrix {name}",
        "question": "Does it run?",
        "threat_model": "evasion",
        "data": {"student": "digits"},
        "victims": ["tiny"],
        "defenses": ["none"],
        "attacks": ["noop"],
        "budgets": [{"norm": "linf", "eps": 0.1}],
        "eval_subset": {"examples": 40, "batch": 20},
    } | changes
    if found["threat_model"] == "evasion":
        found.setdefault("borrow", "none")
    return found


POISONING: Json = {
    "threat_model": "poisoning",
    "attacks": ["flip"],
    "budgets": [{"edits": 0.2, "labels": True}],
}
BACKDOOR: Json = {
    "threat_model": "backdoor",
    "attacks": ["patch"],
    "budgets": [{"edits": 0.1, "labels": True, "features": True, "patch": 2, "target": 3}],
}
SUPPLY_CHAIN: Json = {
    "threat_model": "supply-chain",
    "data": {"public": "digits-0-4", "student": "digits-5-9"},
    "attacks": ["teacher"],
    "budgets": [{"patch": 2, "target": 1}],
}
TRANSFER: Json = {"threat_model": "evasion-transfer", "knowledge": {"surrogate": "tiny"}}
QUERY: Json = {
    "threat_model": "evasion-query",
    "attacks": ["ask"],
    "budgets": [{"norm": "linf", "eps": 0.1, "queries": 3}],
}
"""What makes ``matrix(**…)`` one of the other threat models."""


class Done(NamedTuple):
    """A run in this process: what it did, and what it said."""

    tally: Tally
    said: str


@dataclass
class Checkout:
    """A folder with modules and benchmarks, and everything that a test does with it."""

    root: Path
    temporary: Path | None = None  # where runs in other processes put sockets and the like

    def __post_init__(self) -> None:
        for kind, name, code, fields in MODULES:
            self.module(kind, name, code, **fields)
        (self.root / "benchmarks").mkdir(parents=True, exist_ok=True)

    def module(self, kind: str, name: str, code: str, **fields: Any) -> Path:
        """Write a module's folder; its class is ``Attack`` or ``Defense`` unless told otherwise."""
        folder = self.root / FOLDERS[kind] / name
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "schema": "manifest/1",
            "kind": kind,
            "name": name,
            "summary": f"the {name} of a test",
            "license": "MIT",
            "tasks": ["classification"],
            "entry": f"{kind}.py:{kind.capitalize()}",
        }
        if kind != "victim":
            manifest |= {"threat_models": ["evasion"] if kind == "attack" else ALL_THREATS}
            manifest |= {"hooks": ["perturb"]}
        if kind == "attack":
            manifest |= {"requires": [ANY_LIMIT]}
        (folder / f"{kind}.py").write_text(code, encoding="utf-8")
        (folder / "manifest.yaml").write_text(json.dumps(manifest | fields, indent=1), "utf-8")
        return folder

    def benchmark(self, *matrices: Json, name: str = "b", minutes: float = 1.0) -> str:
        """Write a benchmark and return its name."""
        text = {
            "schema": "benchmark/1",
            "name": name,
            "title": f"Benchmark {name}",
            "question": "Does it run?",
            "ceiling": {"minutes": minutes, "memory_gb": 4},
            "matrices": list(matrices) or [matrix()],
        }
        folder = self.root / "benchmarks" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmark.yaml").write_text(json.dumps(text, indent=1), "utf-8")
        return name

    @property
    def home(self) -> Path:
        return self.root / ".gauntlet"

    def workspace(self) -> Workspace:
        """A fresh view: nothing is remembered of earlier ones."""
        return Workspace(self.root, self.home)

    def plan(self, *matrices: Json, only: Only | None = None) -> Plan:
        """Plan these matrices (or the benchmark ``b`` as it lies there)."""
        if matrices:
            self.benchmark(*matrices)
        workspace = self.workspace()
        return workspace.plan(workspace.benchmark("b"), only)

    def run(self, name: str = "b", **options: Any) -> Done:
        """``gauntlet run`` in this process."""
        said = io.StringIO()
        console = Console(file=said, width=200)
        with patch.dict(os.environ, self.variables):
            tally = run_command.run(
                self.workspace(),
                name,
                console=console,
                **{"jobs": 2, "executor": "local"} | options,
            )
        return Done(tally, said.getvalue())

    def command(self, *arguments: str) -> list[str]:
        if arguments[:1] in (("run",), ("plan",)) and "--executor" not in arguments:
            arguments = (*arguments, "--executor", "local")
        return [sys.executable, "-m", "harness.cli", *arguments]

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a run: every process below it can be told by the path in it."""
        kept = {k: v for k, v in os.environ.items() if k != "GAUNTLET_HOME"}
        if self.temporary is not None:
            kept["TMPDIR"] = str(self.temporary)
        return kept | {"OMP_NUM_THREADS": "1", "PATH": f"{os.environ['PATH']}:{self.root}"}

    def processes(self) -> list[int]:
        """Living processes of this checkout's runs, except this one."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                here = str(self.root).encode() in (entry / "environ").read_bytes()
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if here and not dead and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    def leftovers(self) -> list[str]:
        """What a run should have taken away with it: work in progress, half entries."""
        folders = [self.home / "work", self.home / "store" / "aside", self.home / "checkpoints"]
        left = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        left += self.temporary.iterdir() if self.temporary is not None else ()
        return [str(path) for path in left if path.name != "gate"]

    def gauntlet(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, and do not wait."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def records(self) -> dict[str, Record]:
        """Cell id → its newest record; a broken one fails the test."""
        found, errors = record_tree.load_all(self.home / "records")
        assert not errors, errors
        return {r.id: r for r in records.newest_by_key(found).values()}

    def results(self) -> dict[str, str]:
        """Cell id → what must be equal in equal runs."""
        return {cell: record.result for cell, record in self.records().items()}


def cell(plan: Plan, **labels: object) -> Cell:
    """The one cell with these labels."""
    found = [
        c for c in plan.cells.values() if all(getattr(c.info, k) == v for k, v in labels.items())
    ]
    assert len(found) == 1, [c.id for c in found]
    return found[0]


def kinds(plan: Plan) -> dict[str, int]:
    """How many stages of each kind a plan has."""
    counts: dict[str, int] = {}
    for stage in plan.graph.stages.values():
        counts[stage.kind] = counts.get(stage.kind, 0) + 1
    return counts
