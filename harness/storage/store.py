"""Artefacts by stage key: written aside, verified, renamed; with a receipt each."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.common.errors import UserError
from harness.common.files import remove_tree, write_json
from harness.common.keys import ROOT, file_digest

RECEIPT = "receipt.json"
RECEIPT_SCHEMA = "receipt/1"


def default_root() -> Path:
    """``.gauntlet`` beside the harness, or ``$GAUNTLET_HOME``."""
    return Path(os.environ.get("GAUNTLET_HOME", ROOT / ".gauntlet"))


TRANSIENT = ("infra_error", "missing")
"""Statuses that say nothing about the stage: the next run tries it again."""


class Store:
    """A folder of artefacts, ``<root>/<first two hex>/<key>/``.

    Two harnesses may share it: an entry appears by one rename, and whoever comes second throws
    his own copy away – equal key, same run.

    Args:
        root: the folder. below: a store to read what is not here; it is never written.
        hidden: keys that are not to be found below, so that their stages run again.
    """

    def __init__(
        self, root: Path, below: Store | None = None, hidden: frozenset[str] = frozenset()
    ) -> None:
        self.root = root
        self._below, self._hidden = below, hidden
        self._verified: set[str] = set()
        try:
            self.aside.mkdir(parents=True, exist_ok=True)
            probe = self.aside / f"probe-{uuid.uuid4().hex}"
            probe.write_text("", encoding="utf-8")
            probe.unlink()
        except OSError as error:
            raise UserError(
                str(root),
                f"the store cannot be written ({error.strerror})",
                "free space or permissions, or set GAUNTLET_HOME to another folder",
            ) from error

    @property
    def aside(self) -> Path:
        """Where entries are prepared; the same file system, so that a rename is atomic."""
        return self.root / "aside"

    def path(self, key: str) -> Path:
        """Where an entry lies, whether it exists or not."""
        own = self._own(key)
        if self._below is None or key in self._hidden or own.exists():
            return own
        return self._below.path(key) if self._below.has(key) else own

    def _own(self, key: str) -> Path:
        return self.root / key[:2] / key

    def part(self, key: str, name: str) -> Path:
        """One part of an entry, as a mount: a folder below it (``""`` is the entry itself)."""
        return self.path(key) / name if name else self.path(key)

    def receipt(self, key: str) -> dict[str, Any] | None:
        """The entry's receipt, or ``None`` when there is no (readable) entry."""
        try:
            text = (self.path(key) / RECEIPT).read_text(encoding="utf-8")
            receipt: dict[str, Any] = json.loads(text)
        except (OSError, ValueError):
            return None
        return receipt if receipt.get("schema") == RECEIPT_SCHEMA else None

    def has(self, key: str, part: str = "") -> bool:
        """Whether the stage has a result, and this part of it has not been removed."""
        receipt = self.receipt(key)
        return receipt is not None and (not part or part not in receipt["removed"])

    def verify(self, key: str) -> bool:
        """Compare an entry's files with its receipt, once a process; a corrupt entry is dropped."""
        if key in self._verified:
            return True
        receipt = self.receipt(key)
        if receipt is None:
            return False
        folder = self.path(key)
        for name, known in receipt["files"].items():
            if name.partition("/")[0] in receipt["removed"]:
                continue
            file = folder / name
            if not file.is_file() or file_digest(file) != known:
                self.drop(key)
                return False
        self._verified.add(key)
        return True

    def commit(self, key: str, out: Path, receipt: dict[str, Any]) -> dict[str, Any]:
        """Make an entry of a stage's output folder, which is moved.

        An entry that is there stays, unless the stage had not really ended; a passing part that
        was removed from it comes back.

        Returns:
            The receipt of the entry that lies there now, which another harness may have made.

        Raises:
            UserError: the disk is full or not writable.
            ValueError: the output holds a link, a FIFO or a device.
        """
        files = {str(p.relative_to(out)): file_digest(p) for p in plain_files(out)}
        receipt = receipt | {"schema": RECEIPT_SCHEMA, "key": key, "files": files, "removed": []}
        target = self._own(key)
        aside = self.aside / f"{key[:16]}-{uuid.uuid4().hex[:8]}"
        with told(self.root):
            shutil.move(out, aside)
            write_json(aside / RECEIPT, receipt)
            target.parent.mkdir(parents=True, exist_ok=True)
            while not renamed(aside, target):
                first = self.receipt(key)
                if first is not None and not outdated(first, receipt["status"]):
                    receipt = self._restored(key, first, aside, receipt["files"])
                    break
                self.drop(key)
        self._verified.add(key)
        return receipt

    def adopt(self, key: str, entry: Path) -> None:
        """Take over a whole entry, receipt and all, unless there is one."""
        target = self._own(key)
        with told(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            renamed(entry, target)

    def _restored(
        self, key: str, first: dict[str, Any], aside: Path, made: dict[str, str]
    ) -> dict[str, Any]:
        """Give an entry the parts back that were removed from it; returns its receipt."""
        back = [part for part in first["removed"] if (aside / part).is_dir()]
        for part in back:
            remove_tree(self._own(key) / part)
            (aside / part).rename(self._own(key) / part)
            files = {name: d for name, d in made.items() if name.partition("/")[0] == part}
            first = first | {
                "files": first["files"] | files,
                "removed": [one for one in first["removed"] if one != part],
            }
        if back:
            write_json(self._own(key) / RECEIPT, first)
        remove_tree(aside)
        return first

    def remove_part(self, key: str, part: str) -> None:
        """Drop a part that has no reader left, and say so in the receipt first."""
        receipt, folder = self.receipt(key), self._own(key)
        if receipt is None or part in receipt["removed"] or not folder.is_dir():
            return
        write_json(folder / RECEIPT, receipt | {"removed": [*receipt["removed"], part]})
        remove_tree(folder / part)

    def drop(self, key: str) -> None:
        """Remove an entry whole: aside first, so that no half entry is ever seen."""
        self._verified.discard(key)
        grave = self.aside / f"dropped-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            self._own(key).rename(grave)
            remove_tree(grave)

    def entries(self) -> Iterator[str]:
        """Every key that has an entry."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            yield folder.name

    def size(self, key: str) -> int:
        """Bytes of an entry."""
        return sum(p.stat().st_size for p in self.path(key).rglob("*") if p.is_file())


def outdated(first: dict[str, Any], status: str) -> bool:
    """Whether an entry says less than what a stage has now ended in."""
    return first["status"] in TRANSIENT or bool(first["removed"] and status != "ok")


def renamed(source: Path, target: Path) -> bool:
    """Rename a folder, unless there is one already."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


@contextlib.contextmanager
def told(where: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise UserError(
            str(where),
            f"the store cannot be written ({error.strerror})",
            "free some space (gauntlet clean) or permissions; what was computed is kept",
        ) from error


def plain_files(folder: Path) -> list[Path]:
    """Every file below ``folder``.

    Raises:
        ValueError: something there is not a plain file or folder, or a file has two names.
    """
    if folder.is_symlink():
        raise ValueError(f"{folder.name} is a link, not a folder")
    found = []
    for path in sorted(folder.rglob("*")):
        mode = path.lstat()
        if stat.S_ISDIR(mode.st_mode):
            continue
        if not stat.S_ISREG(mode.st_mode):
            raise ValueError(f"the output holds {path.name}, which is not a plain file")
        if mode.st_nlink > 1:
            raise ValueError(f"the output holds {path.name}, a hard link")
        found.append(path)
    return found
