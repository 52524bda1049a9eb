"""Names of the files of a data source: which are ignored, and which clash."""

from __future__ import annotations

import unicodedata

from harness.common.errors import UserError
from harness.common.text import escape

RESOURCES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})
"""Files and folders that systems leave beside pictures, in lower case; others begin with a dot."""


def is_ignored(name: str) -> bool:
    """Return whether a name below a folder is, or lies in, a hidden or a resource file.

    >>> is_ignored("train/cat/._0.png"), is_ignored("__MACOSX/0.png"), is_ignored("train/0.png")
    (True, True, False)
    """
    return any(
        part.startswith(".") or part.lower() in RESOURCES for part in name.split("/") if part
    )


def fold(name: str) -> str:
    """Return a name as systems that ignore case, or the form of accents, compare it.

    >>> fold("A.JPG") == fold("a.jpg")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()


def check_encoding(name: str, where: str) -> None:
    """Check that a name is text: ids and digests are made from it.

    Raises:
        UserError: it has bytes that are not UTF-8, which Python reads as lone surrogates.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        what = "has a name that is not UTF-8"
        raise UserError(escape(where), what, "rename it, or mount or unpack it as UTF-8") from error


class CaseClashes:
    """Names of one source, compared regardless of case: two systems would read other files."""

    def __init__(self) -> None:
        self._spelling: dict[str, str] = {}

    def check(self, name: str, where: str) -> None:
        """Check that no other name, nor a folder in it, differs in case or accents alone.

        Raises:
            UserError: there is such a name.
        """
        end = len(name)
        while end > 0:
            known = self._spelling.setdefault(fold(name[:end]), name[:end])
            if known != name[:end]:
                what = f"differs from {known} in case or accents alone"
                raise UserError(where, what, "rename one of them")
            end = name.rfind("/", 0, end)
