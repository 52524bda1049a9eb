"""Container images: keyed by content and built once, in the only phase with a network."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from docker.models.images import Image
from docker.utils import parse_host

import docker
from harness.common.errors import UserError
from harness.common.keys import RUNTIME_PINS
from harness.common.text import one_line
from harness.config.catalog import Module
from harness.config.dockerfile import Instruction, parse
from harness.config.environments import DOCKERFILE, Environment
from harness.config.identity import joined_digest
from harness.config.module_files import module_files, open_plain
from harness.executors.image_archives import Context
from harness.executors.image_build import FILES, Build, label_base
from harness.executors.image_network import closed_network, open_network
from harness.executors.image_steps import install
from harness.executors.image_sweep import BUILD, WORKSHOP, sweep
from harness.executors.owners import owner

KEY, WHAT = "gauntlet.key", "gauntlet.what"
"""Labels of Gauntlet's images."""
BUILD_LOCK = Path(tempfile.gettempdir()) / "gauntlet-images.lock"
"""Lock held while images are built, so that two processes never build the same image."""
UNIX = "http+unix://"
"""Prefix of a Unix socket's address in the SDK."""
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Built:
    """Image of Gauntlet that the engine holds.

    Attributes:
        id: digest of the image.
        key: key of the environment that it holds.
        what: description of that environment.
        size: bytes.
        created: time of its creation.
        named: false where the same environment was built again, and that image has the name now.
    """

    id: str
    key: str
    what: str
    size: int
    created: str
    named: bool = True


class Images:
    """Images of an engine.

    Args:
        client: client of the engine.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self._ids: dict[str, str] = {}

    @classmethod
    def connect(cls) -> Images:
        """Connect to the engine that ``DOCKER_HOST`` names, or to the local one.

        Raises:
            UserError: no engine answers; the error says why and what to do.
        """
        try:
            try_socket(os.environ.get("DOCKER_HOST", ""))
            client = docker.from_env(timeout=600)
            try:
                client.ping()
            except BaseException:
                client.close()
                raise
        except (docker.errors.DockerException, OSError, ValueError) as error:
            raise no_engine(error) from error
        return cls(client)

    def close(self) -> None:
        """Disconnect from the engine, which keeps running."""
        self.client.close()

    def id_of(self, environment: Environment | None) -> str:
        """Return the digest of an environment's image; ``None`` is the plain base.

        Raises:
            UserError: the image is not built.
        """
        environment = environment or Environment()
        if environment.key not in self._ids:
            found = self._find(environment)
            if found is None:
                what = f"the image {environment} is not built"
                raise UserError("docker", what, "gauntlet images --build")
            self._ids[environment.key] = str(found.id)
        return self._ids[environment.key]

    def missing(self, environments: Iterable[Environment | None]) -> list[Environment]:
        """Return the environments without an image, each once, bases first."""
        wanted = dict.fromkeys(one or Environment() for one in environments)
        wanted = dict.fromkeys([*(one.base for one in wanted), *wanted])
        return [one for one in wanted if self._find(one) is None]

    def build(self, environments: Iterable[Environment | None], tell: Callable[[str], None]) -> int:
        """Build the missing images; return their number.

        Args:
            environments: environments that are needed.
            tell: function that takes a line of progress.

        Raises:
            UserError: a build failed; no layer of it is left.
        """
        with BUILD_LOCK.open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # after a wait, another process has built them
            missing = self.missing(environments)
            for environment in missing:
                tell(f"building the image {environment}")
                try:
                    self._build(environment, tell)
                finally:
                    sweep(self.client, own=True)
        return len(missing)

    def sweep(self) -> None:
        """Remove what builds of dead harnesses left."""
        sweep(self.client)

    def _build(self, environment: Environment, tell: Callable[[str], None]) -> None:
        """Build one image, whose base exists."""
        module, pins, name = environment.module, environment.pins, tag(environment)
        labels = {KEY: environment.key, WHAT: str(environment), BUILD: ""}
        who = module.ref if module else str(environment)
        layers: list[tuple[Callable[[Context], Iterable[Instruction]], bool]] = []
        if pins:
            layers.append((partial(add_pins, pins=pins), True))
        if module:
            layers.append((partial(add_module, module=module), False))
        below = tag(environment.base)  # a tag, because FROM takes no image id
        opened = closed_network(self.client, below) if layers else open_network(self.client)
        with opened as network:
            build = Build(self.client, who, network, tell)
            if not layers:
                with closing(Context()) as context:
                    context.add(RUNTIME_PINS.name, RUNTIME_PINS.read_bytes())
                    text = label_base(DOCKERFILE.read_text("utf-8"))
                    build.run(text, context, name, environment.device, labels)
            for number, (add, pinned) in enumerate(layers, 1):
                if number < len(layers):  # its name goes when the build ends, by this label
                    names, label = f"{WORKSHOP}:{environment.key[:32]}", owner()
                else:
                    names, label = name, ""
                with closing(Context()) as context:
                    steps = add(context)
                    build.add_layer(
                        below, names, context, steps, labels | {BUILD: label}, pins=pinned
                    )
                below = names

    def listing(self) -> list[Built]:
        """Return every image of Gauntlet, the newest first."""
        return [
            Built(
                str(one.id),
                one.labels[KEY],
                one.labels.get(WHAT, ""),
                int(one.attrs["Size"]),
                str(one.attrs["Created"])[:19],
                bool(one.tags),
            )
            for one in self.client.images.list(filters={"label": KEY})
            if not any(name.startswith(f"{WORKSHOP}:") for name in one.tags)
        ]

    def prune(self, keep: Collection[str]) -> list[Built]:
        """Remove Gauntlet's images whose key is not in ``keep``; return those removed.

        Layers are removed before their bases. An image that a container still uses stays.
        """
        removed = []
        rest = [one for one in self.listing() if one.key not in keep or not one.named]
        for one in sorted(rest, key=lambda built: built.created, reverse=True):
            with contextlib.suppress(docker.errors.APIError):
                self.client.images.remove(one.id, force=True)
                removed.append(one)
        self.sweep()
        return removed

    def _find(self, environment: Environment) -> Image | None:
        try:
            return self.client.images.get(tag(environment))
        except docker.errors.ImageNotFound:
            return None


def tag(environment: Environment) -> str:
    """Return the name of an environment's image on its engine."""
    return f"gauntlet:{environment.key[:32]}"


