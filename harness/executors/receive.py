"""Receiver of a container's output: within limits, and below the stage's folders only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from harness.common.files import remove_tree
from harness.common.keys import files_below
from harness.executors.base import StageJob
from harness.executors.container_options import INODES

Event = Mapping[str, object]
"""JSON message of a container; untrusted, so every value is checked before use."""


class ChannelBroken(Exception):
    """End of a container's connection, or a message that it may not send; the text says which."""


class Receiver:
    """Writes what a container sends, within limits and below the stage's folders only.

    Args:
        job: job whose files arrive.
        limit: bytes of output, and of checkpoint, at once.
    """

    def __init__(self, job: StageJob, limit: int) -> None:
        self._folder, self._kept = job.folder, Path(job.file.checkpoint)
        self._limit, self._room, self._files = limit, 2 * limit, 2 * INODES
        (job.folder / "out").mkdir(parents=True, exist_ok=True)
        self._log = (job.folder / "log.txt").open("wb", buffering=0)  # progress is read from it
        self._aside = job.folder / "checkpoint"  # removed with the run, however it ends

    def close(self) -> None:
        """Close the log, and remove a checkpoint that did not arrive whole."""
        self._log.close()
        remove_tree(self._aside)

    def receive(self, event: Event, reader: BinaryIO) -> None:
        """Read the bytes that follow an event.

        Raises:
            ChannelBroken: a name that leads elsewhere, or more bytes than any stage may leave.
        """
        size = event.get("size", 0)
        if type(size) is not int or size < 0:
            raise ChannelBroken(f"the container says that {size!r:.80} bytes follow")
        if "log" in event:
            self._log.write(self._exactly(reader, size))
        elif "file" in event:
            self._save(reader, self._folder / output_name(event["file"]), size)
        elif "folder" in event:
            (self._folder / output_name(event["folder"])).mkdir(parents=True, exist_ok=True)
        elif "checkpoint" in event:
            self._save(reader, self._aside / relative_name(event["checkpoint"]), size)
        elif "kept" in event:
            if not isinstance(names := event["kept"], list):
                raise ChannelBroken(f"the container names files {names!r:.80}")
            self._keep([relative_name(name) for name in names])

    def _save(self, reader: BinaryIO, path: Path, size: int) -> None:
        self._files -= 1
        self._exactly(reader, 0)  # an empty file counts, too
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while size:
                piece = self._exactly(reader, min(size, 1 << 20))
                file.write(piece)
                size -= len(piece)

    def _exactly(self, reader: BinaryIO, size: int) -> bytes:
        self._room -= size
        if self._room < 0 or self._files < 0:
            raise ChannelBroken("the container sends more than a stage may leave")
        piece = reader.read(size)
        if len(piece) != size:
            raise ChannelBroken("the container ended in the middle of a file")
        return piece

    def _keep(self, names: list[str]) -> None:
        """Move a complete checkpoint into place, and delete files that it no longer holds."""
        for name in names:
            if (self._aside / name).is_file():
                (self._kept / name).parent.mkdir(parents=True, exist_ok=True)
                (self._aside / name).replace(self._kept / name)
        for path in files_below(self._kept):
            if str(path.relative_to(self._kept)) not in names:
                path.unlink()
        self._room = max(self._room, self._limit)  # the next one may be as large again


def output_name(name: object) -> str:
    """Return a name that a stage may leave: its output folder, or a path below that.

    Raises:
        ChannelBroken: another name; beside that folder lie files of the harness and of the service.
    """
    relative = relative_name(name)
    if Path(relative).parts[0] == "out":
        return relative
    raise ChannelBroken(f"the container names a file {name!r:.80}")


def relative_name(name: object) -> str:
    """Return a relative name that stays below the folder it is put into.

    Raises:
        ChannelBroken: the name does not stay below it.
    """
    if isinstance(name, str) and "\0" not in name:
        parts = Path(name).parts
        if parts and not Path(name).is_absolute() and ".." not in parts:
            return name
    raise ChannelBroken(f"the container names a file {name!r:.80}")
