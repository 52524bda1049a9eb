"""Container images: keyed by content and built once, in the only phase with a network."""

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
"""Labels of Gauntlet's images."""
BUILD_LOCK = Path(tempfile.gettempdir()) / "gauntlet-images.lock"
"""Lock held while images are built, so that two processes never build the same image."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences that the engine puts around lines of the standard error."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
UNIX = "http+unix://"
"""Prefix of a Unix socket's address in the SDK."""
CONNECT_SECONDS = 10.0
LAYER = """FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --no-deps --only-binary=:all: --root-user-action=ignore \
--disable-pip-version-check {hashes}-r /tmp/requirements.txt && python -m pip check
"""
"""Installed without dependencies, so that the base is unchanged; a missing one fails the build."""


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
                self._build(environment, tell)
        return len(missing)

    def _build(self, environment: Environment, tell: Callable[[str], None]) -> None:
        """Build one image, whose base exists."""
        tell(f"building the image {environment}")
        if environment == environment.base:
            self._make(environment, DOCKERFILE.read_text("utf-8"), [RUNTIME], tell)
        elif environment.module is not None:
            text = dockerfile(environment.module.folder) or ""
            text = re.sub(rf"(?mi)^(\s*FROM\s+){BASE}", rf"\g<1>{self._base(environment)}", text)
            files = module_files(environment.module.folder)  # the files that the image's key covers
            self._make(environment, text + self._pins("", environment), files, tell)
        else:
            text = self._pins(f"FROM {self._base(environment)}\n", environment)
            self._make(environment, text, [], tell)

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
        return removed

    def _base(self, environment: Environment) -> str:
        return tag(environment.base)  # a tag, because FROM takes no image id

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
            UserError: the build failed.
        """
        folder = environment.module.folder if environment.module else RUNTIME.parent
        context = {str(path.relative_to(folder)): path.read_bytes() for path in files}
        context["Dockerfile.gauntlet"] = text.encode()
        if environment.pins:
            context["requirements.txt"] = "\n".join(environment.pins).encode() + b"\n"
        lines: list[str] = []
        layers: list[str] = []
        stream = self.client.api.build(
            fileobj=pack(context),
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
                lines += [line] if line.strip() else []
                layers += re.findall(r"^ ---> ([0-9a-f]{12,})$", line)
                tell(one_line(line)[:100])
            if "error" in event:
                self._forget(layers)
                who = environment.module.ref if environment.module else str(environment)
                what = f"the image cannot be built: {failure_line(lines)}"
                raise UserError(who, what, "see requirements.txt or Dockerfile")

    def _forget(self, layers: list[str]) -> None:
        """Remove the layers of a failed build, but for those of images that have a name."""
        for layer in reversed(layers):
            with contextlib.suppress(docker.errors.APIError):
                if not self.client.images.get(layer).tags:
                    self.client.images.remove(layer)


def tag(environment: Environment) -> str:
    """Return the name of an environment's image on its engine."""
    return f"gauntlet:{environment.key[:32]}"


def failure_line(lines: list[str]) -> str:
    """Return the line of a build's log that says what failed: pip's error, else the last line."""
    telling = re.compile(r"ERROR|\w*Error: |.* requires |.* has requirement")
    errors = [line for line in lines if telling.match(line)]
    return one_line((errors[:1] or lines[-1:] or ["its log is empty"])[0])


def pack(files: dict[str, bytes]) -> io.BytesIO:
    """Return a build context with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


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
