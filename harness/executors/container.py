"""One container and the line to the process in it: runs stages one after the other.

A container sees the host in two places, both read-only: our runtime, and its *box*, a folder that
holds what the stage of the moment was granted and is empty otherwise. Nothing of the host is
writable from inside: what a stage leaves comes over the line, after its last process is dead.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness.common.files import remove_tree
from harness.config.module_files import affects_results
from harness.executors.base import StageJob
from harness.executors.container_options import USER, Shape, options
from harness.executors.mounts import at, grant, listening, readable
from harness.executors.receive import Intake, LineBroken

OPENING_SECONDS = 120.0
"""Longest time from the start of a container until torch is imported in it."""
REMOVING_SECONDS = 30.0
"""Longest time that a removal which has begun is waited for."""
GRACE_SECONDS = 15.0
"""Beyond its deadline, which is enforced inside, a stage has this long to be reported."""
LISTENER = 3
"""The descriptor of an oracle's socket inside; see ``harness.runtime.worker.spawn``."""
LINE_BYTES = 1 << 20


class Engine(Protocol):
    """What of the docker SDK is used here; see ``docker.DockerClient``."""

    @property
    def containers(self) -> Any:  # noqa: ANN401 - the SDK's collection
        """Makes containers."""
        ...


@dataclass(frozen=True)
class Ended:
    """How a stage ended in its container.

    Attributes:
        code, number: exit code, or signal. stopped: status and reason if a limit was reached.
        refused: what is wrong with the output's files. peak: bytes. clean: fit for another stage.
    """

    code: int
    number: int
    stopped: tuple[str, str] | None
    refused: str
    peak: int
    clean: bool


