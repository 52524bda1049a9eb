"""Archives that an image build sends to the engine and reads from it."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO, Any


class Stream(io.RawIOBase):
    """Chunks of bytes as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill a buffer as far as the next chunk reaches."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class Context:
    """Archive of a build's files, in a file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - ``close`` closes it
        self._archive = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115 - as above

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        self._archive.addfile(entry, io.BytesIO(content))

    def finish(self) -> IO[bytes]:
        """Return the archive, to be read from its beginning."""
        self._archive.close()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Delete it."""
        self._archive.close()
        self._file.close()
