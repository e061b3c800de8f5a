"""What a benchmark reports, and the tools to measure: medians of several, memory of a process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measured promise.

    Attributes:
        name: what was done.
        ours: our figure, and ``baseline`` the other's, in ``unit``; None where there is no other.
        ratio: of the two, in the direction that ``target`` names; None without a baseline.
        unit: of ``ours`` and ``baseline``.
        target: what to reach, in words.
        met: whether it was; None where nothing was asked.
    """

    name: str
    ours: float
    baseline: float | None
    ratio: float | None
    unit: str
    target: str
    met: bool | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """Median wall time of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def in_process(code: str) -> str:
    """Standard output of a fresh Python process: peak memory is that of the work alone."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a benchmark process failed:\n{done.stderr[-2000:]}")
    return done.stdout
