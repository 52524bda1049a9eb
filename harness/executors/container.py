"""Container that runs stages one after the other, and the channel to its first process.

A container sees the host in two places, both read-only: the runtime, and its *mount root*, a folder
that holds the granted files of the current stage and is empty otherwise. Nothing of the host is
writable from inside: output arrives over the channel, after the stage's last process is dead.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness.common.files import remove_tree
from harness.executors.base import StageJob
from harness.executors.container_options import MOUNTS, USER, ContainerSpec, options
from harness.executors.mounts import expose, expose_module, listen_at, make_readable
from harness.executors.oom_kills import count_oom_kills
from harness.executors.outcome import ProcessEnd
from harness.executors.receive import ChannelBroken, Event, Receiver
from harness.runtime.worker.job_file import JobFile
from harness.runtime.worker.protocol import LISTENER

OPENING_SECONDS = 120.0
"""Longest time from the start of a container until torch is imported in it."""
REMOVING_SECONDS = 30.0
"""Longest time to wait for a removal that has begun."""
GRACE_SECONDS = 15.0
"""Time beyond its deadline, which is enforced inside, in which a stage must be reported."""
MESSAGE_BYTES = 1 << 20


class Engine(Protocol):
    """Part of ``docker.DockerClient`` that is used here."""

    @property
    def containers(self) -> Any:  # noqa: ANN401 - the SDK's collection
        """Collection that makes containers."""
        ...


@dataclass(frozen=True)
class Ended:
    """End of a stage in its container.

    Attributes:
        process: end of its process.
        stopped: status and reason if a limit was reached.
        refused: reason why the output's files are refused, or ``""``.
        peak: bytes of memory.
        clean: whether the container is fit for another stage.
    """

    process: ProcessEnd
    stopped: tuple[str, str] | None
    refused: str
    peak: int
    clean: bool


class Container:
    """Running container.

    Args:
        engine: docker client.
        spec: what the container is made for.
        mount_root: folder of its own, not yet made.
        runtime: copy of the runtime that any user can read.
        labels: labels of the container.

    Attributes:
        started: whether its stage has begun.
        overdue: whether it was removed because its stage did not end.
        fit: whether it may run another stage; the executor decides after each.
        closed: whether it is being removed; a stage may have ended well just before.
        begun: time at which its latest stage began, in seconds of the epoch.
        oom_kills: processes of the machine that the kernel had killed for want of memory by then.

    Raises:
        ChannelBroken: the container did not connect.
    """

    def __init__(
        self,
        engine: Engine,
        spec: ContainerSpec,
        mount_root: Path,
        runtime: Path,
        labels: dict[str, str],
    ) -> None:
        self.spec, self.mount_root = spec, mount_root
        self.begun, self.oom_kills = time.time(), count_oom_kills()
        make_readable(mount_root)
        with listen_at(mount_root / "line", 1) as listener:
            self._made = engine.containers.create(
                spec.image, **options(spec, mount_root, runtime, labels)
            )
            self.id: str = self._made.id
            try:
                self._made.start()
                self._channel = accept(listener, self._made)
            except BaseException:
                self._remove()
                raise
        (mount_root / "line").unlink()
        self._channel.settimeout(OPENING_SECONDS)
        self._reader = self._channel.makefile("rb")
        self.overdue = self.started = self.fit = self.closed = False
        try:
            if "ready" not in (event := self._next_event()):
                raise ChannelBroken(f"the image does not fit: {event.get('failed')}")
        except ChannelBroken:
            self.close()
            raise
        self._channel.settimeout(None)  # from here on, each stage has a watchdog of its own

    @property
    def alive(self) -> bool:
        """Whether an idle container still runs: it sends nothing, but the end of its connection."""
        poll = select.poll()  # select() takes no descriptor from 1024 on
        poll.register(self._channel, select.POLLIN)
        return not poll.poll(0)

    # -- one stage ----------------------------------------------------------------------------

    def run(self, job: StageJob, listener: socket.socket | None = None) -> Ended:
        """Run a stage to its end; its files lie in ``job.folder`` afterwards.

        Args:
            job: the stage.
            listener: socket on which a service answers, else ``None``.

        Raises:
            ChannelBroken: the container ended without reporting how.
        """
        self.begun, self.oom_kills = time.time(), count_oom_kills()
        file = replace(self._expose(job.file), listener=None if listener is None else LISTENER)
        order = {
            "job": file.to_json(),
            "seconds": job.seconds,
            "memory_gb": job.memory_gb,
            "disk_bytes": self.spec.disk_bytes,
        }
        text = json.dumps(order).encode() + b"\n"
        watchdog = threading.Timer(job.seconds + GRACE_SECONDS, self._give_up)
        watchdog.start()
        try:
            if listener is None:
                self._channel.sendall(text)
            else:
                socket.send_fds(self._channel, [text[:1]], [listener.fileno()])
                listener.close()  # the service alone holds it now: the socket ends with it
                self._channel.sendall(text[1:])
            return self._receive(job)
        except OSError as error:
            raise ChannelBroken(f"the connection to the container broke ({error})") from error
        finally:
            watchdog.cancel()
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile, with its mount root
                for entry in list(self.mount_root.iterdir()):
                    remove_tree(entry)

    def _give_up(self) -> None:
        self.overdue = True
        self.close()

    def listen(self, name: str) -> socket.socket:
        """Return a listening socket in the mount root, for the next stage to connect to."""
        return listen_at(self.mount_root / name, 4)

    def stop(self) -> None:
        """Ask the stage to end (SIGTERM)."""
        with contextlib.suppress(OSError):
            self._channel.sendall(b'{"stop": true}\n')

    def close(self) -> None:
        """Disconnect and remove the container, with everything that runs in it."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._remove()
        with contextlib.suppress(OSError):  # its reader first, which holds it open
            self._reader.close()
        self._channel.close()

    def _remove(self) -> None:
        with contextlib.suppress(Exception):  # it removes itself, or another thread does
            self._made.remove(force=True, v=True)
        with contextlib.suppress(Exception):  # it is gone
            self._made.wait(condition="removed", timeout=REMOVING_SECONDS)
        remove_tree(self.mount_root)

    def _expose(self, file: JobFile) -> JobFile:
        """Put granted files into the mount root; return the job with the paths inside."""
        inputs = {}
        for name, source in file.inputs.items():
            if name == "socket":
                inputs[name] = f"{MOUNTS}/{source}"
            else:
                inputs[name] = f"{MOUNTS}/in/{name}"
                expose(Path(source), self.mount_root / "in" / name)
        modules, mounted = {}, set()
        for role, module in file.modules.items():
            folder = Path(module.folder)
            name = f"modules/{folder.parent.name}/{folder.name}"
            if folder not in mounted:  # a module may have two roles
                expose_module(folder, self.mount_root / name)
                mounted.add(folder)
            modules[role] = replace(module, folder=f"{MOUNTS}/{name}")
        checkpoint = Path(file.checkpoint)
        if checkpoint.is_dir():
            expose(checkpoint, self.mount_root / "checkpoint")
        return replace(file, inputs=inputs, modules=modules, checkpoint="/stage/job/checkpoint")

    def _receive(self, job: StageJob) -> Ended:
        """Receive a stage's events and files, until its container is clean again or ends."""
        receiver = Receiver(job, self.spec.disk_bytes)
        ended: Ended | None = None
        with contextlib.closing(receiver):
            while True:
                try:
                    event = self._next_event()
                    receiver.receive(event, self._reader)
                except (ChannelBroken, OSError):
                    if ended is None:
                        raise
                    return ended  # the stage's end was reported, but not a clean container
                self.started |= "started" in event
                if "ended" in event:
                    ended = parse_end(event)
                elif "clean" in event and ended is not None:
                    return replace(ended, clean=True)

    def _next_event(self) -> Event:
        try:
            text = self._reader.readline(MESSAGE_BYTES)
        except OSError as error:
            raise ChannelBroken(f"the container stopped sending ({error})") from error
        if not text.endswith(b"\n"):
            raise ChannelBroken("the container ended without reporting how")
        try:
            event = json.loads(text)
        except ValueError as error:
            raise ChannelBroken("the container sent a malformed event") from error
        if not isinstance(event, dict):
            raise ChannelBroken("the container sent a malformed event")
        return event


