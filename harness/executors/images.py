"""Container images: built by content, once, in the only phase with a network; named by digest."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import socket
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from docker.models.images import Image
from docker.utils import parse_host

import docker
from harness.common.errors import UserError
from harness.common.text import one_line
from harness.config.environments import BASE, DOCKERFILE, RUNTIME, Environment, dockerfile
from harness.config.module_files import module_files

KEY, WHAT = "gauntlet.key", "gauntlet.what"
"""Labels of our images."""
BUILDING = Path(tempfile.gettempdir()) / "gauntlet-images.lock"
"""Held while images are built: nobody builds what another is building."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What the engine puts around lines of the standard error."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
UNIX = "http+unix://"
"""How the SDK spells the address of a Unix socket."""
KNOCK_SECONDS = 10.0
LAYER = """FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --no-deps --only-binary=:all: --root-user-action=ignore \
--disable-pip-version-check {hashes}-r /tmp/requirements.txt && python -m pip check
"""
"""Without dependencies, so that nothing of the base changes; what is missing fails the build."""


@dataclass(frozen=True)
class Built:
    """An image of ours that is there: its digest, what it holds, bytes, time of its making.

    One that has no name any more was built twice, and the other has it.
    """

    id: str
    key: str
    what: str
    size: int
    created: str
    named: bool = True


class Images:
    """The images of an engine.

    Args:
        client: of the engine.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self._ids: dict[str, str] = {}

    @classmethod
    def connect(cls) -> Images:
        """The engine that ``DOCKER_HOST`` names, or the local one.

        Raises:
            UserError: none answers; says why and what to do.
        """
        try:
            knock(os.environ.get("DOCKER_HOST", ""))
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
        """Hang up; the engine goes on."""
        self.client.close()

    def id_of(self, environment: Environment | None) -> str:
        """Digest of an environment's image; ``None`` is the plain base.

        Raises:
            UserError: it is not built.
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
        """Those that are not built yet, each once, bases first."""
        wanted = dict.fromkeys(one or Environment() for one in environments)
        wanted = dict.fromkeys([*(one.base for one in wanted), *wanted])
        return [one for one in wanted if self._find(one) is None]

    def build(self, environments: Iterable[Environment | None], tell: Callable[[str], None]) -> int:
        """Build what is missing; returns how many images that were.

        Args:
            environments: what is needed. tell: takes a line of progress.

        Raises:
            UserError: a build failed; nothing of it is left.
        """
        with BUILDING.open("a", encoding="utf-8") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # whoever waited finds it built
            missing = self.missing(environments)
            for environment in missing:
                self._build(environment, tell)
        return len(missing)

    def _build(self, environment: Environment, tell: Callable[[str], None]) -> None:
        """Make one image, whose base is there."""
        tell(f"building the image {environment}")
        if environment == environment.base:
            self._make(environment, DOCKERFILE.read_text("utf-8"), [RUNTIME], tell)
        elif environment.module is not None:
            text = dockerfile(environment.module.folder) or ""
            text = re.sub(rf"(?mi)^(\s*FROM\s+){BASE}", rf"\g<1>{self._base(environment)}", text)
            files = module_files(environment.module.folder)  # what the image's key is made of
            self._make(environment, text + self._pins("", environment), files, tell)
        else:
            text = self._pins(f"FROM {self._base(environment)}\n", environment)
            self._make(environment, text, [], tell)

    def listing(self) -> list[Built]:
        """Every image of ours, the newest first."""
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
        ]

    def prune(self, keep: Collection[str]) -> list[Built]:
        """Remove our images whose key is not to be kept, and of no others; returns those removed.

        Layers go before what they lie on; what a container still uses stays.
        """
        gone = []
        rest = [one for one in self.listing() if one.key not in keep or not one.named]
        for one in sorted(rest, key=lambda built: built.created, reverse=True):
            with contextlib.suppress(docker.errors.APIError):
                self.client.images.remove(one.id, force=True)
                gone.append(one)
        return gone

    def _base(self, environment: Environment) -> str:
        return tag(environment.base)  # of our own making: an id is no name that FROM may use

    def _find(self, environment: Environment) -> Image | None:
        try:
            return self.client.images.get(tag(environment))
        except docker.errors.ImageNotFound:
            return None

    def _pins(self, text: str, environment: Environment) -> str:
        if not environment.pins:
            return text
        hashed = all("--hash=" in pin for pin in environment.pins)
        layer = LAYER.format(base="", hashes="--require-hashes " if hashed else "")
        return text + "\n" + layer.partition("\n")[2]

    def _make(
        self, environment: Environment, text: str, files: list[Path], tell: Callable[[str], None]
    ) -> None:
        """Build one image, with a tag and labels of its own.

        Raises:
            UserError: it failed.
        """
        folder = environment.module.folder if environment.module else RUNTIME.parent
        context = {str(path.relative_to(folder)): path.read_bytes() for path in files}
        context["Dockerfile.gauntlet"] = text.encode()
        if environment.pins:
            context["requirements.txt"] = "\n".join(environment.pins).encode() + b"\n"
        said: list[str] = []
        layers: list[str] = []
        stream = self.client.api.build(
            fileobj=packed(context),
            custom_context=True,
            dockerfile="Dockerfile.gauntlet",
            tag=tag(environment),
            labels={KEY: environment.key, WHAT: str(environment)},
            target=environment.device if environment == environment.base else None,
            buildargs={name: os.environ[name] for name in PROXIES if name in os.environ},
            rm=True,
            forcerm=True,
            decode=True,
        )
        for event in stream:
            text = COLOURS.sub("", event.get("stream") or event.get("error") or "")
            for line in text.splitlines():
                said += [line] if line.strip() else []
                layers += re.findall(r"^ ---> ([0-9a-f]{12,})$", line)
                tell(one_line(line)[:100])
            if "error" in event:
                self._forget(layers)
                who = environment.module.ref if environment.module else str(environment)
                what = f"the image cannot be built: {last_words(said)}"
                raise UserError(who, what, "see requirements.txt or Dockerfile")

    def _forget(self, layers: list[str]) -> None:
        """Remove the layers of a failed build; those of images that have a name stay."""
        for layer in reversed(layers):
            with contextlib.suppress(docker.errors.APIError):
                if not self.client.images.get(layer).tags:
                    self.client.images.remove(layer)


