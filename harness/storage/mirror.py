"""Shared copy of the store behind an fsspec URL, so that machines reuse each other's results.

The store itself stays a local folder, because stages memory-map their inputs and because an entry
appears by a rename, which object stores do not have. An entry travels as one tar file.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import fsspec

from harness.common.errors import UserError
from harness.storage.receipt import RECEIPT, Receipt
from harness.storage.store import Store, is_intact


class Mirror:
    """Entries at ``<url>/<first two hex>/<key>.tar``.

    A machine with write access decides what your stages read, so share it only with machines that
    you trust; digests protect against damage, not against malice.

    Args:
        url: any address that fsspec opens: a folder, ``s3://…``, ``memory://…``.

    Raises:
        UserError: fsspec does not know the protocol, or needs a package that is not installed.
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
        """Upload an entry, unless it is there; intermediate artefacts travel while they exist."""
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
        """Download an entry, if it is there and undamaged; return whether it arrived."""
        path = self._path(key)
        if not self._files.exists(path):
            return False
        with tempfile.TemporaryDirectory(dir=store.aside) as folder:
            out = Path(folder) / "entry"
            try:
                with self._files.open(path, "rb") as file, tarfile.open(fileobj=file) as tar:
                    tar.extractall(out, filter="data")
                receipt = Receipt.from_json((out / RECEIPT).read_bytes())
                if receipt.key != key or not is_intact(out, receipt):
                    return False
            except (tarfile.TarError, OSError, ValueError):
                return False
            store.adopt(key, out)
        return True
