"""Our filter of system calls: what it refuses, what it lets through, on every machine it knows."""

import subprocess
import sys

import pytest

from harness.runtime.worker.seccomp import CALLS, MACHINES, program

TRIED = """
import os, resource, socket, threading
from harness.runtime.worker.seccomp import restrict
import torch
before = os.sched_getaffinity(0)
restrict()

def refused(action, *given):
    try:
        action(*given)
    except PermissionError:
        return
    raise SystemExit(f"not refused: {action} {given}")

for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    refused(socket.socket, family)
refused(os.setpriority, os.PRIO_PROCESS, 0, 5)
refused(resource.prlimit, os.getppid(), resource.RLIMIT_CORE)
refused(os.sched_setaffinity, os.getppid(), before)
if os.fork() == 0:  # what is forked is bound, too
    refused(socket.socket, socket.AF_INET)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
one, two = socket.socketpair()
one.send(b"x")
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.prlimit(0, resource.RLIMIT_CORE)
os.sched_setaffinity(0, before)
torch.set_num_threads(2)
x = torch.rand(500, 500, requires_grad=True)
(x @ x).sum().backward()
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
print("fine")
"""


@pytest.mark.slow
def test_it_binds_a_process_and_its_children_and_lets_torch_work():
    done = subprocess.run([sys.executable, "-c", TRIED], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stdout + done.stderr


@pytest.mark.parametrize("name", MACHINES)
def test_every_call_has_a_number_of_its_own_and_no_jump_leads_out(name):
    column = MACHINES[name].column
    assert len({numbers[column] for numbers in CALLS.values()}) == len(CALLS)
    text = program(MACHINES[name])
    steps = [text[at : at + 8] for at in range(0, len(text), 8)]
    assert len(steps) < 4096
    for at, step in enumerate(steps):
        if step[0] & 0x07 == 0x05:  # a jump: both ways stay inside
            assert at + 1 + max(step[2], step[3]) < len(steps)
    assert steps[-1][0] == 0x06