def tag(environment: Environment) -> str:
    """The name of an environment's image on its engine."""
    return f"gauntlet:{environment.key[:32]}"


def last_words(said: list[str]) -> str:
    """What went wrong, of a build's lines: pip's own error, else the last line."""
    told = re.compile(r"ERROR|\w*Error: |.* requires |.* has requirement")
    errors = [line for line in said if told.match(line)]
    return one_line((errors[:1] or said[-1:] or ["nothing was said"])[0])


def packed(files: dict[str, bytes]) -> io.BytesIO:
    """A build context."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


def knock(host: str) -> None:
    """Connect to the engine's Unix socket once, so that the SDK meets only one that answers.

    The SDK forgets to close its own socket where connecting fails.

    Args:
        host: ``DOCKER_HOST``; addresses of other kinds are left to the SDK.

    Raises:
        OSError: nothing listens there. DockerException, ValueError: ``host`` is no address.
    """
    address = str(parse_host(host))
    if address.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(KNOCK_SECONDS)
            probe.connect("/" + address.removeprefix(UNIX).lstrip("/"))


def no_engine(error: Exception) -> UserError:
    """What to do about an engine that does not answer."""
    text = str(error)
    if "Permission denied" in text:
        fix = "join the group docker (it is as good as root), or run a rootless engine"
        return UserError("docker", "you may not use the engine's socket", fix)
    if "No such file" in text or "not found" in text.lower():
        fix = "install Docker Engine and start it, or use --executor local (no isolation)"
        return UserError("docker", "no engine is running here (its socket is not there)", fix)
    fix = "start it (systemctl start docker), set DOCKER_HOST, or use --executor local"
    return UserError("docker", f"no engine answers: {one_line(text)}", fix)
