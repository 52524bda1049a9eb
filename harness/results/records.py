"""Records: one write-once JSON file a cell, named by its content.

A record is read and handed on as a frozen ``Record``. Digests are taken of its JSON form with
exactly the fields that it was made with, so that records from before a field keep their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.common.errors import UserError
from harness.common.files import write_json
from harness.common.keys import digest
from harness.common.status import By, Status
from harness.results.checks import UNCHECKED, RecordedCheck, Strict
from harness.results.outcome import outcome_digest
from harness.results.record_parts import (
    HandedOver,
    Metric,
    Number,
    RecordedCell,
    RecordedEnvironment,
    RecordedFlag,
    Run,
    Scalar,
)

__all__ = [
    "Metric",
    "Number",
    "Record",
    "RecordedCell",
    "RecordedEnvironment",
    "RecordedFlag",
    "Run",
    "finish",
    "from_brief",
    "in_order",
    "newest_by_key",
    "outcome_of",
    "parse",
    "read",
    "result_digest",
    "to_brief",
    "write",
]

SCHEMA = "record/1"
RESULT_LEAVES_OUT = ("run", "result", "outcome")
"""Fields that may differ between equal results, and digests."""
PACKED = ("outcomes", "confusions", "flips")
"""Fields of packed arrays."""
RESTORE = "delete the file and run the benchmark again; a published one: restore it from git"

Json = dict[str, object]


class Record(Strict):
    """One cell's record.

    Attributes:
        key: the cell's key.
        id: the cell's id.
        cell: the cell as its benchmark names it.
        status: how the cell ended.
        stage: kind of the stage that failed.
        reason: one sentence, unless the status is ``ok``.
        by: role that a cell without a result is put down to; absent in others and older records.
        metrics: name → figure.
        parts: name → figure of one class or attribute.
        outcomes: packed outcome of each example (``codec.unpack_outcomes``).
        confusions: packed confusion matrices of each image (``codec.unpack_confusions``).
        flips: packed edited comparisons (``codec.unpack_flips``).
        perturbation: sizes of the change, as the judge measured them.
        queries: queries per example, as the oracle counted them.
        attention: mode of attention maps → figure; absent where the matrix keeps none.
        health: figures on the gradients of a white-box cell's network (names:
            ``runtime.worker.health_names``), of the attack's own passes (of several in order, the
            first's) and of the network's probe.
            Absent in other cells, and in records from before the field.
        cost: stage's role → direction → rows sent through a network; and training steps. Of attacks
            in order, ``attack`` is the sum.
        flags: what looks wrong.
        notes: sentences that belong beside the figures.
        examples: digest of the judged inputs and labels, in any order; absent in older records.
        handed: attacks in order, where each was run on what still stood; absent in other cells.
        stages: role → stage key.
        members: cell ids that an ensemble is judged from.
        modules: module → digest of its folder.
        params: role → the module's parameters.
        method: version of the judge's method.
        environment: environment that the stages ran in.
        run: run id, times, memory and machine.
        result: digest of everything but ``run``; equal for equal results of one environment.
        outcome: digest of what was judged alone (``outcome_digest``), equal in any environment.
            Absent in records from before the field; ``outcome_of`` computes it from what they hold.
    """

    schema_: Literal["record/1"] = Field(alias="schema")
    key: str
    id: str
    cell: RecordedCell
    status: Status
    stage: str | None
    reason: str | None
    by: By | None = None
    metrics: dict[str, Metric]
    parts: dict[str, Metric]
    outcomes: dict[str, str | int] | None
    confusions: dict[str, str | list[int] | list[str]] | None
    flips: dict[str, int | str | list[Number] | list[str]] | None = None
    perturbation: dict[str, Number] | None
    queries: dict[str, Number] | None
    attention: dict[str, dict[str, Metric]] | None = None
    health: dict[str, Number] | None = None
    cost: dict[str, dict[str, int]]
    flags: list[RecordedFlag]
    notes: list[str]
    examples: str | None = None
    handed: list[HandedOver] | None = None
    stages: dict[str, str]
    members: list[str]
    modules: dict[str, str]
    params: dict[str, dict[str, Scalar]]
    method: int
    environment: RecordedEnvironment
    run: Run
    result: str
    outcome: str | None = None

    def to_json(self) -> Json:
        """Return the JSON form, with exactly the fields that the record was made with."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    def check(self, module: str) -> RecordedCheck:
        """Return whether a module passed ``gauntlet check`` when the record was made."""
        return self.run.checks.get(module, UNCHECKED)

    def metric(self, name: str) -> float | None:
        """Return the value of a metric, or ``None`` where the record has none."""
        found = self.metrics.get(name)
        return None if found is None else found.value


