"""A filter of system calls for a process and its children. Standard library only.

What a program that computes values has no use for is refused: the network, other programs, other
processes (signals, tracing, limits, priorities), namespaces and mounts, objects that outlive it
(System V memory, queues), rarely used and privileged parts of the kernel; on demand also all that
changes files. Refused calls fail with EPERM, so Python raises ``PermissionError``.

Calls that the C library can do without (``clone3``, ``openat2``, all newer than the list) are said
to be missing, since a filter cannot see their arguments.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# Name, number on x86_64, number on aarch64.
_NEVER = """
socket 41 198, io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427,
unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51,
open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432,
fspick 433 433, mount_setattr 442 442,
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272,
pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, process_madvise 440 440,
process_mrelease 448 448, setpriority 141 140, ioprio_set 251 30, migrate_pages 256 238,
move_pages 279 239,
execve 59 221, execveat 322 281,
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, add_key 248 217, request_key 249 218,
keyctl 250 219, init_module 175 105, finit_module 313 273, delete_module 176 106,
kexec_load 246 104, kexec_file_load 320 294, quotactl 179 60, quotactl_fd 443 443, swapon 167 224,
swapoff 168 225, reboot 169 142, acct 163 89, syslog 103 116, settimeofday 164 170,
clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, sethostname 170 161,
setdomainname 171 162, iopl 172 -, ioperm 173 -, modify_ldt 154 -, fanotify_init 300 262,
name_to_handle_at 303 264, open_by_handle_at 304 265, lookup_dcookie 212 18, personality 135 92,
vhangup 153 58, memfd_secret 447 447,
shmget 29 194, shmat 30 196, msgget 68 186, semget 64 190, mq_open 240 180, memfd_create 319 279
"""
_MISSING = "clone3 435 435, openat2 437 437"
_NEWEST = 450  # numbers above are said to be missing
# Allowed on the process itself only: the process is the first argument.
_OWN = """
kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
prlimit64 302 261, sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118,
sched_setattr 314 274
"""
# What changes files by name (or their attributes).
_FILES = """
creat 85 -, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -,
renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36,
mknod 133 -, mknodat 259 33, chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, lchown 94 -,
fchown 93 55, fchownat 260 54, truncate 76 45, utime 132 -, utimes 235 -, utimensat 280 88,
futimesat 261 -, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14,
lremovexattr 198 15, fremovexattr 199 16
"""
_OPEN_FLAGS = (("open 2 -", 1), ("openat 257 56", 2))
_WRITING = 0o3 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
_NEW_NAMESPACE = 0x7E020080  # all CLONE_NEW... flags
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into a terminal

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def filter_calls(*, writing: bool) -> bool:
    """Filter this process' system calls from now on; it must have set "no new privileges".

    Args:
        writing: whether files may be made and changed.

    Returns:
        False where that is impossible: another architecture or a kernel without filters.
    """
    if not sys.platform.startswith("linux") or os.uname().machine not in _ARCHITECTURES:
        return False
    program = _program(writing)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header), 0, 0) == 0


def _program(writing: bool) -> bytes:
    column, architecture = _ARCHITECTURES[os.uname().machine]

    def numbers(table: str) -> list[int]:
        columns = [entry.split()[1:] for entry in table.split(",")]
        return [int(entry[column]) for entry in columns if entry[column] != "-"]

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    def refuse(number: int, error: int) -> bytes:
        return instruction(_EQUAL, number, 0, 1) + instruction(_RETURN, _ERROR | error)

    def argument(index: int) -> bytes:  # its lower half
        return instruction(_LOAD, 16 + 8 * index)

    allow, refused = instruction(_RETURN, _ALLOW), instruction(_RETURN, _ERROR | _EPERM)
    parts = [
        instruction(_LOAD, 4),
        instruction(_EQUAL, architecture, 1, 0),
        instruction(_RETURN, _KILL),
        instruction(_LOAD, 0),
        instruction(_ABOVE, _NEWEST, 0, 1),
        instruction(_RETURN, _ERROR | _ENOSYS),
    ]

    def special(number: int, body: list[bytes]) -> None:
        """``body`` for one call; it always returns."""
        parts.append(instruction(_EQUAL, number, 0, len(body)))
        parts.extend(body)

    for number in numbers(_OWN):
        me = [instruction(_EQUAL, os.getpid(), 0, 1), allow]
        if number in numbers("prlimit64 302 261, sched_setaffinity 203 122"):
            me += [instruction(_EQUAL, 0, 0, 1), allow]  # 0 means the caller
        special(number, [argument(0), *me, refused])
    for number in numbers("clone 56 220"):
        special(number, [argument(0), instruction(_ANY_BIT, _NEW_NAMESPACE, 0, 1), refused, allow])
    for number in numbers("ioctl 16 29"):
        typing = [part for call in _TERMINAL for part in (instruction(_EQUAL, call, 0, 1), refused)]
        special(number, [argument(1), *typing, allow])
    if not writing:
        for table, index in _OPEN_FLAGS:
            for number in numbers(table):
                flags = [instruction(_ANY_BIT, _WRITING, 0, 1), refused, allow]
                special(number, [argument(index), *flags])
    parts += [refuse(number, _ENOSYS) for number in numbers(_MISSING)]
    parts += [refuse(number, _EPERM) for number in numbers(_NEVER)]
    if not writing:
        parts += [refuse(number, _EPERM) for number in numbers(_FILES)]
    return b"".join([*parts, allow])
