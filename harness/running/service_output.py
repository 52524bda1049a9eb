"""Files that an attack's service leaves: they are checked, then moved into the attack's artefact.

The attack's own output has been checked before, so that it holds none of these names yet.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.common.files import Array, load_array
from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.blame import responsible
from harness.executors.outcome import open_plain
from harness.running.output_check import (
    SERVED,
    UNREADABLE,
    check_array,
    check_shown,
    load_input,
)

DIGESTS = "digests.json"
"""In ``shown``: the rows of the attacked inputs that the network was shown, with their digests."""
DIGEST_BYTES = 64 << 20
"""Longest file of digests; a batch needs about 90 bytes of it."""


class ShownOtherInputs(ValueError):
    """Attacked inputs that are not those to which the network's answers belong."""


def accept_service(job: StageJob, result: Result) -> Result:
    """Move what the service left into the attack's artefact.

    Args:
        job: job of an attack whose own output has been checked.
        result: its end, which is ``ok``.

    Returns:
        The result, or a violation by the side that broke its contract: the attack if it returned
        other inputs than it showed the network, else the network. Nobody but a module in the
        process of the network can have spoilt the files of its broker.
    """
    assert job.service is not None
    left, out = job.service.folder / "out", job.folder / "out"
    try:
        digests = left / "shown" / DIGESTS
        white_box = job.file.options.get("access") == "victim"  # whose worker shows every batch
        # first, as an attack that leaves out batches makes the other parts too short
        if job.file.stage == "attack" and (white_box or os.path.lexists(digests)):
            check_digests(digests, out)
        check_service(job, left)
    except ShownOtherInputs as error:
        return replace(result, status="contract_violation", reason=str(error), by="attack")
    except UNREADABLE as error:
        reason = one_line(f"in the network: its output cannot be used: {error}")
        by = responsible("service", job.service.file.modules, "contract_violation", None)
        return replace(result, status="contract_violation", reason=reason, by=by)
    for name in SERVED:
        if (left / name).is_dir():
            os.rename(left / name, out / name)
    (out / "shown" / DIGESTS).unlink(missing_ok=True)
    return result


def check_service(job: StageJob, left: Path) -> None:
    """Check the form of the parts that a service left.

    Raises:
        ValueError: the counts of a query oracle are missing, or an array has another form.
        OSError: a file cannot be read.
    """
    if job.file.options.get("access") == "oracle":
        assert job.service is not None
        rows = len(load_input(job.service, "slice_x", "x"))
        check_array(left / "oracle" / "counts.npy", np.int64, (rows,))
    if job.file.stage == "attack":
        check_shown(job, left)


def check_digests(path: Path, out: Path) -> None:
    """Check that the attacked inputs are those that the network was shown, each row once.

    Args:
        path: list of first row, number of rows, and SHA-256 of these rows' float32 bytes; without
            it, nothing was shown.
        out: output of the attack.

    Raises:
        ShownOtherInputs: a row is missing, or differs.
        ValueError: the file is no such list.
        OSError: it cannot be read.
    """
    parts: list[tuple[int, int, str]] = []
    if os.path.lexists(path):
        with open_plain(path) as file:
            parts = sorted(map(parse_part, json.loads(file.read(DIGEST_BYTES))))
    attacked = load_array(out / "attacked" / "x.npy")
    row = 0
    for first, rows, digest in parts:
        if first != row or digest != rows_digest(attacked[first : first + rows]):
            raise ShownOtherInputs(
                f"the attack returned other inputs than it showed the network (from row {row})"
            )
        row += rows
    if row != len(attacked):
        raise ShownOtherInputs(
            f"the attack showed the network {row} of the {len(attacked)} inputs that it returned"
        )


def parse_part(part: object) -> tuple[int, int, str]:
    """Return an entry of the list of digests.

    Raises:
        ValueError: it is none.
    """
    match part:
        case [int(first), int(rows), str(digest)] if first >= 0 and rows > 0:
            return first, rows, digest
    raise ValueError(f"{DIGESTS} holds {str(part)[:80]}")


def rows_digest(rows: Array) -> str:
    """Return the SHA-256 of an array's float32 bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype=np.float32).tobytes()).hexdigest()
