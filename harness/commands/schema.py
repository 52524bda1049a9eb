"""``gauntlet schema``: JSON Schemas of manifests, benchmarks and data sets, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from harness.common.files import write_json
from harness.config.benchmark import benchmark_schema
from harness.config.dataset import dataset_schema
from harness.config.manifest import manifest_schema

SCHEMAS = {
    "manifest": manifest_schema,
    "benchmark": benchmark_schema,
    "dataset": dataset_schema,
}
"""Word in a file's ``schema`` → its JSON Schema."""


def schema(out: Path | None, console: Console) -> None:
    """Print all schemas as one JSON object, or write one file each."""
    made = {name: make() for name, make in SCHEMAS.items()}
    if out is None:
        console.print_json(json.dumps(made), ensure_ascii=True)
        return
    for name, value in made.items():
        write_json(out / f"{name}.schema.json", value)
        console.print(f"{out / f'{name}.schema.json'}", soft_wrap=True, highlight=False)
