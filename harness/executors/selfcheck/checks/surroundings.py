"""Promises about the surroundings of a stage: what it sees, reaches and may change."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.executors.selfcheck.context import SelfCheckContext
from harness.executors.selfcheck.errors import Inconclusive, expect
from harness.executors.selfcheck.promise_check import promise
from harness.runtime.worker.outcome_pipe import OUTCOME

CLOCK_SLACK = 120.0
"""Allowed difference in seconds; the stage's clock is read once and compared later."""


@promise
def environment(context: SelfCheckContext) -> None:
    """The environment has none of the harness's own variables."""
    variables = context.facts()["environment"]
    leaked = [name for name, value in variables.items() if context.secret in name + value]
    expect(not leaked, f"set in the harness, seen in the stage: {', '.join(leaked)}")


@promise
def temporary_files(context: SelfCheckContext) -> None:
    """Temporary files are not in the host's folder of temporary files."""
    file = Path(tempfile.gettempdir()) / context.facts()["temporary"]
    found = file.exists()
    file.unlink(missing_ok=True)
    expect(not found, f"{file} was left behind")


@promise
def scratch(context: SelfCheckContext) -> None:
    """A stage starts in an empty scratch folder of its own."""
    facts = context.facts()
    expect(facts["scratch_is_here"] and not facts["files"], f"it holds {facts['files']}")


@promise
def standard_input(context: SelfCheckContext) -> None:
    """Standard input is /dev/null."""
    facts = context.facts()
    expect(facts["stdin_is_null"] and facts["stdin"] == "", f"read {facts['stdin']!r}")


@promise
def startup_hooks(context: SelfCheckContext) -> None:
    """Python runs no start-up hook (``.pth``, ``sitecustomize``) before the harness's own code."""
    processed = context.facts()["startup_hooks"]
    expect(not processed, f"Python processed {', '.join(processed)}")


@promise
def descriptors(context: SelfCheckContext) -> None:
    """No open file is inherited but the pipe for the outcome; only granted files are open."""
    files = dict(context.facts()["descriptors"])
    pipe = files.pop(str(OUTCOME), "")
    expect(pipe.startswith("pipe:"), f"the pipe for the outcome is {pipe!r}")
    inherited = {n: file for n, file in files.items() if Path(file).suffix != ".npy"}
    expect(not inherited, f"open: {inherited}")


@promise
def clock(context: SelfCheckContext) -> None:
    """The clock agrees with the harness's clock, and the time zone is valid."""
    facts = context.facts()
    apart = abs(facts["clock"] - time.time())
    hours = int(facts["zone"]) / 100
    expect(apart < CLOCK_SLACK and abs(hours) <= 14, f"{apart:.0f} s apart, zone {facts['zone']}")


@promise
def encoding(context: SelfCheckContext) -> None:
    """File names and streams are UTF-8."""
    encodings = context.facts()["encodings"]
    expect({name.lower() for name in encodings} == {"utf-8"}, encodings)


@promise
def core_files(context: SelfCheckContext) -> None:
    """A crash writes no core file."""
    expect(
        context.facts()["core"] == 0, f"core files of {context.facts()['core']} bytes are allowed"
    )


@promise
def no_new_privileges(context: SelfCheckContext) -> None:
    """A stage can gain no privileges."""
    expect(context.facts()["no_new_privileges"], "set-user-id programs work")


@promise
def unprivileged(context: SelfCheckContext) -> None:
    """Module code is not root and has no capabilities of root."""
    facts = context.facts()
    expect(
        facts["uid"] != 0 and facts["capabilities"] == 0,
        f"uid {facts['uid']}, capabilities {facts['capabilities']:x}",
    )


@promise
def system_changes(context: SelfCheckContext) -> None:
    """The kernel refuses administrative calls (mounts, host names, another user)."""
    done = context.report("surroundings.changes_system")["done"]
    expect(not done, f"granted: {', '.join(done)}")


@promise
def kernel_memory(context: SelfCheckContext) -> None:
    """System V memory and message queues, which outlive a stage, are refused."""
    done = context.report("surroundings.keeps_in_kernel")["done"]
    expect(not done, f"granted: {', '.join(done)}")


@promise
def network(context: SelfCheckContext) -> None:
    """No network: a port of the host cannot be reached."""
    with greeting_server(context.secret) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            if link.recv(64).decode() != context.secret:
                raise Inconclusive("the host itself cannot reach its own port")
        report = context.report("surroundings.connects", port=port)
    expect("refused" in report, "the stage connected to a port of the host")


@promise
def name_resolution(context: SelfCheckContext) -> None:
    """No name resolution."""
    name = "example.org"
    try:
        socket.getaddrinfo(name, 80)
    except OSError as error:
        raise Inconclusive(f"the host itself resolves no names ({error})") from error
    report = context.report("surroundings.resolves", name=name)
    expect("refused" in report, f"{name} resolved to {report.get('address')}")


@promise
def read_only_root(context: SelfCheckContext) -> None:
    """The root file system and the module's own folder are read-only."""
    written = context.report("surroundings.writes", paths=["/", "/etc", "{module}"])["written"]
    expect(not written, f"files were made in {', '.join(written)}")


@promise
def host_files(context: SelfCheckContext) -> None:
    """Files of the host that were not granted cannot be read."""
    canary = context.root / "canary.txt"
    canary.write_text(context.secret, encoding="utf-8")
    canary.chmod(0o600)
    report = context.report("surroundings.reads", path=str(canary))
    expect("refused" in report, "a file that only the harness's user may read was read")


@promise
def host_processes(context: SelfCheckContext) -> None:
    """Processes of the host cannot be seen."""
    stat = Path(f"/proc/{os.getpid()}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    report = context.report("surroundings.watches", pid=os.getpid())
    expect(report.get("started") != stat.split()[19], "the harness's own process was seen")


@contextmanager
def greeting_server(greeting: str) -> Iterator[int]:
    """Serve a greeting on a port of this machine, on every connection.

    Args:
        greeting: text to send.

    Yields:
        The port.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(1)
