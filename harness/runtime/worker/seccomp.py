"""A filter of system calls on top of the engine's, for a container that serves several stages.

It closes what would let one stage leave word for the next in the kernel or in process 1: limits and
priorities of other processes of the same user, sockets whose traces and counters stay in the
network name space, memory and keys that outlive their process; and ways around these.

Source: seccomp(2), and the BPF machine of ``Documentation/networking/filter.rst`` of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from typing import NamedTuple

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in ``struct seccomp_data``; an argument has eight bytes, the low four first."""
X32 = 0x40000000
"""Bit of the numbers of a second set of calls on x86-64."""
UNIX, ONESELF = 1, 0


class Machine(NamedTuple):
    """The kernel's name of an architecture, and the column of its numbers in ``CALLS``."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

CALLS: dict[str, tuple[int, int, int | None]] = {
    # name: number on x86-64, on arm64, what the first argument must be (None: never)
    "socket": (41, 198, UNIX),
    "socketpair": (53, 199, UNIX),
    "io_uring_setup": (425, 425, None),  # makes sockets, too
    "prlimit64": (302, 261, ONESELF),
    "sched_setaffinity": (203, 122, ONESELF),
    "sched_setparam": (142, 118, ONESELF),
    "sched_setscheduler": (144, 119, ONESELF),
    "sched_setattr": (314, 274, ONESELF),
    "setpriority": (141, 140, None),
    "ioprio_set": (251, 30, None),
    "shmget": (29, 194, None),
    "msgget": (68, 186, None),
    "semget": (64, 190, None),
    "mq_open": (240, 180, None),
    "add_key": (248, 217, None),
    "request_key": (249, 218, None),
    "keyctl": (250, 219, None),
    "ptrace": (101, 117, None),
    "process_vm_readv": (310, 270, None),
    "process_vm_writev": (311, 271, None),
    "pidfd_getfd": (438, 438, None),
    "kcmp": (312, 272, None),
    "unshare": (272, 97, None),
    "setns": (308, 268, None),
    "bpf": (321, 280, None),
    "perf_event_open": (298, 241, None),
    "userfaultfd": (323, 282, None),
}
"""THE table of what is refused."""


def program(machine: Machine) -> bytes:
    """The filter as the kernel reads it: eight bytes an instruction.

    >>> len(program(MACHINES["x86_64"])) % 8
    0
    """

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    refuse, allow = step(RETURN, REFUSE), step(RETURN, ALLOW)
    steps = [step(LOAD, ARCHITECTURE), step(EQUAL, machine.audit, yes=1), refuse]
    steps += [step(LOAD, NUMBER), step(AT_LEAST, X32, no=1), refuse]
    for *numbers, first in CALLS.values():
        number = numbers[machine.column]
        if first is None:
            steps += [step(EQUAL, number, no=1), refuse]
        else:
            steps += [step(EQUAL, number, no=4), step(LOAD, ARGUMENTS)]
            steps += [step(EQUAL, first, no=1), allow, refuse]
    return b"".join([*steps, allow])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def restrict() -> None:
    """Apply the filter to this process and all that it forks, for good.

    Raises:
        OSError: the kernel does not take it. KeyError: an architecture without numbers.
    """
    text = program(MACHINES[platform.machine()])
    libc = ctypes.CDLL(None, use_errno=True)
    given = _Program(len(text) // 8, text)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(given), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel took no filter of system calls")
