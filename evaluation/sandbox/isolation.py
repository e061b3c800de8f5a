"""Namespaces and limits for a child process, by system calls alone. Standard library only.

The child sees a root of its own: an in-memory file system with the interpreter's library and the
system's shared libraries bound in, read-only. It lives in a chroot, which also keeps the kernel
from letting it make user namespaces, and holds no capabilities.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)

_NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 1, 2, 4, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# statvfs bit -> mount flag: those that a bind may not lose.
_LOCKED = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SUBREAPER, _PR_NO_NEW_PRIVS = 1, 4, 36, 38
_NOBODY = 65534
_PROCESSES = 32


@dataclass(frozen=True)
class Limits:
    """What a process may use: seconds (wall; CPU rounded up) and MiB of address space."""

    timeout: float
    memory_mb: int


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that it can end them."""
    _libc.prctl(_PR_SET_SUBREAPER, 1, 0, 0, 0)


def shield() -> None:
    """Keep other processes of the same user from reading this one's memory."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit(limits: Limits) -> None:
    """Put limits on this process and its children."""
    cpu = math.ceil(limits.timeout) + 1
    for kind, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, limits.memory_mb << 20),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def start(
    run: Callable[[], None],
    root: str,
    limits: Limits,
    *,
    keep: Collection[int],
    namespaces: bool,
) -> None:
    """Run a function in an isolated child process; returns at once.

    Args:
        run: called in the child, which ends with it.
        root: an empty folder, the place of the child's own root.
        limits: of each of its processes.
        keep: the only file descriptors left open, beside /dev/null as 0, 1 and 2.
        namespaces: whether to give it namespaces of its own, or limits only.
    """
    here, there = os.pipe()
    go, went = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.setsid()
            if namespaces:
                _call(_libc.unshare, _NEW_NAMESPACES)
                os.write(there, b"1")
                os.read(go, 1)  # the parent has written the maps
            _only(keep)
            if namespaces:
                _as_first_process(root, limits, run)
            else:
                _give_up_rights(limits, namespaces=False)
                run()
        except BaseException:
            pass
        finally:
            os._exit(1)
    os.close(there)
    os.close(go)
    if namespaces and os.read(here, 1):
        _write_maps(child)
        os.write(went, b"1")
    os.close(here)
    os.close(went)


def probe(root: str) -> str:
    """Why namespaces do not work here; "" if they do."""
    if not sys.platform.startswith("linux"):
        return f"the platform is {sys.platform}"
    told, tells = os.pipe()

    def run() -> None:
        import bz2  # noqa: F401  a shared library must be found in the new root

        os.write(tells, b"ok")

    start(run, root, Limits(5, 1024), keep=(tells,), namespaces=True)
    os.close(tells)
    word = os.read(told, 2)
    os.close(told)
    kill_children()
    return "" if word == b"ok" else "unshare, mount or chroot is refused"


def kill_children() -> None:
    """End all children of this process, and theirs as they are handed on."""
    me = os.getpid()
    while True:
        with open(f"/proc/self/task/{me}/children", encoding="ascii") as stream:
            children = [int(pid) for pid in stream.read().split()]
        if not children:
            return
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        ended = 1
        while ended:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
        time.sleep(0.0005)


def _as_first_process(root: str, limits: Limits, run: Callable[[], None]) -> None:
    """Go on as process 1 of the new PID namespace: when it ends, all in it end."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _enter_root(root)
    _give_up_rights(limits, namespaces=True)
    run()
    os._exit(0)


def _write_maps(child: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    more = f"{_NOBODY} {_NOBODY} 1\n" if uid == 0 else ""  # needs rights in this namespace
    if uid:
        _write(f"/proc/{child}/setgroups", "deny")
    _write(f"/proc/{child}/uid_map", f"{uid} {uid} 1\n{more}")
    _write(f"/proc/{child}/gid_map", f"{gid} {gid} 1\n{more}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)


def _enter_root(root: str) -> None:
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=32m,mode=755")
    library = os.path.realpath(os.path.dirname(os.__file__))
    places = [library, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    shared = os.path.join(sys.base_prefix, "lib")
    for place in dict.fromkeys([*places, os.path.realpath(shared)]):
        target = root + place
        if os.path.islink(place):
            os.symlink(os.readlink(place), target)
        elif os.path.isdir(place) and not os.path.exists(target):
            os.makedirs(target)
            _mount(place, target, None, _MS_BIND | _MS_REC)
            held = os.statvfs(target).f_flag
            flags = sum(flag for bit, flag in _LOCKED.items() if held & bit)
            _mount(None, target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)
    os.mkdir(f"{root}/work")
    os.chmod(f"{root}/work", 0o777)
    os.chroot(root)
    os.chdir("/work")


def _give_up_rights(limits: Limits, *, namespaces: bool) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    limit(limits)
    # Without namespaces all threads of the user count, so what runs already is added.
    processes = _PROCESSES + (0 if namespaces else _threads_of(os.getuid()))
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    _libc.prctl(_PR_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _call(_libc.capset, header, (ctypes.c_uint32 * 6)())
    os.environ.clear()


def _threads_of(user: int) -> int:
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # ended meanwhile
            continue
    return count


def _only(keep: Collection[int]) -> None:
    """Close all file descriptors but those; standard streams lead to /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    last = 2
    for number in sorted(keep):
        os.closerange(last + 1, number)
        last = number
    os.closerange(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else value.encode()

    _call(_libc.mount, text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
