"""``gauntlet images``: list, build and prune container images."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from harness.config.environments import Environment, environment_of, find_conflict
from harness.executors.images import Built, Images
from harness.workspace import Workspace

TARGETS = ("cpu", "cuda")
"""Devices that images are built for."""


def images(
    workspace: Workspace, *, build: bool, prune: bool, device: str, console: Console
) -> None:
    """List Gauntlet's images on this engine, and those that the checkout's modules need.

    Args:
        workspace: the checkout.
        build: build missing images first.
        prune: remove images that no module needs.
        device: ``cpu`` or ``cuda``: the images to list as needed, and to build.
        console: shows the table.
    """
    engine = Images.connect()
    needed = find_needed(workspace, device)
    if build:
        build_missing(engine, needed, console)
    targets = {one.key: target for target in TARGETS for one in find_needed(workspace, target)}
    if prune:
        for gone in engine.prune(set(targets)):
            console.print(f"removed {gone.what} ({gone.id[:19]})", highlight=False, markup=False)
    there = {built.key: built for built in engine.listing()}
    table = Table("image", "needed by", Column("digest", no_wrap=True), "size", "built")
    for environment, modules in needed.items():
        built = there.pop(environment.key, None)
        who = ", ".join(modules) or "every module"
        table.add_row(str(environment), who, *describe(built))
    for built in there.values():
        target = targets.get(built.key)
        who = f"--device {target}" if target else "unused (remove with --prune)"
        table.add_row(built.what, who, *describe(built))
    console.print(table, markup=False)


def describe(built: Built | None) -> tuple[str, str, str]:
    """Describe an image: digest, size and date, or what builds it."""
    if built is None:
        return "–", "–", "not built (--build)"
    return built.id[:19], f"{built.size / 1e9:.2f} GB", built.created.replace("T", " ")


def find_needed(workspace: Workspace, device: str) -> dict[Environment, list[str]]:
    """Find each environment that a single module needs, with these modules; the base is one.

    Stages of several such modules need a further image, which ``run`` builds.
    """
    found: dict[Environment, list[str]] = {Environment(device): []}
    for module in workspace.catalog.modules.values():
        environment = environment_of([module], device)
        if environment != environment.base and find_conflict([module]) is None:
            found.setdefault(environment, []).append(module.ref)
    return found


def build_missing(
    engine: Images, environments: Iterable[Environment | None], console: Console
) -> None:
    """Build the missing images and show the progress; each takes minutes, once."""
    missing = engine.missing(environments)
    if missing:
        names = "; ".join(map(str, missing))
        console.print(f"building, once: {names}", soft_wrap=True, highlight=False, markup=False)
        with console.status("") as status:
            engine.build(missing, lambda line: status.update(Text(line)))  # text, not markup
