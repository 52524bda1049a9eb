"""From a planned stage to the job that an executor runs: paths, limits and modules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import compress
from pathlib import Path

from harness.common.files import load_array, read_json
from harness.config.budget import count_edits
from harness.config.catalog import Catalog, Module
from harness.config.environments import Environment, Environments
from harness.config.field_types import Limits
from harness.executors.base import StageJob
from harness.planning.attacks import SERVED
from harness.planning.graph import Stage
from harness.planning.recipe import ModuleRef, StageRecipe
from harness.runtime.worker.job_file import JobFile, ModuleEntry
from harness.storage.store import Store

NETWORK_ROLES = ("victim", "defense")
"""Modules whose code runs in the service."""

PROBE_NEEDS = ("gradients", "training_loss_gradient")
"""What the harness's own probe asks of a network; it has no manifest."""


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
    environments: Environments | None = None,
    run: str = "",
) -> StageJob:
    """Return the job of a stage that runs module code, with its service's where it has one."""
    environment, *others = environments_of(stage, environments or Environments(catalog))
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
    examples = len(load_array(Path(inputs["slice_x"]) / "x.npy")) if "slice_x" in inputs else 0
    options = recipe.options.to_json() | {
        "threads": recipe.threads,
        "budget": budget,
        "examples": examples,
        # which examples a probe takes: a key follows from the digests of all modules, so that no
        # author can know it before
        "choice": stage.key[:15],
    }
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
    return with_service(job, others[0]) if others else job


def environments_of(stage: Stage, environments: Environments) -> list[Environment | None]:
    """Return the environment of each process of a stage, the hook's first.

    An attack and the network that answers it have one each, so that neither installs anything in
    the other's, and their requirements cannot conflict.
    """
    refs = {role: one.module for role, one in stage.modules.items()}
    assert isinstance(stage.recipe, StageRecipe)
    if getattr(stage.recipe.options, "access", None) not in SERVED:
        return [environments.of(refs.values())]
    beside = attack_roles(stage.inputs)
    sides = ([role in beside for role in refs], [role in NETWORK_ROLES for role in refs])
    return [environments.of(compress(refs.values(), side)) for side in sides]


def attack_roles(inputs: Collection[str]) -> tuple[str, ...]:
    """Return the roles in an attack's process: the victim beside the network without a defence.

    A probe has no attack; no module's code runs in its process.
    """
    return ("attack", "victim") if "undefended" in inputs else ("attack",)


def with_service(job: StageJob, environment: Environment | None = None) -> StageJob:
    """Split the job of an attack or a probe: the defended network goes to a service.

    The service gets clean inputs only where it must draw goals or charge queries. The attack gets
    the victim's code only together with the network without a defence.

    Args:
        job: job of the whole stage, with the attack's environment.
        environment: environment of the network.
    """
    file, folder = job.file, job.folder / "network"
    options, modules = file.options, file.modules
    beside = {role: modules[role] for role in attack_roles(file.inputs) if role in modules}
    network = {role: one for role, one in modules.items() if role in NETWORK_ROLES}
    files = own_files(modules)
    hidden = {"weights", "spent", *(files - own_files(beside))}
    attack_side = replace(
        file,
        inputs={name: path for name, path in file.inputs.items() if name not in hidden},
        modules=beside,
    )
    reads_inputs = options["access"] == "oracle" or options.get("least_likely")
    names = ["weights", *(["slice_x"] if reads_inputs else [])]
    names += [name for name in file.inputs if name in {"spent", *own_files(network)}]
    needs = modules["attack"].needs if "attack" in modules else PROBE_NEEDS
    known = {name: value for name, value in options.items() if name != "choice"}
    network_side = replace(
        file,
        stage="network",
        inputs={name: file.inputs[name] for name in names},
        modules=network,
        options={**known, "needs": list(needs)},
        checkpoint=str(job.folder / "network-checkpoint"),
    )
    service = replace(
        job,
        key=f"{job.key}-network",
        folder=folder,
        file=network_side,
        environment=environment,
    )
    return replace(job, file=attack_side, service=service)


def own_files(modules: Mapping[str, ModuleEntry]) -> frozenset[str]:
    """Return the names of the inputs that hold files which modules take as parameters."""
    return frozenset[str]().union(*(one.inputs for one in modules.values()))


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
        files=manifest.files,
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
