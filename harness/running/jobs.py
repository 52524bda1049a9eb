"""From a planned stage to the job that an executor runs: paths, limits and modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.common.files import load_array, read_json
from harness.config.budget import count_edits
from harness.config.catalog import Catalog, Module
from harness.config.environments import Environment
from harness.config.field_types import Limits
from harness.executors.base import StageJob
from harness.planning.graph import Stage
from harness.planning.recipe import ModuleRef, StageRecipe
from harness.runtime.worker.job_file import JobFile, ModuleEntry
from harness.storage.store import Store

SERVED = ("victim", "oracle")
"""Accesses of an attack whose network answers in a service of its own."""

NETWORK_ROLES = ("victim", "defense")
"""Modules whose code runs in the service."""


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
    """Return the job of a stage that runs module code, with its service's where it has one."""
    inputs = {
        name: str(store.part(one.key, one.part).resolve())
        for name, one in stage.inputs.items()
        if name != "spec"
    }
    modules = {
        role: module_entry(_module(catalog, ref.module), ref) for role, ref in stage.modules.items()
    }
    seconds, memory_gb = limits(stage, catalog, ceiling)
    recipe = stage.recipe
    assert isinstance(recipe, StageRecipe)
    budget = dict(recipe.budget)
    if "train" in inputs:
        budget = count_edits(budget, len(load_array(Path(inputs["train"]) / "ids.npy")))
    options = recipe.options.to_json() | {"threads": recipe.threads, "budget": budget}
    file = JobFile(
        stage=stage.kind,
        spec=read_json(store.part(stage.inputs["spec"].key, "spec.json")),
        device=device,
        seed_root=(recipe.seed, stage.kind, *sorted(m.name for m in modules.values())),
        deadline=seconds,
        modules=modules,
        inputs=inputs,
        options=options,
        checkpoint=str((checkpoints / stage.key).resolve()),
    )
    folder = work / stage.key[:32]
    job = StageJob(
        stage.key, folder, file, seconds, memory_gb, environment=environment, gpu=gpu, run=run
    )
    return with_service(job) if getattr(recipe.options, "access", None) in SERVED else job


def with_service(job: StageJob) -> StageJob:
    """Split an attack's job: the defended network goes to a service, the rest to the attack.

    The service gets clean inputs only where it must draw goals or charge queries. The attack gets
    the victim's code only together with the network without a defence.
    """
    file, folder = job.file, job.folder / "network"
    options, modules = file.options, file.modules
    beside = ("victim",) if "undefended" in file.inputs else ()
    attack_side = replace(
        file,
        inputs={name: path for name, path in file.inputs.items() if name != "weights"},
        modules={
            role: one
            for role, one in modules.items()
            if role not in NETWORK_ROLES or role in beside
        },
    )
    reads_inputs = options["access"] == "oracle" or options.get("least_likely")
    slice_x = file.inputs.get("slice_x")  # ``learn`` has none
    examples = 0 if slice_x is None else len(load_array(Path(slice_x) / "x.npy"))
    names = ("weights", "slice_x") if reads_inputs else ("weights",)
    network_side = replace(
        file,
        stage="network",
        inputs={name: file.inputs[name] for name in names},
        modules={role: one for role, one in modules.items() if role in NETWORK_ROLES},
        options={**options, "needs": list(modules["attack"].needs), "examples": examples},
        checkpoint=str(job.folder / "network-checkpoint"),
    )
    service = replace(job, key=f"{job.key}-network", folder=folder, file=network_side)
    return replace(job, file=attack_side, service=service)


def module_entry(module: Module, ref: ModuleRef) -> ModuleEntry:
    """Return what the worker needs to construct a module; never its whole manifest."""
    manifest = module.manifest
    return ModuleEntry(
        name=manifest.name,
        folder=str(module.folder.resolve()),
        entry=manifest.entry,
        kind=manifest.kind,
        hooks=tuple(manifest.hooks),
        params=ref.params,
        needs=tuple(manifest.needs),
        budget=ref.budget,
    )


def limits(stage: Stage, catalog: Catalog, ceiling: Limits) -> tuple[float, float]:
    """Return seconds and GiB: the largest request of the stage's modules, under the ceiling."""
    requests = [
        wanted
        for ref in stage.modules.values()
        if (wanted := _module(catalog, ref.module).manifest.limits) is not None
    ]
    minutes = max((one.minutes for one in requests), default=ceiling.minutes)
    memory = max((one.memory_gb for one in requests), default=ceiling.memory_gb)
    return 60 * min(minutes, ceiling.minutes), min(memory, ceiling.memory_gb)


def _module(catalog: Catalog, ref: str) -> Module:
    folder, _, name = ref.partition("/")
    kind = {"attacks": "attack", "defenses": "defense", "victims": "victim"}[folder]
    return catalog.modules[kind, name]
