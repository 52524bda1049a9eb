"""Trees of records: which files are there, and which of them were withdrawn.

A record is withdrawn by *adding* a file beside it; the record stays as it was.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.common.errors import UserError
from harness.common.files import write_json
from harness.results.checks import Strict
from harness.results.records import Record, read

RETRACTION = "retraction/1"
RETRACTIONS = "retractions"
"""Folder beside the records that they withdraw."""


class Retraction(Strict):
    """Reason why a record no longer counts; it covers every record of an equal result.

    Attributes:
        record: name of the record's file, without its ending.
        cell: the cell's id.
        result: the record's ``result``.
        date: ISO date of the retraction.
        why: one sentence.
    """

    schema_: Literal["retraction/1"] = Field(alias="schema")
    record: str
    cell: str
    result: str
    date: str
    why: str


@dataclass(frozen=True)
class Withdrawal:
    """A record that no longer counts.

    Attributes:
        record: name of the record's file, without its ending.
        retraction: the reason, or ``None`` where its file cannot be read.
    """

    record: str
    retraction: Retraction | None


def retract(root: Path, name: str, why: str) -> Path:
    """Withdraw a record by *adding* a file that names it; the record stays as it was.

    Args:
        root: the tree of records.
        name: the record's file name, or enough of its beginning.
        why: one sentence, for readers who look for the number.

    Raises:
        UserError: no or several such records, a broken one, or it is withdrawn already.
    """
    matches = [path for path in walk(root) if path.stem.startswith(Path(name).stem)]
    if len(matches) != 1:
        what = f"{len(matches)} published records have a name that begins so"
        raise UserError(name, what, f"give the file name of one in {root}")
    (path,) = matches
    record = read(path)
    target = path.parent / RETRACTIONS / path.name
    if target.exists():
        raise UserError(name, "is withdrawn already", f"see {target}")
    retraction = {
        "schema": RETRACTION,
        "record": path.stem,
        "cell": record.id,
        "result": record.result,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "why": why,
    }
    write_json(target, retraction)
    return target


def retractions(*roots: Path) -> tuple[list[Withdrawal], list[UserError]]:
    """Return every withdrawal below the roots, and what is wrong with the unreadable ones.

    An unreadable one counts still: its name says which record is withdrawn.
    """
    withdrawn, errors = [], []
    patterns = (f"*/{RETRACTIONS}/*.json", f"{RETRACTIONS}/*.json")  # of a tree, of a benchmark
    folders = [root.parent if root.is_file() else root for root in roots]
    paths = {p for folder in folders for pattern in patterns for p in folder.glob(pattern)}
    for path in sorted(paths):
        retraction: Retraction | None = None
        try:
            retraction = _read_retraction(path)
        except (OSError, ValueError, RecursionError, UserError) as error:
            what = f"not a valid retraction: {' '.join(str(error).split())}"
            errors.append(UserError(str(path), what, "restore it from git"))
        withdrawn.append(Withdrawal(path.stem, retraction))
    return withdrawn, errors


def _read_retraction(path: Path) -> Retraction:
    retraction = Retraction.model_validate(json.loads(path.read_text(encoding="utf-8")))
    record = read(path.parent.parent / path.name)
    if (retraction.record, retraction.result) != (path.stem, record.result):
        raise ValueError(f"names another record than {path.stem}")
    return retraction


def walk(*roots: Path) -> Iterator[Path]:
    """Yield every record file below the roots, sorted.

    Args:
        roots: trees of records, folders of one benchmark in a tree, or files of records.
    """
    for root in roots:
        tree = [root] if root.is_file() else root.glob("*/*.json")
        below = sorted(path for path in tree if path.parent.name != RETRACTIONS)
        yield from below or sorted(root.glob("*.json"))


def load_all(*roots: Path) -> tuple[list[Record], list[UserError]]:
    """Return every readable record that is not withdrawn, and what is wrong with the others."""
    withdrawn, errors = retractions(*roots)
    names = {one.record for one in withdrawn}
    results = {one.retraction.result for one in withdrawn if one.retraction}
    good = []
    for path in walk(*roots):
        try:
            record = read(path)
        except UserError as error:
            errors.append(error)
            continue
        if path.stem not in names and record.result not in results:
            good.append(record)
    return good, errors


def withdrawals(*roots: Path) -> dict[str, str]:
    """Return cell id → when and why its record was withdrawn, the latest of several."""
    reasons = [one.retraction for one in retractions(*roots)[0] if one.retraction]
    reasons.sort(key=lambda one: one.date)
    return {one.cell: f"withdrawn on {one.date}: {one.why}" for one in reasons}
