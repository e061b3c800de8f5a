"""The ways to isolate a candidate, strongest first. Standard library only.

Each starts ``candidate.serve`` in a child process that holds two pipe ends and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import ClassVar

import bubblewrap
import namespaces
from candidate import serve
from limits import NOBODY, Limits, end_with_parent, keep_only, libc, shield, threads_of

_NEW_USER = 0x10000000


class Backend:
    """Isolation of one kind; ``root`` is an empty folder that a backend may mount on.

    ``reads_library`` says whether programs reach the interpreter's library wherever it lies.
    """

    name: ClassVar[str]
    reads_library: ClassVar[bool] = True

    def __init__(self, root: str) -> None:
        self.root = root

    def start(self, asked: int, tells: int, limits: Limits) -> None:
        """Start a candidate that reads requests from ``asked`` and answers to ``tells``."""
        raise NotImplementedError


class Bubblewrap(Backend):
    """A fresh interpreter in bubblewrap."""

    name = "bubblewrap"

    def start(self, asked: int, tells: int, limits: Limits) -> None:
        """See ``Backend.start``."""

        def run() -> None:
            keep_only((asked, tells))
            for handle in (asked, tells):
                os.set_inheritable(handle, True)
            words = bubblewrap.command(asked, tells, limits, root=os.geteuid() == 0)
            os.execve(words[0], words, {})

        # Root is given a user namespace beforehand, in which nobody is somebody else.
        _start(run, _NEW_USER if os.geteuid() == 0 else 0)


class Namespaces(Backend):
    """A copy of this process in namespaces of its own."""

    name = "namespaces"

    def start(self, asked: int, tells: int, limits: Limits) -> None:
        """See ``Backend.start``."""

        def run() -> None:
            keep_only((asked, tells))
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                return
            # Process 1 of the new PID namespace: when it ends, all in it end.
            end_with_parent()
            namespaces.enter_root(self.root)
            serve(asked, tells, limits, writable=(namespaces.WORK,))

        _start(run, namespaces.ALL)


class Rlimits(Backend):
    """A copy of this process under limits and the kernel's guards alone."""

    name = "rlimits"
    reads_library = False

    def start(self, asked: int, tells: int, limits: Limits) -> None:
        """See ``Backend.start``."""
        # Without a namespace all threads of the user count, so what runs already is added.
        user = NOBODY if os.geteuid() == 0 else os.getuid()
        processes = limits.processes + threads_of(user)
        limits = Limits(limits.timeout, limits.memory_mb, processes)

        def run() -> None:
            keep_only((asked, tells))
            serve(asked, tells, limits, writable=())

        _start(run, 0)


BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend for backend in (Bubblewrap, Namespaces, Rlimits)
}


def _start(run: Callable[[], None], flags: int) -> None:
    """Call ``run`` in a child process, in new namespaces; returns at once."""
    here, there = os.pipe()
    go, went = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            shield(False)  # or nobody could write its maps
            end_with_parent()
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            if flags:
                if libc.unshare(flags) != 0:
                    os._exit(1)
                os.write(there, b"1")
                os.read(go, 1)  # the parent has written the maps
            run()
        except BaseException:
            pass
        finally:
            os._exit(1)
    os.close(there)
    os.close(go)
    try:
        if flags and os.read(here, 1):
            namespaces.write_maps(child)
            os.write(went, b"1")
    finally:
        os.close(here)
        os.close(went)


def kill_children() -> None:
    """End all descendants of this process; the orphans among them are handed on to it.

    Raises:
        RuntimeError: some are still there after many seconds.
    """
    deadline = time.monotonic() + 20
    while found := descendants():
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # ended meanwhile
                continue
        ended = 1
        while ended:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
        if time.monotonic() > deadline:
            raise RuntimeError("processes of a program cannot be ended")
        time.sleep(0.0005)


def descendants() -> list[int]:
    """All processes below this one."""
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as stream:
                    children = [int(word) for word in stream.read().split()]
                found += children
                todo += children
        except OSError:  # ended meanwhile
            continue
    return found


def platform_reason() -> str:
    """Why no backend can work on this platform; "" on Linux."""
    return "" if sys.platform.startswith("linux") else f"the platform is {sys.platform}"
