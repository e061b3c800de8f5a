"""What a process gives up before it runs a program. Standard library only."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys

from landlock import Rules
from syscalls import filter_calls

TYPE_CHECKING = False  # importing typing would cost every candidate that is a fresh interpreter
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

libc = ctypes.CDLL(None, use_errno=True)

NOBODY = 65534
PROCESSES = 32

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SUBREAPER, _PR_NO_NEW_PRIVS = 1, 4, 36, 38


class Limits:
    """What a program may use.

    Attributes:
        timeout: seconds of its own (see ``watch.py``).
        memory_mb: MiB of address space of each of its processes, and resident of all of them.
        processes: threads and processes of its user.
    """

    def __init__(self, timeout: float, memory_mb: int, processes: int = PROCESSES) -> None:
        self.timeout = timeout
        self.memory_mb = memory_mb
        self.processes = processes


def call(function: Callable[..., int], *arguments: object) -> None:
    """Call the C library.

    Raises:
        OSError: it did not return 0.
    """
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that it can end them."""
    libc.prctl(_PR_SET_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Let the kernel end this process when its parent ends."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def shield(on: bool = True) -> None:
    """Keep other processes of the same user from reading this one's memory and descriptors."""
    libc.prctl(_PR_SET_DUMPABLE, int(not on), 0, 0, 0)


def limit(limits: Limits) -> None:
    """Put limits on each of this process and its children."""
    # Time is watched from outside; this is for the case that the watch is late.
    cpu = math.ceil(limits.timeout) + 1
    for kind, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, limits.memory_mb << 20),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (value, value))


def library_folders() -> list[str]:
    """Where the interpreter's and the system's libraries lie."""
    library = os.path.realpath(os.path.dirname(os.__file__))
    shared = os.path.realpath(os.path.join(sys.base_prefix, "lib"))
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    return list(dict.fromkeys([library, *system, shared]))


def give_up_rights(limits: Limits, *, writable: Collection[str]) -> list[str]:
    """Become nobody (if root), without capabilities, environment and most system calls.

    Args:
        limits: to put on.
        writable: folders in which files may be made; none: nowhere.

    Returns:
        The kernel's guards now in force: "seccomp", "landlock", as far as it has them.
    """
    rules = Rules(library_folders(), writable)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    limit(limits)
    resource.setrlimit(resource.RLIMIT_NPROC, (limits.processes, limits.processes))
    libc.prctl(_PR_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call(libc.capset, header, (ctypes.c_uint32 * 6)())
    os.environ.clear()
    guards = {"landlock": rules.enforce(), "seccomp": filter_calls(writing=bool(writable))}
    return sorted(name for name, works in guards.items() if works)


def threads_of(user: int) -> int:
    """Threads of all processes of a user."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # ended meanwhile
            continue
    return count


def keep_only(keep: Collection[int]) -> None:
    """Close all file descriptors but those; standard streams lead to /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    last = 2
    for number in sorted(keep):
        os.closerange(last + 1, number)
        last = number
    os.closerange(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
