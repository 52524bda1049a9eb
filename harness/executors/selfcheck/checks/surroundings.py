"""Promises about what a stage finds around it, reaches, and may change."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

from harness.executors.selfcheck.context import Rig, Untold, check, expect, listening

CLOCK_SLACK = 120.0
"""Seconds: the fact is looked up once and compared later."""


@check
def environment(rig: Rig) -> None:
    """The environment holds nothing of the harness's own variables."""
    seen = rig.facts()["environment"]
    leaked = [name for name, value in seen.items() if rig.secret in name + value]
    expect(not leaked, f"set in the harness, seen in the stage: {', '.join(leaked)}")


@check
def temporary_files(rig: Rig) -> None:
    """Temporary files do not go among those of the host."""
    left = Path(tempfile.gettempdir()) / rig.facts()["temporary"]
    found = left.exists()
    left.unlink(missing_ok=True)
    expect(not found, f"{left} was left behind")


@check
def scratch(rig: Rig) -> None:
    """A stage starts in a scratch folder of its own, which is empty."""
    seen = rig.facts()
    expect(seen["scratch_is_here"] and not seen["files"], f"it holds {seen['files']}")


@check
def standard_input(rig: Rig) -> None:
    """Standard input is /dev/null."""
    seen = rig.facts()
    expect(seen["stdin_is_null"] and seen["stdin"] == "", f"read {seen['stdin']!r}")


@check
def descriptors(rig: Rig) -> None:
    """No open file is inherited; what is open is what was granted."""
    seen = {
        n: file for n, file in rig.facts()["descriptors"].items() if Path(file).suffix != ".npy"
    }
    expect(not seen, f"open: {seen}")


@check
def clock(rig: Rig) -> None:
    """The clock is the harness's, the time zone makes sense."""
    seen = rig.facts()
    apart = abs(seen["clock"] - time.time())
    hours = int(seen["zone"]) / 100
    expect(apart < CLOCK_SLACK and abs(hours) <= 14, f"{apart:.0f} s apart, zone {seen['zone']}")


@check
def encoding(rig: Rig) -> None:
    """File names and streams are UTF-8."""
    seen = rig.facts()["encodings"]
    expect({name.lower() for name in seen} == {"utf-8"}, seen)


@check
def core_files(rig: Rig) -> None:
    """A crash writes no core file."""
    expect(rig.facts()["core"] == 0, f"core files of {rig.facts()['core']} bytes are allowed")


@check
def no_new_privileges(rig: Rig) -> None:
    """A stage can gain no privileges."""
    expect(rig.facts()["no_new_privileges"], "set-user-id programs work")


@check
def unprivileged(rig: Rig) -> None:
    """Module code is neither root nor capable of anything root may."""
    seen = rig.facts()
    expect(
        seen["uid"] != 0 and seen["capabilities"] == 0,
        f"uid {seen['uid']}, capabilities {seen['capabilities']:x}",
    )


@check
def system_changes(rig: Rig) -> None:
    """The kernel refuses what only its administrator may (mounts, names, another user)."""
    done = rig.report("surroundings.changes_system")["done"]
    expect(not done, f"granted: {', '.join(done)}")


@check
def kernel_memory(rig: Rig) -> None:
    """There is no System V memory and no message queue, which outlive a stage."""
    done = rig.report("surroundings.keeps_in_kernel")["done"]
    expect(not done, f"granted: {', '.join(done)}")


@check
def network(rig: Rig) -> None:
    """No network: a port of the host cannot be reached."""
    with listening(rig.secret) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            if link.recv(64).decode() != rig.secret:
                raise Untold("the host itself cannot reach its own port")
        report = rig.report("surroundings.connects", port=port)
    expect("refused" in report, "the stage connected to a port of the host")


@check
def name_resolution(rig: Rig) -> None:
    """No name resolution."""
    name = "example.org"
    try:
        socket.getaddrinfo(name, 80)
    except OSError as error:
        raise Untold(f"the host itself resolves no names ({error})") from error
    report = rig.report("surroundings.resolves", name=name)
    expect("refused" in report, f"{name} is {report.get('address')}")


@check
def read_only_root(rig: Rig) -> None:
    """The root file system and the module's own folder are read-only."""
    written = rig.report("surroundings.writes", paths=["/", "/etc", "{module}"])["written"]
    expect(not written, f"files were made in {', '.join(written)}")


@check
def host_files(rig: Rig) -> None:
    """Files of the host that were not granted cannot be read."""
    canary = rig.root / "canary.txt"
    canary.write_text(rig.secret, encoding="utf-8")
    canary.chmod(0o600)
    report = rig.report("surroundings.reads", path=str(canary))
    expect("refused" in report, "a file that only the harness's user may read was read")


@check
def host_processes(rig: Rig) -> None:
    """Processes of the host cannot be seen."""
    born = Path(f"/proc/{os.getpid()}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    report = rig.report("surroundings.watches", pid=os.getpid())
    expect(report.get("born") != born.split()[19], "the harness's own process was seen")
