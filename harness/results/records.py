"""Records: one JSON file a cell, write-once, named by its content; schema and whole tree."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.common.errors import UserError
from harness.common.files import write_json
from harness.common.keys import digest
from harness.config.threat import By, Status

SCHEMA = "record/1"
RETRACTION = "retraction/1"
RETRACTIONS = "retractions"
"""Folder beside the records that they withdraw."""
RESULT_LEAVES_OUT = ("run", "result")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CellInfo(_Strict):
    """Which cell it is, in the benchmark's words."""

    benchmark: str
    matrix: str
    task: Literal["classification", "ranking", "segmentation"]
    threat_model: str
    victim: str
    defense: str
    attack: str
    defense_module: str
    attack_module: str
    budget: dict[str, str | int | float | bool]
    budget_label: str
    goal: str
    knowledge: str
    data: dict[str, str]
    seed: int


class Metric(_Strict):
    """A figure with its interval and counts, or the reason for its absence."""

    value: float | None = None
    k: int | None = None
    n: int | None = None
    lo: float | None = None
    hi: float | None = None
    level: float | None = None
    method: str | None = None
    absent: str | None = None


class Flag(_Strict):
    """Something that looks wrong, as a sentence."""

    name: str
    text: str


class Environment(_Strict):
    """What the stages ran in; part of the result."""

    executor: Literal["local", "docker"]
    device: Literal["cpu", "cuda"]
    python: str
    torch: str
    lock: str
    threads: int


class Run(_Strict):
    """Run id, times, memory and machine: everything that may differ between equal results."""

    id: str
    commit: str | None
    dirty: bool | None
    finished: str
    seconds: dict[str, float]
    hook_seconds: dict[str, float]
    peak_memory: dict[str, int]
    machine: str
    images: dict[str, str] = Field(default_factory=dict)


class Record(_Strict):
    """One cell's record, as stored.

    Attributes:
        by: what a cell without a result is put down to. Absent where it has one, and in records
            from before the field, for which nothing is guessed.
    """

    schema_: Literal["record/1"] = Field(alias="schema")
    key: str
    id: str
    cell: CellInfo
    status: Status
    stage: str | None
    reason: str | None
    by: By | None = None
    metrics: dict[str, Metric]
    parts: dict[str, Metric]
    outcomes: dict[str, str | int] | None
    confusions: dict[str, str | list[int] | list[str]] | None
    flips: dict[str, int | str | list[int] | list[float] | list[str]] | None = None
    perturbation: dict[str, float | int] | None
    queries: dict[str, float | int] | None
    cost: dict[str, dict[str, int]]
    flags: list[Flag]
    notes: list[str]
    stages: dict[str, str]
    members: list[str]
    modules: dict[str, str]
    params: dict[str, dict[str, str | int | float | bool]]
    method: int
    environment: Environment
    run: Run
    result: str


class Retraction(_Strict):
    """Why a record no longer counts; every record of an equal result goes with it."""

    schema_: Literal["retraction/1"] = Field(alias="schema")
    record: str
    cell: str
    result: str
    date: str
    why: str


def result_digest(record: dict[str, Any]) -> str:
    """Digest of everything but run id, times, memory and machine: equal means equal ``result``."""
    return digest({k: v for k, v in record.items() if k not in RESULT_LEAVES_OUT})


def finish(record: dict[str, Any]) -> dict[str, Any]:
    """Add schema and ``result``, and validate; a record that is not valid is a bug of ours."""
    record = {"schema": SCHEMA, **record}
    record["result"] = result_digest(record)
    Record.model_validate(record)
    return record


def write(root: Path, record: dict[str, Any]) -> Path:
    """Write a record once, under its content's digest; an equal one is left as it is."""
    path: Path = root / str(record["cell"]["benchmark"]) / f"{digest(record)[:32]}.json"
    if not path.exists():
        write_json(path, record)
    return path


