"""System call filter of a container that serves several stages, on top of the engine's filter.

It closes channels from one stage to the next in the kernel or in process 1: limits and priorities
of other processes of the same user, sockets whose counters stay in the network name space, memory
and keys that outlive their process; and ways around these.

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
UNIX, SELF = 1, 0
"""Allowed first arguments: address family AF_UNIX, and process 0, the caller itself."""


class Machine(NamedTuple):
    """Architecture.

    Attributes:
        audit: number of the architecture in the kernel (``AUDIT_ARCH_…``).
        column: column of its system call numbers in ``CALLS``.
    """

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

CALLS: dict[str, tuple[int, int, int | None]] = {
    # name: number on x86-64, number on arm64, allowed first argument (None: always refused)
    "socket": (41, 198, UNIX),
    "socketpair": (53, 199, UNIX),
    "io_uring_setup": (425, 425, None),  # can make sockets
    "prlimit64": (302, 261, SELF),
    "sched_setaffinity": (203, 122, SELF),
    "sched_setparam": (142, 118, SELF),
    "sched_setscheduler": (144, 119, SELF),
    "sched_setattr": (314, 274, SELF),
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
"""System calls that are refused."""


def program(machine: Machine) -> bytes:
    """Return the filter in the form that the kernel reads, eight bytes per instruction.

    Args:
        machine: architecture to check for.

    >>> len(program(MACHINES["x86_64"])) % 8
    0
    """

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    refuse, allow = step(RETURN, REFUSE), step(RETURN, ALLOW)
    steps = [step(LOAD, ARCHITECTURE), step(EQUAL, machine.audit, yes=1), refuse]
    steps += [step(LOAD, NUMBER), step(AT_LEAST, X32, no=1), refuse]
    # a jump skips ``yes`` or ``no`` instructions; all calls that no rule refuses reach ``allow``
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
    """Apply the filter to this process and its descendants; it cannot be removed.

    Raises:
        OSError: the kernel refuses the filter.
        KeyError: the architecture is not in ``MACHINES``.
    """
    text = program(MACHINES[platform.machine()])
    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = _Program(len(text) // 8, text)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(filter_), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused the filter of system calls")