def result_digest(fields: Mapping[str, object]) -> str:
    """Return the digest of a record's JSON form without ``run``: equal for equal results."""
    return digest({k: v for k, v in fields.items() if k not in RESULT_LEAVES_OUT})


def finish(fields: Mapping[str, object]) -> Record:
    """Add schema and digests to the fields of a new record, and validate them.

    Raises:
        ValidationError: the fields are not a record's: a bug of the harness.
    """
    record = Record.model_validate({"schema": SCHEMA, **fields, "result": ""})
    made = record.to_json()
    digests = {"result": result_digest(made), "outcome": outcome_digest(made)}
    return record.model_copy(update=digests)


def outcome_of(record: Record) -> str:
    """Return a record's outcome digest, computed where it is from before the field."""
    return record.outcome or outcome_digest(record.to_json())


def write(root: Path, record: Record) -> Path:
    """Write a record once, under its content's digest; an equal one is left as it is."""
    fields = record.to_json()
    path = root / record.cell.benchmark / f"{digest(fields)[:32]}.json"
    if not path.exists():
        write_json(path, fields)
    return path


def read(path: Path) -> Record:
    """Read and validate one record.

    Raises:
        UserError: not JSON, not of the schema, or changed since it was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"not a readable record: {error}", RESTORE) from error
    return parse(text, str(path), path.stem)


def parse(text: str, where: str, name: str | None = None) -> Record:
    """Validate the text of one record.

    Args:
        text: its JSON.
        where: its file or address, for errors.
        name: name of its file without the ending, which its content decides; ``None`` if unknown.

    Raises:
        UserError: not JSON, not of the schema, or changed since it was written.
    """
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
        _check_schema(where, fields.get("schema"))
        record = Record.model_validate(fields)
        # of the text's own numbers, not of the record's
        whole = name in (None, digest(fields)[:32]) and record.result == result_digest(fields)
        whole = whole and record.outcome in (None, outcome_digest(fields))
    except ValidationError as error:
        raise UserError(where, f"not a valid record: {_first(error)}", RESTORE) from error
    except (ValueError, RecursionError) as error:
        raise UserError(where, f"not a readable record: {error}", RESTORE) from error
    if not whole:
        raise UserError(where, "the content does not match its digest", RESTORE)
    return record


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def to_brief(record: Record) -> Json:
    """Return a record's JSON form without its packed arrays, which fill most of it.

    The outcome's digest stands for them, so that a new record can still be compared exactly.
    """
    kept = {name: value for name, value in record.to_json().items() if name not in PACKED}
    return kept | {"outcome": outcome_of(record)}


def from_brief(fields: object, where: str) -> Record:
    """Return the record of a brief form; its packed arrays are ``None``, its digests claims.

    Raises:
        UserError: not the brief form of a record.
    """
    fix = "download it again, from a page that this version of gauntlet made"
    if not isinstance(fields, dict) or not isinstance(fields.get("outcome"), str):
        raise UserError(where, "holds something other than records with an outcome digest", fix)
    try:
        return Record.model_validate(dict.fromkeys(PACKED) | fields)
    except ValidationError as error:
        raise UserError(where, f"not a valid record: {_first(error)}", fix) from error


def _check_schema(where: str, schema: object) -> None:
    if not str(schema).startswith("record/"):
        raise UserError(where, "not a record", "name a record's file, or a folder of them")
    if schema != SCHEMA:
        raise UserError(where, f"schema {schema!r}, expected {SCHEMA!r}", "upgrade gauntlet")


def newest_by_key(found: Iterable[Record]) -> dict[str, Record]:
    """Return key → record; of several, a result beats a failure, then the latest counts."""
    return {record.key: record for record in in_order(found)}


def in_order(found: Iterable[Record]) -> list[Record]:
    """Return records so that the last of several is the one that counts: results after failures."""
    return sorted(found, key=lambda record: (record.status == "ok", record.run.finished))