def read(path: Path) -> dict[str, Any]:
    """Read and validate one record.

    Raises:
        UserError: not JSON, not of the schema, or changed since it was written.
    """
    fix = "delete the file and run the benchmark again; a published one: restore it from git"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
        schema = record.get("schema")
        if not str(schema).startswith("record/"):
            raise UserError(str(path), "not a record", "name a record's file, or a folder of them")
        if schema != SCHEMA:
            raise UserError(
                str(path), f"schema {schema!r}, expected {SCHEMA!r}", "upgrade gauntlet"
            )
        Record.model_validate(record)
        whole = record["result"] == result_digest(record) and path.stem == digest(record)[:32]
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(str(path), f"not a valid record: {what}", fix) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(str(path), f"not a readable record: {error}", fix) from error
    if not whole:
        raise UserError(str(path), "the content does not match its digest", fix)
    return record


def retract(root: Path, name: str, why: str) -> Path:
    """Withdraw a record by *adding* a file that names it; the record stays as it was.

    Args:
        root: the tree of records. name: the record's file name, or enough of its beginning.
        why: one sentence, for whoever looks for the number.

    Raises:
        UserError: no or several such records, a broken one, or it is withdrawn already.
    """
    fitting = [path for path in walk(root) if path.stem.startswith(Path(name).stem)]
    if len(fitting) != 1:
        what = f"{len(fitting)} published records have a name that begins so"
        raise UserError(name, what, f"give the file name of one in {root}")
    (path,) = fitting
    record = read(path)
    kept = path.parent / RETRACTIONS / path.name
    if kept.exists():
        raise UserError(name, "is withdrawn already", f"see {kept}")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    retraction = {"schema": RETRACTION, "record": path.stem, "cell": record["id"],
                  "result": record["result"], "date": date, "why": why}  # fmt: skip
    write_json(kept, retraction)
    return kept


def retractions(*roots: Path) -> tuple[list[dict[str, Any]], list[UserError]]:
    """Every retraction below the roots, and what is wrong with the others.

    One that cannot be read counts still: its name says which record is withdrawn.
    """
    good, errors = [], []
    patterns = (f"*/{RETRACTIONS}/*.json", f"{RETRACTIONS}/*.json")  # of a tree, of a benchmark
    folders = [root.parent if root.is_file() else root for root in roots]
    for path in sorted({p for root in folders for one in patterns for p in root.glob(one)}):
        found: dict[str, Any] = {"record": path.stem}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            Retraction.model_validate(found)
            record = read(path.parent.parent / path.name)
            if (found["record"], found["result"]) != (path.stem, record["result"]):
                raise ValueError(f"names another record than {path.stem}")
        except (OSError, ValueError, RecursionError, UserError) as error:
            what = f"not a valid retraction: {' '.join(str(error).split())}"
            errors.append(UserError(str(path), what, "restore it from git"))
            found = {"record": path.stem}
        good.append(found)
    return good, errors


def walk(*roots: Path) -> Iterator[Path]:
    """Yield every record file below the roots, sorted.

    A root is a tree of records, one benchmark's folder in it, or a record's file.
    """
    for root in roots:
        tree = [root] if root.is_file() else root.glob("*/*.json")
        below = sorted(path for path in tree if path.parent.name != RETRACTIONS)
        yield from below or sorted(root.glob("*.json"))


def load_all(*roots: Path) -> tuple[list[dict[str, Any]], list[UserError]]:
    """Every readable record that is not withdrawn, and what is wrong with the others."""
    withdrawn, errors = retractions(*roots)
    names = {one["record"] for one in withdrawn}
    results = {one.get("result") for one in withdrawn}
    good = []
    for path in walk(*roots):
        try:
            record = read(path)
        except UserError as error:
            errors.append(error)
            continue
        if path.stem not in names and record["result"] not in results:
            good.append(record)
    return good, errors


def withdrawals(*roots: Path) -> dict[str, str]:
    """Cell id → when and why its record was withdrawn, the latest of several."""
    found = [one for one in retractions(*roots)[0] if "cell" in one]
    found.sort(key=lambda one: str(one["date"]))
    return {one["cell"]: f"withdrawn on {one['date']}: {one['why']}" for one in found}


def newest_by_key(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key → record; of several, a result beats a failure, then the latest counts."""
    return {record["key"]: record for record in in_order(found)}


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records so that the last of several is the one that counts: results after failures."""
    return sorted(found, key=lambda r: (r["status"] == "ok", r["run"]["finished"]))
