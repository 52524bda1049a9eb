"""Turns a planned stage into the job that an executor runs: paths, limits, resolved modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.common.files import load_array, read_json
from harness.config.budget import count_edits
from harness.config.catalog import Catalog, Module
from harness.config.environments import Environment
from harness.config.field_types import Limits
from harness.config.manifest import Manifest
from harness.executors.base import StageJob
from harness.planning.graph import Stage
from harness.planning.recipe import ModuleRef, StageRecipe
from harness.storage.store import Store

GIB = 1 << 30

ORACLE_SIDE = ("weights",)
"""Inputs that stay with the oracle; the attack's side never sees them."""

ORACLE_ROLES = ("victim", "defense")
"""Modules that answer inside the oracle."""


def make_job(
    stage: Stage,
    *,
    catalog: Catalog,
    store: Store,
    work: Path,
    checkpoints: Path,
    ceiling: Limits,
    device: str,
    gpu: str | None = None,
    environment: Environment | None = None,
    run: str = "",
) -> StageJob:
    """The job of a stage that runs module code, with its oracle's where it has one."""
    inputs = {
        name: str(store.part(one.key, one.part).resolve())
        for name, one in stage.inputs.items()
        if name != "spec"
    }
    modules = {
        role: resolved(_module(catalog, ref.module), ref) for role, ref in stage.modules.items()
    }
    seconds, memory_gb = limits(stage, catalog, ceiling)
    recipe = stage.recipe
    assert isinstance(recipe, StageRecipe)
    budget = dict(recipe.budget)
    if "train" in inputs:
        budget = count_edits(budget, len(load_array(Path(inputs["train"]) / "ids.npy")))
    job: dict[str, Any] = {
        "stage": stage.kind,
        "spec": read_json(store.part(stage.inputs["spec"].key, "spec.json")),
        "device": device,
        "seed_root": [
            recipe.seed,
            stage.kind,
            *sorted(m["name"] for m in modules.values()),
        ],
        "deadline": seconds,
        "modules": modules,
        "inputs": inputs,
        "options": recipe.options.to_json() | {"threads": recipe.threads, "budget": budget},
        "checkpoint": str((checkpoints / stage.key).resolve()),
    }
    folder = work / stage.key[:32]
    whole = StageJob(
        stage.key, folder, job, seconds, memory_gb, environment=environment, gpu=gpu, run=run
    )
    if getattr(recipe.options, "access", None) != "oracle":
        return whole
    attack_side = job | {
        "inputs": {k: v for k, v in inputs.items() if k not in ORACLE_SIDE},
        "modules": {k: v for k, v in modules.items() if k not in ORACLE_ROLES},
    }
    oracle_side = job | {
        "stage": "oracle",
        "inputs": {k: inputs[k] for k in (*ORACLE_SIDE, "slice_x")},
        "modules": {k: v for k, v in modules.items() if k in ORACLE_ROLES},
        "checkpoint": str(folder / "oracle-checkpoint"),
    }
    service = replace(whole, key=f"{stage.key}-oracle", folder=folder / "oracle", job=oracle_side)
    return replace(whole, job=attack_side, service=service)


def resolved(module: Module, ref: ModuleRef) -> dict[str, Any]:
    """What the worker needs to construct a module; never its whole manifest."""
    manifest = module.manifest
    entry = {
        "name": manifest.name,
        "folder": str(module.folder.resolve()),
        "entry": manifest.entry,
        "kind": manifest.kind,
        "hooks": list(manifest.hooks),
        "params": ref.params,
        "needs": list(manifest.needs),
    }
    return entry if ref.budget is None else entry | {"budget": ref.budget}


def limits(stage: Stage, catalog: Catalog, ceiling: Limits) -> tuple[float, float]:
    """Seconds and GiB: the largest wish of the stage's modules, under the benchmark's ceiling."""
    wishes = [
        manifest.limits
        for manifest in (manifest_of(catalog, ref.module) for ref in stage.modules.values())
        if manifest.limits is not None
    ]
    minutes = max((w.minutes for w in wishes), default=ceiling.minutes)
    memory = max((w.memory_gb for w in wishes), default=ceiling.memory_gb)
    return 60 * min(minutes, ceiling.minutes), min(memory, ceiling.memory_gb)


def manifest_of(catalog: Catalog, ref: str) -> Manifest:
    """The manifest behind ``attacks/pgd``."""
    return _module(catalog, ref).manifest


def _module(catalog: Catalog, ref: str) -> Module:
    folder, _, name = ref.partition("/")
    kind = {"attacks": "attack", "defenses": "defense", "victims": "victim"}[folder]
    return catalog.modules[kind, name]
