"""One image build on an engine: a network of its own, a workshop, the layer that is kept of it."""

from __future__ import annotations

import contextlib
import re
import tarfile
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any, cast

import urllib3
from docker.models.images import Image

import docker
from harness.common.errors import UserError
from harness.common.text import one_line
from harness.config.dockerfile import Instruction
from harness.executors.image_archives import Context, Stream
from harness.executors.image_network import Network
from harness.executors.image_steps import changed_elsewhere, keep, label_lines, render
from harness.executors.image_sweep import BUILD, WORKSHOP
from harness.executors.owners import owner

DOCKERFILE = "Dockerfile.gauntlet"
"""Name of the Dockerfile in a build's archive."""
FILES = "files"
"""Folder of a module's files in a build's archive: no name of theirs means anything there."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences that the engine puts around lines of the standard error."""
BUILD_SECONDS, IDLE_SECONDS = 3 * 3600, 1800
"""Longest build, and longest time in which it prints nothing."""
LOG_LINES = 1000
"""Lines of a build's log that are remembered, to say what failed."""
BUILD_MEMORY = 16 << 30
"""Memory limit of each instruction."""
INHERITED = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "OnBuild", "Shell",
             "StopSignal", "User", "Volumes", "WorkingDir")  # fmt: skip
"""Settings that each image has from its base, unchanged."""

Engine = docker.DockerClient
EngineFailure = (docker.errors.DockerException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True)
class Build:
    """Build of one image.

    Attributes:
        engine: client of the engine.
        who: module or environment that is built, for errors.
        network: network of the build's containers.
        tell: function that takes a line of progress.
    """

    engine: Engine
    who: str
    network: Network
    tell: Callable[[str], None]

    def run(
        self,
        text: str,
        context: Context,
        name: str,
        target: str | None = None,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Let the engine follow a Dockerfile of the harness's own.

        Args:
            text: the Dockerfile.
            context: the files for COPY.
            name: tag of the image.
            target: stage of the Dockerfile to build.
            labels: further labels of the image.

        Raises:
            UserError: the build failed.
        """
        context.add(DOCKERFILE, text.encode())
        lines: deque[str] = deque(maxlen=LOG_LINES)
        begun, failed = time.monotonic(), False
        try:
            stream = self.engine.api.build(
                fileobj=context.finish(),
                custom_context=True,
                dockerfile=DOCKERFILE,
                tag=name,
                labels=dict(labels),
                target=target,
                network_mode=self.network.name,
                buildargs=dict(self.network.proxies),
                container_limits={"memory": BUILD_MEMORY, "memswap": BUILD_MEMORY},
                rm=True,
                forcerm=True,
                timeout=IDLE_SECONDS,
                decode=True,
            )
            for event in stream:
                said = COLOURS.sub("", event.get("stream") or event.get("error") or "")
                for line in said.splitlines():
                    lines += [one_line(line)] if line.strip() else []
                    self.tell(one_line(line)[:100])
                failed = failed or "error" in event  # it is the last: read to the end, which closes
                if time.monotonic() - begun > BUILD_SECONDS:
                    raise self._failed(f"it takes more than {BUILD_SECONDS / 3600:g} hours")
        except urllib3.exceptions.ReadTimeoutError as error:
            why = f"it printed nothing for {IDLE_SECONDS / 60:g} minutes"
            raise self._failed(why) from error
        except EngineFailure as error:
            raise self._failed(one_line(str(error))) from error
        if failed:
            raise self._failed(failure_line(lines))

    def _failed(self, why: str) -> UserError:
        what = f"the image cannot be built: {why}"
        return UserError(self.who, what, "see requirements.txt or Dockerfile")

    def add_layer(
        self,
        below: str,
        name: str,
        context: Context,
        steps: Iterable[Instruction],
        labels: Mapping[str, str],
        *,
        pins: bool,
    ) -> None:
        """Follow instructions on an image; make an image with what is kept of them on top.

        Args:
            below: name of the image.
            name: name of the new image.
            context: the files for COPY, in the folder ``FILES``.
            steps: the instructions.
            labels: labels of the new image.
            pins: whether they install the pinned requirements.

        Raises:
            UserError: the build failed, or leaves what no layer may hold, or nothing.
        """
        workshop = f"{WORKSHOP}:{uuid.uuid4().hex}"
        self.run(render(steps, below, {BUILD: owner()}, FILES), context, workshop)
        try:
            self._take(workshop, below, labels, pins=pins).tag(*name.split(":"))
        except EngineFailure as error:
            raise self._failed(one_line(str(error))) from error

    def _take(self, workshop: str, below: str, labels: Mapping[str, str], *, pins: bool) -> Image:
        """Put what is kept of a workshop on its base, as one layer."""
        with (
            self._idle(workshop) as source,
            self._idle(below) as target,
            tempfile.TemporaryFile() as layer,
        ):
            chunks, _ = source.get_archive("/opt")
            try:
                count = keep(cast("IO[bytes]", Stream(chunks)), layer, self.who, pins=pins)
            except tarfile.TarError as error:
                raise self._failed(f"the engine's archive of /opt broke: {error}") from error
            finally:
                chunks.close()  # the connection, too
            if not count:
                what = "the build leaves no file below /opt, and only those are kept"
                raise UserError(self.who, what, "put there what a stage needs")
            layer.seek(0)
            target.put_archive("/", layer)
            if elsewhere := next(changed_elsewhere(target.diff() or ()), ""):
                what = f"the image changes {elsewhere}"
                raise UserError(self.who, what, "report this: it is a bug")
            made: Image = target.commit(conf={"Labels": dict(labels)})
        try:
            check_layer(made, self.engine.images.get(below), self.who)
        except UserError:
            self.engine.images.remove(str(made.id), force=True)
            raise
        return made

    @contextlib.contextmanager
    def _idle(self, image: str) -> Iterator[Any]:
        """Make a container that is never started; remove it afterwards."""
        labels = {BUILD: owner()}
        made = self.engine.containers.create(image, labels=labels, network_mode="none")
        try:
            yield made
        finally:
            made.remove(force=True, v=True)


def label_base(text: str) -> str:
    """Return the base's Dockerfile with a label on every layer, to find those of a broken build."""
    labels = "\n".join(label_lines({BUILD: owner()}))
    return re.sub(r"(?m)^FROM .*$", lambda found: f"{found[0]}\n{labels}", text)


def failure_line(lines: Iterable[str]) -> str:
    """Return what a build's log says of its failure: pip's error, else the last line.

    What ``pip check`` finds is named in full, so that one build finds all that is missing.
    """
    listed = list(lines)
    checked = [line for line in listed if re.match(r".* requires |.* has requirement", line)]
    errors = [line for line in listed if re.match(r"ERROR|\w*Error: ", line)]
    return one_line("; ".join(errors[:1] or checked or listed[-1:] or ["its log is empty"]))


def check_layer(made: Image, base: Image, who: str) -> None:
    """Check that an image is its base and one layer more, with the base's settings.

    Raises:
        UserError: it is not.
    """
    ours, theirs = made.attrs["RootFS"]["Layers"], base.attrs["RootFS"]["Layers"]
    odd = [key for key in INHERITED if _setting(made, key) != _setting(base, key)]
    if ours[:-1] != theirs:
        odd.append("layers")
    if odd:
        what = f"the image has not its base's {', '.join(odd)}"
        raise UserError(who, what, "report this: it is a bug")


def _setting(image: Image, key: str) -> object:
    value = image.attrs["Config"].get(key)
    return sorted(value) if key == "Env" and value else value or None
