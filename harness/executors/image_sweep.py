"""Removal of what image builds left on an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import docker
from harness.executors.owners import is_dead, owner

BUILD = "gauntlet.build"
"""Label of everything that a build makes: the harness that builds, or ``""`` on finished images."""
WORKSHOP = "gauntlet-build"
"""Name of images that no container runs; they go when the build ends."""


def sweep(engine: docker.DockerClient, *, own: bool = False) -> None:
    """Remove what builds left: containers, networks, workshops and layers without a name.

    Args:
        engine: client of the engine.
        own: what this harness made, too, as its build has ended; else of dead harnesses only.
    """

    def left(labels: Mapping[str, str] | None) -> bool:
        name = (labels or {}).get(BUILD, "")
        return bool(name) and (is_dead(name) or (own and name == owner()))

    for container in engine.containers.list(
        all=True, filters={"label": BUILD}, ignore_removed=True
    ):
        if left(container.labels):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
    for network in engine.networks.list(filters={"label": BUILD}):
        if left(network.attrs.get("Labels")):
            with contextlib.suppress(docker.errors.APIError):
                network.remove()
    images = [one for one in engine.images.list(all=True, filters={"label": BUILD})]
    for image in sorted(images, key=lambda one: str(one.attrs["Created"]), reverse=True):
        named = [tag for tag in image.tags if not tag.startswith(f"{WORKSHOP}:")]
        if left(image.labels) and not named:
            with contextlib.suppress(docker.errors.APIError):  # a named image lies on it
                for tag in image.tags:
                    engine.images.remove(tag)
                if not image.tags:
                    engine.images.remove(str(image.id))
