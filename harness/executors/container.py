"""One container and the line to the process in it: runs stages one after the other.

A container sees the host in two places, both read-only: our runtime, and its *box*, a folder that
holds what the stage of the moment was granted and is empty otherwise. Nothing of the host is
writable from inside: what a stage leaves comes over the line, after its last process is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from harness.executors.base import STAGE_ENVIRONMENT, StageJob
from harness.files import remove_tree
from harness.keys import files_below

GIB = 1 << 30
USER = 65532
"""Nobody's number: neither a user of the image nor, as a rule, of the host."""
PROCESSES = 512
INODES = 1 << 16
SHARED_MEMORY = 256 << 20
LISTENER = 3
"""The descriptor of an oracle's socket inside; see ``harness.runtime.birth``."""
OPENING_SECONDS = 120.0
"""Longest time from the start of a container until torch is imported in it."""
GRACE_SECONDS = 15.0
"""Beyond its deadline, which is enforced inside, a stage has this long to be reported."""
LINE_BYTES = 1 << 20
NO_IPC = {"kernel.shmmni": "0", "kernel.msgmni": "0", "kernel.sem": "250 32000 32 0",
          "fs.mqueue.queues_max": "0"}  # fmt: skip
"""System V shared memory and message queues outlive processes, so there are none."""


class LineBroken(Exception):
    """The container has ended, or sends what it should not; the message says which."""


class Engine(Protocol):
    """What of the docker SDK is used here; see ``docker.DockerClient``."""

    @property
    def containers(self) -> Any:  # noqa: ANN401 - the SDK's collection
        """Makes containers."""
        ...


@dataclass(frozen=True)
class Shape:
    """What a container is made for; stages of equal shape may share one.

    Attributes:
        image: digest of the image. stage: kind of the stages. memory_gb, cpus: limits.
        gpu: number of the GPU, or ``None``. modules: what runs there. granted: names of inputs.
    """

    image: str
    stage: str
    memory_gb: float
    cpus: int
    gpu: str | None
    modules: str
    granted: tuple[str, ...]

    @property
    def disk_bytes(self) -> int:
        """Room for output and scratch: in memory, so that half of the memory is its limit."""
        return int(self.memory_gb * GIB / 2)


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
        said = self._event()
        if "ready" not in said:
            self.close()
            raise LineBroken(f"the image does not fit: {said.get('failed')}")
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
        self._line.close()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(Exception):  # it removes itself; both may come at once
            self._made.remove(force=True)
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
            grant(source, self.box / name, linked=False)  # people edit these in place
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
        how: dict[str, Any] | None = None
        with contextlib.closing(intake):
            while True:
                try:
                    event = self._event()
                    intake.take(event, self._reader)
                except (LineBroken, OSError):
                    if how is None:
                        raise
                    event = {"clean": False}
                self.started |= "started" in event
                if "ended" in event:
                    how = event
                if "clean" in event and how is not None:
                    code, number = how["ended"]
                    stopped = tuple(how["stopped"]) if how["stopped"] else None
                    return Ended(
                        code, number, stopped, how["refused"], how["peak"], bool(event["clean"])
                    )

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


class Intake:
    """Writes down what comes over the line, within limits and below the stage's folders only.

    Args:
        job: whose files come. limit: bytes of output, and of checkpoint, at once.
    """

    def __init__(self, job: StageJob, limit: int) -> None:
        self._folder, self._kept = job.folder, Path(job.job["checkpoint"])
        self._limit, self._room, self._files = limit, 2 * limit, 2 * INODES
        (job.folder / "out").mkdir(parents=True, exist_ok=True)
        self._log = (job.folder / "log.txt").open("wb")
        self._aside = self._kept.with_name(self._kept.name + ".part")

    def close(self) -> None:
        """Let go of the log, and of a checkpoint that did not arrive whole."""
        self._log.close()
        remove_tree(self._aside)

    def take(self, event: dict[str, Any], reader: BinaryIO) -> None:
        """Take over one event's bytes.

        Raises:
            LineBroken: a name that leads elsewhere, or more bytes than any stage may leave.
        """
        size = int(event.get("size", 0))
        if "log" in event:
            self._log.write(self._exactly(reader, size))
        elif "file" in event:
            self._save(reader, self._folder / inside(event["file"]), size)
        elif "folder" in event:
            (self._folder / inside(event["folder"])).mkdir(parents=True, exist_ok=True)
        elif "checkpoint" in event:
            self._save(reader, self._aside / inside(event["checkpoint"]), size)
        elif "kept" in event:
            self._keep([inside(name) for name in event["kept"]])

    def _save(self, reader: BinaryIO, path: Path, size: int) -> None:
        self._files -= 1
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while size:
                piece = self._exactly(reader, min(size, 1 << 20))
                file.write(piece)
                size -= len(piece)

    def _exactly(self, reader: BinaryIO, size: int) -> bytes:
        self._room -= size
        if self._room < 0 or self._files < 0:
            raise LineBroken("the container sends more than a stage may leave")
        piece = reader.read(size)
        if len(piece) != size:
            raise LineBroken("the container ended in the middle of a file")
        return piece

    def _keep(self, names: list[str]) -> None:
        """A whole checkpoint has come: what is new takes its place, what is gone goes."""
        for name in names:
            if (self._aside / name).is_file():
                (self._kept / name).parent.mkdir(parents=True, exist_ok=True)
                (self._aside / name).replace(self._kept / name)
        for path in files_below(self._kept):
            if str(path.relative_to(self._kept)) not in names:
                path.unlink()
        self._room = max(self._room, self._limit)  # the next one may be as large again


