"""A shared copy of the store behind an fsspec URL: what one machine computed, another need not.

The store itself stays a local folder, because stages memory-map their inputs and because an entry
appears by a rename, which object stores do not have. An entry travels as one tar file.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import fsspec

from harness.common.errors import UserError
from harness.common.files import read_json
from harness.common.keys import file_digest
from harness.storage.store import RECEIPT, Store


class Mirror:
    """Entries at ``<url>/<first two hex>/<key>.tar``.

    Whoever can write there decides what your stages read, so share it only with machines that you
    trust; digests protect against damage, not against malice.

    Args:
        url: anything fsspec opens: a folder, ``s3://…``, ``memory://…``.

    Raises:
        UserError: fsspec knows no such protocol, or it needs a package that is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UserError(
                "--mirror", f"cannot open {url}: {error}", "give a folder or URL"
            ) from error

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key[:2]}/{key}.tar"

    def push(self, store: Store, key: str) -> None:
        """Copy an entry up, unless it is there; passing parts travel while they exist."""
        path = self._path(key)
        if self._files.exists(path):
            return
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with tempfile.TemporaryFile() as whole:
            with tarfile.open(fileobj=whole, mode="w") as tar:
                tar.add(store.path(key), arcname=".")
            whole.seek(0)
            with self._files.open(path, "wb") as file:
                while block := whole.read(1 << 20):
                    file.write(block)

    def pull(self, store: Store, key: str) -> bool:
        """Copy an entry down, if it is there and undamaged; says whether it came."""
        path = self._path(key)
        if not self._files.exists(path):
            return False
        with tempfile.TemporaryDirectory(dir=store.aside) as folder:
            out = Path(folder) / "entry"
            try:
                with self._files.open(path, "rb") as file, tarfile.open(fileobj=file) as tar:
                    tar.extractall(out, filter="data")
                receipt = read_json(out / RECEIPT)
                whole = all(
                    name.partition("/")[0] in receipt["removed"] or file_digest(out / name) == known
                    for name, known in receipt["files"].items()
                )
            except (tarfile.TarError, OSError, ValueError, KeyError, TypeError):
                return False
            if not whole or receipt.get("key") != key:
                return False
            store.adopt(key, out)
        return True