class Container:
    """A running container.

    Args:
        engine: a docker client. shape: see there. box: a folder of its own, not yet made.
        runtime: a copy of the runtime that anyone can read. labels: of the container.

    Attributes:
        started: its stage has begun. overdue: it was removed because its stage did not end.
        fit: whoever ran a stage in it says that it may run another. born: seconds of the epoch.

    Raises:
        LineBroken: it did not open.
    """

    def __init__(
        self, engine: Engine, shape: Shape, box: Path, runtime: Path, labels: dict[str, str]
    ) -> None:
        self.shape, self.box, self.born = shape, box, int(time.time())
        readable(box)
        with listening(box / "line") as door:
            self._made = engine.containers.create(
                shape.image, **options(shape, box, runtime, labels)
            )
            self.id: str = self._made.id
            try:
                self._made.start()
                self._line = accept(door, self._made)
            except BaseException:
                self._remove()
                raise
        (box / "line").unlink()
        self._line.settimeout(OPENING_SECONDS)
        self._reader = self._line.makefile("rb")
        self.overdue = self.started = self.fit = False
        try:
            if "ready" not in (said := self._event()):
                raise LineBroken(f"the image does not fit: {said.get('failed')}")
        except LineBroken:
            self.close()
            raise
        self._line.settimeout(None)  # from here on, a watchdog of its own ends each stage

    # -- one stage ----------------------------------------------------------------------------

    def run(self, job: StageJob, listener: socket.socket | None = None) -> Ended:
        """Run a stage to its end; its files lie in ``job.folder`` afterwards.

        Args:
            job: the stage. listener: where it answers, for an oracle.

        Raises:
            LineBroken: the container ended without saying how.
        """
        order = {
            "job": self._fill(job) | ({} if listener is None else {"listener": LISTENER}),
            "seconds": job.seconds,
            "memory_gb": job.memory_gb,
            "disk_bytes": self.shape.disk_bytes,
        }
        text = json.dumps(order).encode() + b"\n"
        watchdog = threading.Timer(job.seconds + GRACE_SECONDS, self._give_up)
        watchdog.start()
        try:
            if listener is None:
                self._line.sendall(text)
            else:
                socket.send_fds(self._line, [text[:1]], [listener.fileno()])
                listener.close()  # the oracle alone holds it now: with it, the line goes
                self._line.sendall(text[1:])
            return self._receive(job)
        except OSError as error:
            raise LineBroken(f"the line to the container broke ({error})") from error
        finally:
            watchdog.cancel()
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile, with its box
                for entry in list(self.box.iterdir()):
                    remove_tree(entry)

    def _give_up(self) -> None:
        self.overdue = True
        self.close()

    def listen(self, name: str) -> socket.socket:
        """A socket in the box on which somebody outside will answer the next stage."""
        with at(self.box) as near:
            door = socket.socket(socket.AF_UNIX)
            door.bind(str(near / name))
        (self.box / name).chmod(0o666)  # connecting needs the right to write
        door.listen(4)
        return door

    def stop(self) -> None:
        """Ask the stage to end (SIGTERM)."""
        with contextlib.suppress(OSError):
            self._line.sendall(b'{"stop": true}\n')

    def close(self) -> None:
        """Hang up and remove it, with everything that runs in it."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._remove()
        with contextlib.suppress(OSError):  # its reader first, which holds it open
            self._reader.close()
        self._line.close()

    def _remove(self) -> None:
        with contextlib.suppress(Exception):  # it removes itself, or another thread does
            self._made.remove(force=True)
        with contextlib.suppress(Exception):  # it is gone
            self._made.wait(condition="removed", timeout=REMOVING_SECONDS)
        remove_tree(self.box)

    def _fill(self, job: StageJob) -> dict[str, Any]:
        """Put what is granted into the box; returns the job as it reads inside."""
        inputs = {}
        for name, source in job.job["inputs"].items():
            inputs[name] = f"/box/in/{name}"
            if name == "socket":
                inputs[name] = f"/box/{source}"
            else:
                grant(Path(source), self.box / "in" / name)
        modules = {}
        for role, module in job.job["modules"].items():
            source = Path(module["folder"])
            name = f"modules/{source.parent.name}/{source.name}"
            # copied, as people edit these in place; nothing that the stage's key leaves out
            grant(source, self.box / name, linked=False, wanted=affects_results)
            modules[role] = module | {"folder": f"/box/{name}"}
        kept = Path(job.job["checkpoint"])
        if kept.is_dir():
            grant(kept, self.box / "checkpoint")
        return job.job | {
            "inputs": inputs,
            "modules": modules,
            "checkpoint": "/stage/job/checkpoint",
        }

    def _receive(self, job: StageJob) -> Ended:
        """Take what a stage says and leaves, until its container is clean again or ends."""
        intake = Intake(job, self.shape.disk_bytes)
        how: Ended | None = None
        with contextlib.closing(intake):
            while True:
                try:
                    event = self._event()
                    intake.take(event, self._reader)
                except (LineBroken, OSError):
                    if how is None:
                        raise
                    return how  # it said how the stage ended, but not that it is clean
                self.started |= "started" in event
                if "ended" in event:
                    how = ending(event)
                elif "clean" in event and how is not None:
                    return replace(how, clean=True)

    def _event(self) -> dict[str, Any]:
        try:
            text = self._reader.readline(LINE_BYTES)
        except OSError as error:
            raise LineBroken(f"the container said nothing any more ({error})") from error
        if not text.endswith(b"\n"):
            raise LineBroken("the container ended without saying how")
        try:
            event = json.loads(text)
        except ValueError as error:
            raise LineBroken("the container says what is no event") from error
        if not isinstance(event, dict):
            raise LineBroken("the container says what is no event")
        return event


def ending(event: dict[str, Any]) -> Ended:
    """What a keeper says of the end of its stage.

    Raises:
        LineBroken: it is not of that form.
    """
    match event:
        case {
            "ended": [int(code), int(number)],
            "stopped": [str(), str()] | None as stopped,
            "refused": str(refused),
            "peak": int(peak),
        }:
            why = None if stopped is None else (stopped[0], stopped[1])
            return Ended(code, number, why, refused, peak, clean=False)
    raise LineBroken("the container does not say how its stage ended")


def accept(door: socket.socket, made: Any) -> socket.socket:  # noqa: ANN401 - an SDK object
    """The line to the process in a container that was just started.

    Raises:
        LineBroken: nobody came, or somebody else.
    """
    limit = time.monotonic() + OPENING_SECONDS
    door.settimeout(0.5)
    while True:
        try:
            line, _ = door.accept()
            break
        except TimeoutError:
            made.reload()  # an error when it has ended: then it has removed itself
            if made.status not in ("created", "running") or time.monotonic() > limit:
                raise LineBroken(f"the container did not open: {made.status}") from None
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    made.reload()
    # with user name spaces the number of the user is another outside; of the process, never
    if user != USER and pid != made.attrs["State"]["Pid"]:
        line.close()
        raise LineBroken("somebody else came to the container's door")
    line.settimeout(None)
    return line
