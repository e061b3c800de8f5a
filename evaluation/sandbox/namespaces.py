"""Namespaces and a root folder of its own, by system calls alone. Standard library only.

The child sees an in-memory file system with the interpreter's library and the system's shared
libraries bound in, read-only. It lives in a chroot, which also keeps the kernel from letting it
make user namespaces.
"""

from __future__ import annotations

import ctypes
import os

from limits import NOBODY, call, libc, library_folders

# Mount, host name, IPC, user, PID, network.
ALL = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
WORK = "/work"

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 1, 2, 4, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# statvfs bit -> mount flag: those that a bind may not lose.
_LOCKED = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}


def write_maps(child: int) -> None:
    """Give a child that is in a new user namespace this process' user there (and nobody's)."""
    uid, gid = os.geteuid(), os.getegid()
    more = f"{NOBODY} {NOBODY} 1\n" if uid == 0 else ""  # needs rights in this namespace
    if uid:
        _write(f"/proc/{child}/setgroups", "deny")
    _write(f"/proc/{child}/uid_map", f"{uid} {uid} 1\n{more}")
    _write(f"/proc/{child}/gid_map", f"{gid} {gid} 1\n{more}")


def enter_root(root: str) -> None:
    """Leave the machine's files for a root of libraries and an empty folder.

    Raises:
        OSError: the kernel refuses.
    """
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for place in library_folders():
        target = root + place
        if os.path.islink(place):
            os.symlink(os.readlink(place), target)
        elif os.path.isdir(place) and not os.path.exists(target):
            os.makedirs(target)
            _mount(place, target, None, _MS_BIND | _MS_REC)
            held = os.statvfs(target).f_flag
            flags = sum(flag for bit, flag in _LOCKED.items() if held & bit)
            _mount(None, target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)
    work = root + WORK
    os.mkdir(work)
    _mount("tmpfs", work, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=32m,nr_inodes=4k,mode=777")
    flags = _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    _mount(None, root, "tmpfs", flags, "size=1m,mode=755")
    os.chroot(root)
    os.chdir(WORK)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else value.encode()

    call(libc.mount, text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
