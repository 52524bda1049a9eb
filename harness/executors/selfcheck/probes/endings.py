"""Probes that end their stage: well, badly, or with a forged outcome."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from harness.runtime.contracts import Context, ContractError, NotApplicable
from harness.runtime.worker.outcome_pipe import OUTCOME, Outcome

HONEST = asdict(Outcome(hook_seconds=0.1))


def fine() -> dict[str, bool]:
    """End well."""
    return {"fine": True}


def raises() -> NoReturn:
    """Raise an error, as a faulty module does."""
    raise RuntimeError("raised on purpose")


def breaks_contract() -> NoReturn:
    """Break the contract."""
    raise ContractError("broken on purpose")


def declines() -> NoReturn:
    """Decline the cell."""
    raise NotApplicable("declined on purpose")


def leaves_politely() -> NoReturn:
    """Claim success by ``sys.exit``."""
    sys.exit(0)


def leaves_at_once(code: int) -> NoReturn:
    """End without an outcome."""
    os._exit(code)


def dies(number: int) -> None:
    """Kill this process by a signal."""
    os.kill(os.getpid(), number)
    signal.pause()


def crashes() -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def kills_parent() -> None:
    """Kill the process that started this one."""
    os.kill(os.getppid(), signal.SIGKILL)


def prints_success() -> NoReturn:
    """Print the outcome of a success, then fail."""
    print(json.dumps(HONEST | {"ended": "job.json", "code": 0, "signal": 0}), flush=True)  # noqa: T201
    raise RuntimeError("not a success")


def speaks_oddly(ctx: Context) -> NoReturn:
    """Raise an error with a long text of several lines and control characters."""
    ctx.log("unicode: ε ≤ 8/255, 你好, \U0001f600")
    raise RuntimeError("\x1b[31mred\x07 \udcff \u202e " + "x" * 5_000_000 + "\nsecond line")


def forges(outcome: dict[str, object], code: int) -> NoReturn:
    """Report an outcome in the place of the worker, and end."""
    claim(outcome)
    os._exit(code)


def claim(outcome: dict[str, object]) -> None:
    """Report an outcome, of which fields may have any value."""
    os.write(OUTCOME, json.dumps(HONEST | outcome).encode())


def forges_and_dies() -> None:
    """Report the outcome of a success, then die by a signal."""
    claim({})
    dies(signal.SIGKILL)


def leaves_outcome_file(status: str, code: int) -> NoReturn:
    """Write an outcome into files of the job's folder and of the output, and end."""
    for folder in (job_folder(), job_folder() / "out"):
        text = json.dumps(HONEST | {"status": status, "reason": "forged on purpose"})
        (folder / "outcome.json").write_text(text, encoding="utf-8")
    os._exit(code)


def spoils_pipe(kind: str) -> dict[str, bool] | None:
    """Fill the pipe for the outcome, close it, or report a success before the worker does."""
    if kind == "flood":
        try:
            while True:
                os.write(OUTCOME, b"[" * 65_536)
        except BlockingIOError:
            pass
    elif kind == "close":
        os.close(OUTCOME)
    else:
        claim({})
    return {"fine": True}


def job_folder() -> Path:
    """Return the folder of ``job.json``, taken from the worker's frame as executors differ."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        folder = getattr(frame.f_locals.get("job"), "folder", None)
        if folder is not None:
            return Path(folder)
    raise RuntimeError("no frame of the worker was found")
