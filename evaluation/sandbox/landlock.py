"""Landlock: the files that a process and its children may open, whoever they are. Linux 5.13 on.

Also shut, as far as the kernel knows them: TCP (6.7), abstract sockets and signals to processes
outside (6.12). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False  # importing typing would cost every candidate that is a fresh interpreter
if TYPE_CHECKING:
    from collections.abc import Collection

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# Version of the interface -> number of access rights to files that it knows.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_NEWER_RIGHTS = 16


class Rules:
    """Prepared while the folders can still be reached, put in force later.

    Args:
        readable: folders whose files may be read.
        writable: folders in which anything may be done.
    """

    def __init__(self, readable: Collection[str], writable: Collection[str] = ()) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._rules = -1
        version = self._call(_CREATE, None, 0, 1)
        if version < 1:
            return
        rights = (1 << _RIGHTS.get(version, _NEWER_RIGHTS)) - 1
        attributes = struct.pack("Q", rights)
        if version >= 4:
            attributes += struct.pack("Q", 3)  # TCP: bind, connect
        if version >= 6:
            attributes += struct.pack("Q", 3)  # abstract sockets, signals
        self._rules = self._call(_CREATE, attributes, len(attributes), 0)
        for folders, allowed in ((readable, _READ_FILE | _READ_FOLDER), (writable, rights)):
            for folder in folders:
                self._allow(folder, allowed)

    def enforce(self) -> bool:
        """Restrict this process, which must have set "no new privileges"; whether it worked."""
        if self._rules < 0:
            return False
        done = self._call(_RESTRICT, self._rules, 0)
        os.close(self._rules)
        self._rules = -1
        return done == 0

    def _allow(self, folder: str, allowed: int) -> None:
        try:
            handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # what is not there needs no rule
            return
        self._call(_ADD_RULE, self._rules, 1, struct.pack("=QI", allowed, handle), 0)
        os.close(handle)

    def _call(self, number: int, *arguments: object) -> int:
        given = [ctypes.c_size_t(a) if isinstance(a, int) else a for a in arguments]
        return self._libc.syscall(number, *given)
