"""The packet child's seccomp filter: system calls that it has no use for fail, whoever asks for them.

It parses what strangers send. Should that ever take it over, it can start no program and no process, offer no service, reach into
no other process, and not touch the parts of the kernel that are broken most often. A list of what is refused, not of what is let
through: which calls Python, numpy and the C library make changes with each of their versions.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

_SECCOMP_SET_MODE_FILTER, _TSYNC = 1, 1
_LD_WORD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF, linux/filter.h
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENT = (
    0,
    4,
    16,
)  # offsets in struct seccomp_data; of an argument, its low half (both are little-endian)
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
_NEWEST = 462  # mseal: what came after it nobody has looked at
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET
_FAMILIES = (1, 2, 10, 16, 17)

# machine -> (AUDIT_ARCH_…, its place in the table)
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_SECCOMP = (317, 277)
_SOCKET = (41, 198)
_CLONE = (56, 220)
_CLONE3 = 435
# What is refused: (x86_64, aarch64), as asm/unistd_64.h and asm-generic/unistd.h number them; None: it has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # another program, another process
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    # a service
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    # other namespaces and roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # parts of the kernel that an intruder tries first
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "modify_ldt": (154, None), "personality": (135, 92), "fanotify_init": (300, 262), "vhangup": (153, 58),
    "syslog": (103, 116), "lookup_dcookie": (212, 18),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
}  # fmt: skip


def install() -> tuple[str, ...]:
    """Put the filter on every thread of this process, for good; why it is not there, in words.

    It asks for no_new_privs. See seccomp(2).
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        return (f"no seccomp filter: none is written for {machine}",)
    code = b"".join(struct.pack("HBBI", *step) for step in program(machine))
    held = ctypes.create_string_buffer(code)
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP[_MACHINES[machine][1]]
    if libc.syscall(ctypes.c_long(number), _SECCOMP_SET_MODE_FILTER, _TSYNC, described) != 0:
        return (f"no seccomp filter: {os.strerror(ctypes.get_errno())}",)
    return ()


def program(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """The filter as (operation, skip if true, skip if false, operand)."""
    arch, place = _MACHINES[machine]
    refuse = (_RET, 0, 0, _ERRNO | errno.EPERM)
    unknown = (_RET, 0, 0, _ERRNO | errno.ENOSYS)
    yield (_LD_WORD, 0, 0, _ARCH)
    yield (_JEQ, 1, 0, arch)
    yield (_RET, 0, 0, _KILL)  # a call by another architecture's numbers (int 0x80): nothing of ours makes any
    yield (_LD_WORD, 0, 0, _NUMBER)
    yield (_JGE, 0, 1, _X32)  # x86_64's second set of numbers
    yield refuse
    yield (_JGE, 0, 1, _NEWEST + 1)
    yield unknown
    yield (_JEQ, 0, 1, _CLONE3)  # its flags are in memory, where no filter can look: the C library falls back to clone
    yield unknown
    yield (_JEQ, 0, 4, _CLONE[place])
    yield (_LD_WORD, 0, 0, _ARGUMENT)
    yield (_JSET, 1, 0, _CLONE_THREAD)
    yield refuse
    yield (_RET, 0, 0, _ALLOW)
    yield (_JEQ, 0, 3 + len(_FAMILIES), _SOCKET[place])
    yield (_LD_WORD, 0, 0, _ARGUMENT)
    for index, family in enumerate(_FAMILIES):
        yield (_JEQ, len(_FAMILIES) - index, 0, family)
    yield (_RET, 0, 0, _ERRNO | errno.EAFNOSUPPORT)
    yield (_RET, 0, 0, _ALLOW)
    for numbers in REFUSED.values():
        if (number := numbers[place]) is not None:
            yield (_JEQ, 0, 1, number)
            yield refuse
    yield (_RET, 0, 0, _ALLOW)
