"""How much time and memory a program has used, watched from outside. Standard library only.

A program's own time is wall time less the time its processes were ready to run but had to wait for
a processor. So a busy machine fails no program: one that computes is ended after as many seconds of
computing, one that sleeps after as many seconds of sleep. Where the kernel does not tell waiting
times, own time is wall time.
"""

from __future__ import annotations

import os
import time

from backends import descendants

# Wall time is at most so many times the time allowed, and at least so many seconds.
PATIENCE, LEAST_PATIENCE = 10, 30
PERIOD = 0.1  # seconds between two looks; each costs about a millisecond

_OURS_MB = 128  # of checker, interpreter and shared libraries
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch:
    """From now on, of all descendants of this process together.

    Args:
        timeout: seconds of own time, and of computing by all processes together.
        memory_mb: MiB resident in all processes together, beside ``_OURS_MB``.
    """

    def __init__(self, timeout: float, memory_mb: float) -> None:
        self._timeout = timeout
        self._memory_mb = memory_mb
        self._start = time.monotonic()
        self._end = longest(timeout)
        self._waited_before = sum(_waited(pid) for pid in descendants())

    def next_look(self) -> float:
        """Seconds until it is worth looking again."""
        left = self._timeout - (time.monotonic() - self._start)
        return min(PERIOD, left) if left > 0 else PERIOD

    def verdict(self) -> str:
        """What the program has exceeded; "" if nothing."""
        wall = time.monotonic() - self._start
        computed = waited = memory = 0.0
        for pid in descendants():
            computed += _computed(pid)
            waited += _waited(pid)
            memory += _resident(pid)
        own = wall - max(0.0, waited - self._waited_before)
        if max(own, computed) > self._timeout or wall > self._end:
            return "time is up"
        return "out of memory" if memory > self._memory_mb + _OURS_MB else ""


def longest(timeout: float) -> float:
    """Seconds of wall time after which a program is ended, however busy the machine is."""
    return max(PATIENCE * timeout, LEAST_PATIENCE)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:  # ended meanwhile
        return ""


def _computed(pid: int) -> float:
    """Seconds, with those of ended children."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return _TICK * sum(map(int, fields[11:15]))


def _waited(pid: int) -> float:
    """Seconds that its threads waited for a processor."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0.0
    words = [_read(f"/proc/{pid}/task/{thread}/schedstat").split() for thread in threads]
    return sum(int(word[1]) for word in words if len(word) > 1) * 1e-9


def _resident(pid: int) -> float:
    """MiB."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_MB if fields else 0.0
