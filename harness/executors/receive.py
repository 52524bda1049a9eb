"""What comes out of a container: taken over within limits, and below the stage's folders only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from harness.common.files import remove_tree
from harness.common.keys import files_below
from harness.executors.base import StageJob
from harness.executors.container_options import INODES


class LineBroken(Exception):
    """The container has ended, or sends what it should not; the message says which."""


class Intake:
    """Writes down what comes over the line, within limits and below the stage's folders only.

    Args:
        job: whose files come. limit: bytes of output, and of checkpoint, at once.
    """

    def __init__(self, job: StageJob, limit: int) -> None:
        self._folder, self._kept = job.folder, Path(job.job["checkpoint"])
        self._limit, self._room, self._files = limit, 2 * limit, 2 * INODES
        (job.folder / "out").mkdir(parents=True, exist_ok=True)
        self._log = (job.folder / "log.txt").open("wb", buffering=0)  # progress is read from it
        self._aside = job.folder / "checkpoint"  # goes with the run, whatever ends that

    def close(self) -> None:
        """Let go of the log, and of a checkpoint that did not arrive whole."""
        self._log.close()
        remove_tree(self._aside)

    def take(self, event: dict[str, Any], reader: BinaryIO) -> None:
        """Take over one event's bytes.

        Raises:
            LineBroken: a name that leads elsewhere, or more bytes than any stage may leave.
        """
        size = event.get("size", 0)
        if type(size) is not int or size < 0:
            raise LineBroken(f"the container says that {size!r:.80} bytes follow")
        if "log" in event:
            self._log.write(self._exactly(reader, size))
        elif "file" in event:
            self._save(reader, self._folder / own(event["file"]), size)
        elif "folder" in event:
            (self._folder / own(event["folder"])).mkdir(parents=True, exist_ok=True)
        elif "checkpoint" in event:
            self._save(reader, self._aside / inside(event["checkpoint"]), size)
        elif "kept" in event:
            self._keep([inside(name) for name in event["kept"]])

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


def own(name: object) -> str:
    """A name that a stage may leave: its outcome, its output, and what lies in that.

    Raises:
        LineBroken: another; beside them lie the harness's files, and its oracle's.
    """
    relative = inside(name)
    if relative == "outcome.json" or Path(relative).parts[0] == "out":
        return relative
    raise LineBroken(f"the container names a file {name!r:.80}")


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
