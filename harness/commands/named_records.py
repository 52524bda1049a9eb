"""Records that a file or an address names: a record's file, a cell's page, its page's records."""

from __future__ import annotations

import http.client
import json
import os.path
import re
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.results import records
from harness.results.records import Record
from harness.workspace import Workspace

ADDRESS = re.compile(r"(https?|file)://\S+")
ENDINGS = (".json", ".html")
SECONDS = 30
"""Time limit of a download that sends nothing."""
MOST_BYTES = 1 << 28
"""Largest page or record that is read; a record of 2,000 images of 150 classes fits in it."""


@dataclass
class CellPage(HTMLParser):
    """Reader of a cell's page: where its records are, and which anchor is of which record.

    Attributes:
        records: link to the page's records, relative to it; ``None`` on any other page.
        results: anchor → ``result`` of the record that it stands for.
    """

    records: str | None = None
    results: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the link of the records and the anchors."""
        found = {name: value or "" for name, value in attrs}
        if tag == "link" and found.get("title") == "Gauntlet records":
            self.records = found.get("href")
        if found.get("id") and found.get("data-result"):
            self.results[found["id"]] = found["data-result"]

    def chosen(self, anchor: str, where: str) -> set[str]:
        """Return the results that an anchor names: a record, a budget's, or without one all.

        Raises:
            UserError: the page has no such anchor.
        """
        chosen = {
            result
            for name, result in self.results.items()
            if not anchor or re.fullmatch(rf"{re.escape(anchor)}(-s\d+)?", name)
        }
        if not self.results:
            fix = "run its benchmark first, or name the page of another cell"
            raise UserError(where, "its cell has no record yet", fix)
        if not chosen:
            names = ", ".join(f"#{name}" for name in sorted(self.results)[:4])
            raise UserError(where, f"no record at #{anchor}", f"name another, such as {names}")
        return chosen


def is_place(text: str) -> bool:
    """Return whether a text names a file or an address rather than a cell or a digest."""
    path, _ = urldefrag(text)
    return bool(ADDRESS.fullmatch(text)) or path.endswith(ENDINGS) or os.path.isfile(path)


def read_named(workspace: Workspace, text: str) -> list[Record]:
    """Read the records that a file or an address names.

    Args:
        workspace: the checkout; a page may be named relative to its site.
        text: path or ``https``, ``http`` or ``file`` address of a record's file, of a cell's page
            or of the records beside it. After ``#`` a page's anchor of one record or one budget.

    Raises:
        UserError: it cannot be read, holds no records, or has no such anchor.
    """
    place, anchor = urldefrag(text)
    address = place if ADDRESS.fullmatch(place) else _find_file(workspace, place).as_uri()
    content = _fetch(address, place)
    if content.lstrip()[:1] == "{":
        name = Path(place).stem if _is_digest(Path(place).stem) else None
        record = records.parse(content, place, name)
        return [_check(record, place)]
    if content.lstrip()[:1] == "[":
        return _parse_list(content, place)
    page = CellPage()
    page.feed(content)
    if page.records is None:
        fix = "name the page of one cell, its records as JSON, or a record's file"
        raise UserError(place, "not the page of a cell", fix)
    chosen = page.chosen(anchor, place)
    try:
        beside = urljoin(address, page.records)
    except ValueError as error:
        what = f"its records are at {one_line(page.records)}, which is no address"
        raise UserError(place, what, "name that file instead") from error
    # a page from elsewhere may not point to files of this machine
    if address.partition(":")[0] != beside.partition(":")[0]:
        raise UserError(place, f"its records are at {beside}", "name that file instead")
    found = [one for one in _parse_list(_fetch(beside, beside), beside) if one.result in chosen]
    if len(found) < len(chosen):
        raise UserError(place, "its records are of another version", "build the site again")
    return found


def _is_digest(stem: str) -> bool:
    return re.fullmatch("[0-9a-f]{32}", stem) is not None


def _find_file(workspace: Workspace, place: str) -> Path:
    found = next((p for p in (Path(place), workspace.site / place) if os.path.isfile(p)), None)
    if found is None:
        raise UserError(place, "no such file", "name a cell's page, its address or a record's file")
    return found.resolve()


def _fetch(address: str, place: str) -> str:
    """Return the text at an address."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read(MOST_BYTES + 1)
            missing = getattr(answer, "length", None)  # of HTTP: read() with a limit does not say
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        if missing:
            raise ValueError(f"ends {missing:,} bytes early")
        return content.decode("utf-8")
    # of the network, of the address or the text, of the answer
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = one_line(str(getattr(error, "reason", error))) or type(error).__name__
        fix = "download the page and the records beside it, and name the file"
        raise UserError(place, f"cannot be read ({reason})", fix) from error


def _parse_list(content: str, where: str) -> list[Record]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(where, f"no records: {error}", "download it again") from error
    if not isinstance(fields, list) or not fields:
        raise UserError(where, "no records", "name a cell's page or a record's file")
    return [_check(records.from_brief(one, where), where) for one in fields]


def _check(record: Record, where: str) -> Record:
    """Check what git and the checkout are asked for: the record's commit and its benchmark."""
    for what, value, pattern in (
        ("run.commit", record.run.commit, "[0-9a-f]{7,64}"),
        ("cell.benchmark", record.cell.benchmark, "[A-Za-z0-9_][A-Za-z0-9_.-]*"),
    ):
        if value is not None and not re.fullmatch(pattern, value):
            fix = "take it from a page that gauntlet made"
            raise UserError(where, f"not a valid record: {what} is {one_line(value)!r}", fix)
    return record
