"""How far it carries: a plan of 100,000 cells, an unchanged suite, a site of 20,000 records."""

import resource
import subprocess
import sys
import time

from harness.common.keys import ROOT
from harness.config.benchmark import Benchmark
from harness.planning.plan import make_plan
from harness.planning.timings import Timings
from harness.report import frame as frames
from harness.report.site import build
from harness.workspace import Workspace
from tests.support import synthetic

SEEDS = 100


def large() -> Benchmark:
    """100,000 cells: 20 defences, 25 attacks, 2 budgets, 100 seeds."""
    defenses = [
        {"name": "jpeg", "params": {"quality": 10 + k}, "as": f"jpeg-{k}"} for k in range(20)
    ]
    attacks = [{"name": "pgd", "params": {"steps": 1 + k}, "as": f"pgd-{k}"} for k in range(25)]
    matrix = {
        "name": "large",
        "title": "Large",
        "question": "Is it planned in time?",
        "threat_model": "evasion",
        "data": {"student": "digits"},
        "victims": ["small-cnn"],
        "defenses": defenses,
        "attacks": attacks,
        "budgets": [{"norm": "linf", "eps": 0.1}, {"norm": "linf", "eps": 0.2}],
        "eval_subset": {"examples": 100, "batch": 100},
        "seeds": list(range(SEEDS)),
    }
    return Benchmark.model_validate(
        {
            "schema": "benchmark/1",
            "name": "large",
            "title": "Large",
            "question": "Is it planned in time?",
            "ceiling": {"minutes": 1.0, "memory_gb": 1.0},
            "matrices": [matrix],
        }
    )


def test_plan_of_100_000_cells(benchmark, tmp_path) -> None:
    workspace, wanted = Workspace(ROOT, ROOT / ".gauntlet"), large()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = benchmark.pedantic(
        lambda: make_plan(wanted, workspace.catalog, workspace.datasets), rounds=1
    )
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(not one.info.made_against for one in plan.cells.values()) == 100_000
    benchmark.extra_info["cells on borrowed inputs"] = len(plan.cells) - 100_000
    begun = time.perf_counter()
    expected = Timings(tmp_path, plan).forecast(list(plan.graph.stages.values()))
    took = time.perf_counter() - begun
    assert expected.unknown == len(plan.graph.stages)
    assert took < 10  # a third of the plan's own time
    benchmark.extra_info["expected time of its stages, seconds"] = round(took, 1)
    benchmark.extra_info["stages"] = len(plan.graph.stages)
    benchmark.extra_info["peak MiB of the process, before and after"] = [before >> 10, after >> 10]


def test_site_of_20_000_records(benchmark, tmp_path) -> None:
    frame = synthetic.frame(synthetic.scale())
    page = benchmark.pedantic(lambda: build(frame, tmp_path / "site"), rounds=1)
    assert page.is_file()
    benchmark.extra_info["records"] = int(frame.record.notna().sum())
    benchmark.extra_info["pages"] = sum(1 for _ in (tmp_path / "site").rglob("*.html"))


def test_frame_of_an_unchanged_plan(benchmark) -> None:
    """What ``report`` does before it draws: the plan of ``quick`` joined with nothing."""
    workspace = Workspace(ROOT, ROOT / ".gauntlet")
    plan = workspace.plan(workspace.benchmark("quick"))
    rows = benchmark(lambda: frames.build([plan], []))
    assert len(rows) == len(plan.cells)


def test_second_run_of_an_unchanged_suite(benchmark, tmp_path) -> None:
    """One matrix of ``quick``, then again with nothing to do; process start included."""
    command = [
        sys.executable, "-m", "harness.cli", "run", str(ROOT / "benchmarks" / "quick"),
        "--executor", "local", "--only", "matrix=digits-transfer",
    ]  # fmt: skip
    variables = {"GAUNTLET_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    subprocess.run(command, env=variables, check=True, capture_output=True)
    benchmark.extra_info["first run, seconds"] = round(time.perf_counter() - begun, 1)
    done = benchmark.pedantic(
        lambda: subprocess.run(command, env=variables, check=True, capture_output=True, text=True),
        rounds=3,
    )
    assert ": 0 stages run" in done.stdout
