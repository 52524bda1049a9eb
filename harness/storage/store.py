"""Store of artefacts by stage key: each is prepared aside, verified and renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.common.errors import UserError
from harness.common.files import remove_tree, write_json
from harness.common.keys import ROOT, file_digest
from harness.common.status import TRANSIENT, Status
from harness.storage.receipt import RECEIPT, Receipt, ReceiptDraft

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Error numbers of a disk that is full or may not be written to."""


def default_root() -> Path:
    """Return ``$GAUNTLET_HOME``, or ``.gauntlet`` beside the harness."""
    return Path(os.environ.get("GAUNTLET_HOME", ROOT / ".gauntlet"))


class Store:
    """Folder of artefacts, ``<root>/<first two hex>/<key>/``.

    Two harnesses may share it: an entry appears by one rename, and the second harness to arrive
    deletes its own copy, because an equal key means the same run.

    Args:
        root: the folder.
        below: another store that is read where this one has no entry; it is never written.
        hidden: keys that are not looked up below, so that their stages run again.
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
        """Folder in which entries are prepared; on the same file system, so a rename is atomic."""
        return self.root / "aside"

    def path(self, key: str) -> Path:
        """Return the folder of an entry, whether it exists or not."""
        own = self._own(key)
        if self._below is None or key in self._hidden or own.exists():
            return own
        return self._below.path(key) if self._below.has(key) else own

    def _own(self, key: str) -> Path:
        return self.root / key[:2] / key

    def part(self, key: str, name: str) -> Path:
        """Return the folder of one part of an entry; ``""`` is the entry itself."""
        return self.path(key) / name if name else self.path(key)

    def receipt(self, key: str) -> Receipt | None:
        """Return an entry's receipt, or ``None`` when there is no (readable) entry."""
        try:
            return Receipt.from_json((self.path(key) / RECEIPT).read_bytes())
        except (OSError, ValueError):
            return None

    def has(self, key: str, part: str = "") -> bool:
        """Return whether the stage has a result, and this part of it has not been removed."""
        receipt = self.receipt(key)
        return receipt is not None and (not part or part not in receipt.removed)

    def verify(self, key: str) -> bool:
        """Compare an entry's files with its receipt, once a process; a corrupt entry is dropped."""
        if key in self._verified:
            return True
        receipt = self.receipt(key)
        if receipt is None:
            return False
        if not is_intact(self.path(key), receipt):
            self.drop(key)
            return False
        self._verified.add(key)
        return True

    def commit(self, key: str, out: Path, draft: ReceiptDraft, *, linked: bool = False) -> Receipt:
        """Make an entry of a stage's output folder, which is moved.

        An existing entry stays, unless it says less than the new one (see ``is_superseded``). If
        an intermediate artefact was removed from it, that part is restored.

        Args:
            key: key of the stage.
            out: its output folder.
            draft: how it ended.
            linked: whether a file may have a second name elsewhere. Stages of the harness link
                arrays that they store unchanged; a module's link could be changed from outside.

        Returns:
            The receipt of the entry that lies there now, which another harness may have made.

        Raises:
            UserError: the disk is full or not writable.
            ValueError: the output holds a link, a FIFO or a device.
        """
        files = plain_files(out, linked=linked)
        receipt = draft.complete(key, {str(p.relative_to(out)): file_digest(p) for p in files})
        target = self._own(key)
        aside = self.aside / f"{key[:16]}-{uuid.uuid4().hex[:8]}"
        with report_disk_errors(self.root):
            shutil.move(out, aside)
            write_json(aside / RECEIPT, receipt.to_json())
            target.parent.mkdir(parents=True, exist_ok=True)
            # the rename fails only where an entry exists: keep that one, or drop it and try again
            while not rename_folder(aside, target):
                first = self.receipt(key)
                if first is not None and not is_superseded(first, receipt.status):
                    receipt = self._restore_parts(first, aside, receipt.files)
                    break
                self.drop(key)
        self._verified.add(key)
        return receipt

    def adopt(self, key: str, entry: Path) -> None:
        """Move a complete entry with its receipt into the store, unless there is one already."""
        target = self._own(key)
        with report_disk_errors(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            rename_folder(entry, target)

    def _restore_parts(self, first: Receipt, aside: Path, made: Mapping[str, str]) -> Receipt:
        """Move removed parts of an entry back into it from a new copy; return its receipt."""
        entry = self._own(first.key)
        back = [part for part in first.removed if (aside / part).is_dir()]
        for part in back:
            remove_tree(entry / part)
            (aside / part).rename(entry / part)
        if back:
            files = {name: sha for name, sha in made.items() if name.partition("/")[0] in back}
            removed = tuple(part for part in first.removed if part not in back)
            first = replace(first, files={**first.files, **files}, removed=removed)
            write_json(entry / RECEIPT, first.to_json())
        remove_tree(aside)
        return first

    def remove_part(self, key: str, part: str) -> None:
        """Delete a part of an entry; the receipt says so first, in case of an interruption."""
        receipt, folder = self.receipt(key), self._own(key)
        if receipt is None or part in receipt.removed or not folder.is_dir():
            return
        receipt = replace(receipt, removed=(*receipt.removed, part))
        write_json(folder / RECEIPT, receipt.to_json())
        remove_tree(folder / part)

    def drop(self, key: str) -> None:
        """Remove an entry: it is renamed first, so that no reader sees half an entry."""
        self._verified.discard(key)
        dropped = self.aside / f"dropped-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            self._own(key).rename(dropped)
            remove_tree(dropped)

    def entries(self) -> Iterator[str]:
        """Yield every key that has an entry."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            yield folder.name

    def size(self, key: str) -> int:
        """Return the bytes of an entry."""
        return sum(p.stat().st_size for p in self.path(key).rglob("*") if p.is_file())


def is_intact(folder: Path, receipt: Receipt) -> bool:
    """Return whether an entry holds every file of its receipt, unchanged, but for removed parts."""
    return all(
        name.partition("/")[0] in receipt.removed
        or ((folder / name).is_file() and file_digest(folder / name) == known)
        for name, known in receipt.files.items()
    )


def is_superseded(first: Receipt, status: Status) -> bool:
    """Return whether an entry says less than the status that its stage has now ended in."""
    return first.status in TRANSIENT or bool(first.removed and status != "ok")


def rename_folder(source: Path, target: Path) -> bool:
    """Rename a folder; return false where the target exists already."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


@contextlib.contextmanager
def report_disk_errors(where: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into one clear line.

    Raises:
        UserError: the block could not write; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(
            str(where),
            f"the store cannot be written ({error.strerror})",
            "free some space (gauntlet clean) or permissions; what was computed is kept",
        ) from error


def plain_files(folder: Path, *, linked: bool = False) -> list[Path]:
    """Return every file below a folder, in order.

    Args:
        folder: where to look.
        linked: whether a file may have two names, as long as nobody may write to it.

    Raises:
        ValueError: an entry is not a plain file or folder, or a file has two names.
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
        if mode.st_nlink > 1 and not (linked and not mode.st_mode & 0o222):
            raise ValueError(f"the output holds {path.name}, a hard link")
        found.append(path)
    return found
