"""Promises about the end of a stage: each way to end has its status, and none can be forged."""

from __future__ import annotations

import signal

from harness.executors.selfcheck.context import SelfCheckContext
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.promise_check import promise


@promise
def ends_well(context: SelfCheckContext) -> None:
    """A stage that ends well is ok and its output arrives."""
    stage = context.run("endings.fine")
    expect(stage.report == {"fine": True} and stage.result.exit_code == 0, stage.result)


@promise
def module_error(context: SelfCheckContext) -> None:
    """An exception is module_error, with its type, text, file and line."""
    stage = context.run("endings.raises")
    stage.expect("module_error", "RuntimeError: raised on purpose", "endings.py:")


@promise
def error_at_import(context: SelfCheckContext) -> None:
    """An exception at import is module_error, with file and line."""
    stage = context.run("endings.fine", entry="broken.py:Probe")
    stage.expect("module_error", "broken on purpose", "broken.py:2")


@promise
def contract_violation(context: SelfCheckContext) -> None:
    """A broken contract is contract_violation."""
    context.run("endings.breaks_contract").expect("contract_violation", "broken on purpose")


@promise
def missing_entry(context: SelfCheckContext) -> None:
    """A missing entry is contract_violation."""
    context.run("endings.fine", entry="attack.py:Nobody").expect("contract_violation", "Nobody")


@promise
def not_applicable(context: SelfCheckContext) -> None:
    """A module that declines its cell is not_applicable, and its role is reported."""
    stage = context.run("endings.declines")
    stage.expect("not_applicable", "declined on purpose")
    expect(stage.result.by == "attack", f"the role reported is {stage.result.by}")


@promise
def system_exit(context: SelfCheckContext) -> None:
    """``sys.exit(0)`` in a hook is module_error, not success."""
    context.run("endings.leaves_politely").expect("module_error", "SystemExit")


@promise
def exit_without_outcome(context: SelfCheckContext) -> None:
    """``os._exit`` without an outcome is module_error, whatever the code."""
    for stage in context.finish(
        *(context.jobs.make("endings.leaves_at_once", code=c) for c in (0, 3, 99))
    ):
        stage.expect("module_error", "reported no outcome")


@promise
def killed(context: SelfCheckContext) -> None:
    """A stage killed by a signal is module_error and the signal is named."""
    context.run("endings.dies", number=int(signal.SIGKILL)).expect("module_error", "SIGKILL")


@promise
def killed_oddly(context: SelfCheckContext) -> None:
    """A stage killed by a signal without a name (real-time) is module_error."""
    number = int(signal.SIGRTMIN) + 6
    context.run("endings.dies", number=number).expect("module_error", str(number))


@promise
def crash(context: SelfCheckContext) -> None:
    """A crash in C (segmentation fault) is module_error."""
    context.run("endings.crashes").expect("module_error", "SIGSEGV")


@promise
def forged_outcome(context: SelfCheckContext) -> None:
    """A forged outcome that the exit code contradicts is contract_violation."""
    stage = context.run("endings.forges", outcome={"status": "ok"}, code=1)
    stage.expect("contract_violation", "contradicts")


@promise
def own_outcome_file(context: SelfCheckContext) -> None:
    """A module's own outcome file is ignored, whatever code it exits with."""
    for status, code in (("ok", 0), ("not_applicable", 99), ("module_error", 1)):
        stage = context.run("endings.leaves_outcome_file", status=status, code=code)
        stage.expect("module_error", "reported no outcome")


@promise
def forged_and_killed(context: SelfCheckContext) -> None:
    """A forged outcome does not survive a kill."""
    context.run("endings.forges_and_dies").expect("module_error", "SIGKILL")


@promise
def forged_nonsense(context: SelfCheckContext) -> None:
    """A forged outcome with impossible fields is refused or harmless."""
    honest = context.run("endings.forges", outcome={"passes": {"forward": 7}}, code=0)
    expect(
        honest.result.passes == {"forward": 7},
        f"the forged outcome did not arrive: {honest.result}",
    )
    nonsense: tuple[dict[str, object], ...] = (
        {"status": ["ok"]},
        {"hook_seconds": float("nan")},
        {"hook_seconds": 10**400},
        {"passes": {"forward": "\x1b[31m"}},
        {"passes": {"forward": 10**400}},
        {"device_memory": {"much": []}},
    )
    for outcome in nonsense:
        stage = context.run("endings.forges", outcome=outcome, code=0)
        result = stage.result
        sane = (
            0 <= result.hook_seconds <= result.seconds
            and all(type(n) is int and 0 <= n < 1 << 63 for n in result.passes.values())
            and (result.device_memory is None or type(result.device_memory) is int)
        )
        expect(sane, f"accepted from a forged outcome: {result}")


@promise
def spoilt_pipe(context: SelfCheckContext) -> None:
    """A pipe for the outcome that is full, closed or used twice does not hang the harness."""
    for kind in ("flood", "close", "twice"):
        context.run("endings.spoils_pipe", kind=kind).expect("module_error", "reported no outcome")


@promise
def fake_success(context: SelfCheckContext) -> None:
    """Printed text is a log, never a result."""
    context.run("endings.prints_success").expect("module_error", "not a success")


@promise
def odd_reason(context: SelfCheckContext) -> None:
    """A reason is one short printable line, whatever the module raised; a log may hold Unicode."""
    stage = context.run("endings.speaks_oddly")
    stage.expect("module_error", "red")
    reason = stage.result.reason
    expect(reason.isprintable() and len(reason) <= 1000, f"{len(reason)} characters: {reason!r}")
    reason.encode("utf-8")
    log = (stage.job.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    expect("ε ≤ 8/255, 你好, \U0001f600" in log, f"the log begins {log[:80]!r}")