def add_pins(context: Context, pins: Iterable[str]) -> tuple[Instruction, ...]:
    """Add pinned requirements to a build; return the instructions that install them."""
    context.add(f"{FILES}/requirements.txt", "".join(f"{pin}\n" for pin in pins).encode())
    return install(pins)


def add_module(context: Context, module: Module) -> tuple[Instruction, ...]:
    """Add a module's files to a build; return the instructions of its Dockerfile.

    Raises:
        UserError: a link, or files that are not those that were planned with.
    """
    digests, recipe = {}, b""
    names = [path.relative_to(module.folder) for path in module_files(module.folder)]
    for name in names:
        with open_plain(module.folder, name) as file:
            content = file.read()
        digests[str(name)] = hashlib.sha256(content).hexdigest()
        recipe = content if str(name) == "Dockerfile" else recipe
        context.add(f"{FILES}/{name}", content)
    if joined_digest(digests, module.manifest) != module.digest:
        what = "its files changed while its image was built"
        raise UserError(module.ref, what, "leave them alone, and start again")
    return parse(recipe, str(module.folder / "Dockerfile"), digests)


def try_socket(host: str) -> None:
    """Connect to the engine's Unix socket once, before the SDK does.

    The SDK forgets to close its own socket where connecting fails, so it must not meet a dead one.

    Args:
        host: ``DOCKER_HOST``; addresses of other kinds are left to the SDK.

    Raises:
        OSError: no engine listens there.
        DockerException: ``host`` is not an address.
        ValueError: ``host`` is not an address.
    """
    address = str(parse_host(host))
    if address.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            probe.connect("/" + address.removeprefix(UNIX).lstrip("/"))


def no_engine(error: Exception) -> UserError:
    """Return the error for an engine that does not answer, with what to do about it."""
    text = str(error)
    if "Permission denied" in text:
        fix = "join the group docker (it is as good as root), or run a rootless engine"
        return UserError("docker", "you may not use the engine's socket", fix)
    if "No such file" in text or "not found" in text.lower():
        fix = "install Docker Engine and start it, or use --executor local (no isolation)"
        return UserError("docker", "no engine is running here (its socket is not there)", fix)
    fix = "start it (systemctl start docker), set DOCKER_HOST, or use --executor local"
    return UserError("docker", f"no engine answers: {one_line(text)}", fix)
