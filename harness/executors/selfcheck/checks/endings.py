"""Promises about how a stage ends: every ending has its own status, and a lie is none."""

from __future__ import annotations

import signal

from harness.executors.selfcheck.context import Rig, check, expect


@check
def ends_well(rig: Rig) -> None:
    """A stage that ends well is ok and its output arrives."""
    seen = rig.see("endings.fine")
    expect(seen.report == {"fine": True} and seen.result.exit_code == 0, seen.result)


@check
def module_error(rig: Rig) -> None:
    """An exception is module_error, with its type, text, file and line."""
    seen = rig.see("endings.raises")
    seen.ended("module_error", "RuntimeError: raised on purpose", "endings.py:")


@check
def error_at_import(rig: Rig) -> None:
    """An exception at import is module_error, with file and line."""
    seen = rig.see("endings.fine", entry="broken.py:Probe")
    seen.ended("module_error", "broken on purpose", "broken.py:2")


@check
def contract_violation(rig: Rig) -> None:
    """A broken contract is contract_violation."""
    rig.see("endings.breaks_contract").ended("contract_violation", "broken on purpose")


@check
def missing_entry(rig: Rig) -> None:
    """A missing entry is contract_violation."""
    rig.see("endings.fine", entry="attack.py:Nobody").ended("contract_violation", "Nobody")


@check
def not_applicable(rig: Rig) -> None:
    """A module that declines its cell is not_applicable, and is named by its role."""
    seen = rig.see("endings.declines")
    seen.ended("not_applicable", "declined on purpose")
    expect(seen.result.by == "attack", f"put down to {seen.result.by}")


@check
def system_exit(rig: Rig) -> None:
    """``sys.exit(0)`` in a hook is module_error, not success."""
    rig.see("endings.leaves_politely").ended("module_error", "SystemExit")


@check
def exit_without_outcome(rig: Rig) -> None:
    """``os._exit`` without an outcome is module_error, whatever the code."""
    for seen in rig.finish(*(rig.job("endings.leaves_at_once", code=c) for c in (0, 3, 99))):
        seen.ended("module_error", "left no outcome")


@check
def killed(rig: Rig) -> None:
    """A stage killed by a signal is module_error and the signal is named."""
    rig.see("endings.dies", number=int(signal.SIGKILL)).ended("module_error", "SIGKILL")


@check
def killed_oddly(rig: Rig) -> None:
    """A signal without a name (real-time) does no more harm than another."""
    number = int(signal.SIGRTMIN) + 6
    rig.see("endings.dies", number=number).ended("module_error", str(number))


@check
def crash(rig: Rig) -> None:
    """A crash in C (segmentation fault) is module_error."""
    rig.see("endings.crashes").ended("module_error", "SIGSEGV")


@check
def forged_outcome(rig: Rig) -> None:
    """A forged outcome that the exit code contradicts is contract_violation."""
    seen = rig.see("endings.forges", outcome={"status": "ok"}, code=1)
    seen.ended("contract_violation", "contradicts")


@check
def forged_and_killed(rig: Rig) -> None:
    """A forged outcome does not survive a kill."""
    rig.see("endings.forges_and_dies").ended("module_error", "SIGKILL")


@check
def forged_nonsense(rig: Rig) -> None:
    """A forged outcome with impossible fields is refused or harmless."""
    honest = rig.see("endings.forges", outcome={"passes": {"forward": 7}}, code=0)
    expect(honest.result.passes == {"forward": 7}, f"the probe forges nothing: {honest.result}")
    nonsense: tuple[dict[str, object], ...] = (
        {"status": ["ok"]},
        {"hook_seconds": float("nan")},
        {"hook_seconds": 10**400},
        {"passes": {"forward": "\x1b[31m"}},
        {"passes": {"forward": 10**400}},
        {"device_memory": {"much": []}},
    )
    for outcome in nonsense:
        seen = rig.see("endings.forges", outcome=outcome, code=0)
        result = seen.result
        sane = (
            0 <= result.hook_seconds <= result.seconds
            and all(type(n) is int and 0 <= n < 1 << 63 for n in result.passes.values())
            and (result.device_memory is None or type(result.device_memory) is int)
        )
        expect(sane, f"taken over from a forged outcome: {result}")


@check
def outcome_is_no_file(rig: Rig) -> None:
    """An outcome that is a FIFO, a link or a flood does not hang the harness."""
    for kind in ("fifo", "link", "flood"):
        rig.see("endings.pipes_outcome", kind=kind).ended("module_error", "left no outcome")


@check
def fake_success(rig: Rig) -> None:
    """What a stage prints is a log, never a result."""
    rig.see("endings.prints_success").ended("module_error", "not a success")


@check
def odd_reason(rig: Rig) -> None:
    """A reason is one short printable line, whatever the module said; a log takes unicode."""
    seen = rig.see("endings.speaks_oddly")
    seen.ended("module_error", "red")
    reason = seen.result.reason
    expect(reason.isprintable() and len(reason) <= 1000, f"{len(reason)} characters: {reason!r}")
    reason.encode("utf-8")
    log = (seen.job.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    expect("ε ≤ 8/255, 你好, \U0001f600" in log, f"the log begins {log[:80]!r}")