def parse_end(event: Event) -> Ended:
    """Return the end of a stage as its supervisor reports it.

    Raises:
        ChannelBroken: the event is not of that form.
    """
    match event:
        case {
            "ended": [int(code), int(number)],
            "outcome": str() | None as outcome,
            "stopped": [str(), str()] | None as stopped,
            "refused": str(refused),
            "peak": int(peak),
        }:
            why = None if stopped is None else (stopped[0], stopped[1])
            return Ended(ProcessEnd(code, number, outcome), why, refused, peak, clean=False)
    raise ChannelBroken("the container does not report how its stage ended")


def accept(listener: socket.socket, made: Any) -> socket.socket:  # noqa: ANN401 - an SDK object
    """Return the connection to the first process of a container that was just started.

    Raises:
        ChannelBroken: no process connected, or another one.
    """
    limit = time.monotonic() + OPENING_SECONDS
    listener.settimeout(0.5)
    while True:
        try:
            channel, _ = listener.accept()
            break
        except TimeoutError:
            made.reload()  # an error when it has ended: then it has removed itself
            if made.status not in ("created", "running") or time.monotonic() > limit:
                raise ChannelBroken(f"the container did not connect: {made.status}") from None
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    made.reload()
    # with user namespaces the user's number differs outside; the process's number never does
    if user != USER and pid != made.attrs["State"]["Pid"]:
        channel.close()
        raise ChannelBroken("another process connected to the container's socket")
    channel.settimeout(None)
    return channel
