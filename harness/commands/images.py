"""``gauntlet images``: what containers are made from: list, build, prune."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from harness.config.environments import Environment, environment_of, find_conflict
from harness.executors.images import Built, Images
from harness.workspace import Workspace

TARGETS = ("cpu", "cuda")
"""What images are built for; those of either are kept."""


def images(
    workspace: Workspace, *, build: bool, prune: bool, device: str, console: Console
) -> None:
    """List the images that the checkout's modules need, and the others of ours.

    Args:
        workspace: the checkout. build: make what is missing first. prune: remove what no module
            needs. device: ``cpu`` or ``cuda``: for what to build.
        console: where to say it.
    """
    engine = Images.connect()
    needed = wanted(workspace, device)
    if build:
        ensure(engine, needed, console)
    targets = {one.key: target for target in TARGETS for one in wanted(workspace, target)}
    if prune:
        for gone in engine.prune(set(targets)):
            console.print(f"removed {gone.what} ({gone.id[:19]})", highlight=False, markup=False)
    there = {built.key: built for built in engine.listing()}
    table = Table("image", "needed by", Column("digest", no_wrap=True), "size", "built")
    for environment, modules in needed.items():
        built = there.pop(environment.key, None)
        who = ", ".join(modules) or "every module"
        table.add_row(str(environment), who, *row(built))
    for built in there.values():
        target = targets.get(built.key)
        who = f"--device {target}" if target else "nobody here: --prune"
        table.add_row(built.what, who, *row(built))
    console.print(table, markup=False)


def row(built: Built | None) -> tuple[str, str, str]:
    """An image's digest, size and age, in words."""
    if built is None:
        return "–", "–", "no: --build"
    return built.id[:19], f"{built.size / 1e9:.2f} GB", built.created.replace("T", " ")


def wanted(workspace: Workspace, device: str) -> dict[Environment, list[str]]:
    """Environment → modules that need it by themselves; the base is always needed.

    Stages of several such modules need a further image, which a run builds when it comes to it.
    """
    found: dict[Environment, list[str]] = {Environment(device): []}
    for module in workspace.catalog.modules.values():
        environment = environment_of([module], device)
        if environment != environment.base and find_conflict([module]) is None:
            found.setdefault(environment, []).append(module.ref)
    return found


def ensure(engine: Images, environments: Iterable[Environment | None], console: Console) -> None:
    """Build what is missing, and say so: it takes minutes, and happens once."""
    missing = engine.missing(environments)
    if missing:
        names = "; ".join(map(str, missing))
        console.print(f"building, once: {names}", soft_wrap=True, highlight=False, markup=False)
        with console.status("") as status:
            engine.build(missing, lambda line: status.update(Text(line)))  # text, not markup
