"""Networks of image builds: none leads to the host's loopback, a module's to package indexes only.

A module's build is in a network without a way out, beside a proxy that knows the indexes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from harness.common.errors import UserError
from harness.common.text import one_line
from harness.executors import index_proxy
from harness.executors.image_sweep import BUILD, WORKSHOP
from harness.executors.owners import owner

Engine = docker.DockerClient

MORE_INDEXES = "GAUNTLET_PACKAGE_INDEXES"
"""Variable with hosts, joined by commas, beside those of the base image's pip and apt: mirrors."""
TO_PROXY = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
PROXIES = (*TO_PROXY, "no_proxy", "NO_PROXY")
"""Variables that name a proxy, and those with what needs none."""
NAME = "package-indexes"
"""Name of the proxy in a build's network."""
READY_SECONDS = 60.0
OPTIONS: Mapping[str, Any] = {
    "user": "65532:65532",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "mem_limit": 256 << 20,
    "pids_limit": 256,
    "working_dir": "/",
}
"""Options of the proxy's container."""


@dataclass(frozen=True)
class Network:
    """Network of a build.

    Attributes:
        name: its name on the engine.
        proxies: variables that name the way out.
    """

    name: str
    proxies: Mapping[str, str] = field(default_factory=dict)


def own_proxies() -> dict[str, str]:
    """Return the variables that name this machine's own proxies."""
    return {name: os.environ[name] for name in PROXIES if name in os.environ}


@contextlib.contextmanager
def open_network(engine: Engine) -> Iterator[Network]:
    """Make a network that leads wherever the host's does, for builds of the harness's own files.

    Raises:
        UserError: the engine makes none.
    """
    with _network(engine, internal=False) as name:
        yield Network(name, own_proxies())


@contextlib.contextmanager
def closed_network(engine: Engine, image: str) -> Iterator[Network]:
    """Make a network that leads to package indexes only.

    Args:
        engine: client of the engine.
        image: base image, in which the proxy runs.

    Raises:
        UserError: the engine makes none, or the proxy does not start.
    """
    more = os.environ.get(MORE_INDEXES, "").lower().split(",")
    hosts = [host.strip() for host in more if host.strip()]
    with (
        _network(engine, internal=False) as outside,
        _network(engine, internal=True) as inside,
    ):
        proxy = engine.containers.create(
            image,
            entrypoint=["python", "-P", "-s", "-S", "-c"],
            command=[Path(index_proxy.__file__).read_text("utf-8"), json.dumps(hosts)],
            environment=own_proxies(),
            labels={BUILD: owner()},
            network=outside,
            **OPTIONS,
        )
        try:
            engine.networks.get(inside).connect(proxy, aliases=[NAME])
            proxy.start()
            _wait(proxy)
            address = f"http://{NAME}:{index_proxy.PORT}"
            named = dict.fromkeys(
                ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address
            )
            yield Network(inside, named)
        finally:
            with contextlib.suppress(docker.errors.APIError):
                proxy.remove(force=True, v=True)


@contextlib.contextmanager
def _network(engine: Engine, *, internal: bool) -> Iterator[str]:
    """Make a network, remove it afterwards. Its containers have a loopback of their own."""
    try:
        # in the open one, containers cannot reach each other; in the closed one is the proxy
        icc = "true" if internal else "false"
        network = engine.networks.create(
            f"{WORKSHOP}-{uuid.uuid4().hex[:12]}",
            driver="bridge",
            internal=internal,
            options={"com.docker.network.bridge.enable_icc": icc},
            labels={BUILD: owner()},
        )
    except docker.errors.APIError as error:
        what = f"the engine makes no network for the build: {one_line(str(error))}"
        raise UserError("docker", what, "docker network prune, or see the engine's log") from error
    try:
        yield str(network.name)
    finally:
        with contextlib.suppress(docker.errors.APIError):
            network.remove()


def _wait(proxy: Any) -> None:  # noqa: ANN401 - an SDK object
    """Wait until the proxy listens.

    Raises:
        UserError: it ends, or takes too long.
    """
    limit = time.monotonic() + READY_SECONDS
    while b"ready" not in proxy.logs():
        proxy.reload()
        if proxy.status not in ("created", "running") or time.monotonic() > limit:
            said = one_line(proxy.logs()[-500:].decode(errors="replace"))
            what = f"the proxy of image builds does not start: {said}"
            raise UserError("docker", what, "see the engine's log")
        time.sleep(0.05)