def inside(name: object) -> str:
    """A relative name that stays below the folder it is put into.

    Raises:
        LineBroken: it does not.
    """
    if isinstance(name, str) and "\0" not in name:
        parts = Path(name).parts
        if parts and not Path(name).is_absolute() and ".." not in parts:
            return name
    raise LineBroken(f"the container names a file {name!r:.80}")


def grant(source: Path, target: Path, *, linked: bool = True) -> None:
    """Make a folder's plain files readable in a box: by hard links, which copy nothing.

    Args:
        source: a folder. target: where; parents are made. linked: false to copy.
    """
    readable(target)
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            readable(place)
        elif path.is_file() and not path.is_symlink() and "__pycache__" not in place.parts:
            readable(place.parent)
            if not (linked and hard_linked(path, place)):
                shutil.copyfile(path, place)
            if place.stat().st_mode & 0o444 != 0o444:
                place.chmod(place.stat().st_mode | 0o444)


def hard_linked(path: Path, place: Path) -> bool:
    """Link a file of ours; not possible on another file system, or for a file of somebody else."""
    try:
        os.link(path, place)
    except OSError:
        return False
    return True


def readable(folder: Path) -> None:
    """Make a folder, and its parents as need be, that any user may look into."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            readable(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


@contextlib.contextmanager
def at(folder: Path) -> Iterator[Path]:
    """A short name for a folder: the name of a socket may have 107 bytes."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{number}")
    finally:
        os.close(number)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A listening socket of that name, for as long as the block."""
    with at(path.parent) as near, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(near / path.name))
        path.chmod(0o666)
        door.listen(1)
        yield door


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
    if struct.unpack("3i", credentials)[1] != USER:
        line.close()
        raise LineBroken("somebody else came to the container's door")
    line.settimeout(None)
    return line


def options(shape: Shape, box: Path, runtime: Path, labels: dict[str, str]) -> dict[str, Any]:
    """Everything that locks a container down; see docker/README.md for what each is for."""
    memory = int(shape.memory_gb * GIB)
    return {
        "entrypoint": ["python", "-m", "harness.runtime.warden", "/box/line", shape.stage],
        "user": f"{USER}:{USER}",
        "environment": STAGE_ENVIRONMENT
        | {"PYTHONPATH": "/gauntlet", "HOME": "/stage/job/tmp", "TMPDIR": "/stage/job/tmp"},
        "working_dir": "/",
        "hostname": "stage",
        "labels": labels,
        "auto_remove": True,
        "network_mode": "none",
        "ipc_mode": "private",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "sysctls": NO_IPC,
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": PROCESSES,
        "nano_cpus": shape.cpus * 10**9,
        "shm_size": SHARED_MEMORY,
        "tmpfs": {
            "/stage": f"size={shape.disk_bytes},nr_inodes={INODES},mode=1777,nosuid,nodev,noexec"
        },
        "volumes": {
            str(box.resolve()): {"bind": "/box", "mode": "ro"},
            str(runtime.resolve()): {"bind": "/gauntlet/harness", "mode": "ro"},
        },
        "log_config": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        **({} if shape.gpu is None else gpu(shape.gpu)),
    }


def gpu(number: str) -> dict[str, Any]:
    """The request for one GPU, as the engine's API words it."""
    request = {"Driver": "", "DeviceIDs": [number], "Capabilities": [["gpu"]], "Options": {}}
    return {"device_requests": [request]}
