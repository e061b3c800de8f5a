"""Energy of the machine's GPUs and processors, where a counter exists: NVML and RAPL.

Both count the whole device, whoever uses it. NVML counts from the driver's start (Volta and later);
RAPL's counters wrap, and reading them takes leave on most systems (``energy_uj`` is root's).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")


class Energy:
    """Joules since it was made, summed over all counters; None where there is none."""

    def __init__(self, counters: list[Callable[[], tuple[float, float]]] | None = None) -> None:
        self._counters = found() if counters is None else counters
        self._last = [read() for read in self._counters]
        self._sum = 0.0
        self._lock = threading.Lock()

    def joules(self) -> float | None:
        """Read the counters. Call it more often than they wrap (minutes); from any thread."""
        with self._lock:
            for index, read in enumerate(self._counters):
                (before, wrap), now = self._last[index], read()
                self._sum += now[0] - before + (wrap if now[0] < before else 0.0)
                self._last[index] = now
            return self._sum if self._counters else None


@cache
def found() -> list[Callable[[], tuple[float, float]]]:
    """A function for each counter: joules counted, and joules at which it wraps (0: never)."""
    return [*packages(RAPL), *gpus(_nvml(), os.environ.get("CUDA_VISIBLE_DEVICES"))]


def packages(root: Path) -> list[Callable[[], tuple[float, float]]]:
    """RAPL's processor packages that may be read."""

    def counter(folder: Path) -> Callable[[], tuple[float, float]]:
        def read() -> tuple[float, float]:
            now = int((folder / "energy_uj").read_text())
            return now / 1e6, wrap

        wrap = int((folder / "max_energy_range_uj").read_text()) / 1e6
        read()
        return read

    usable = []
    for folder in sorted(root.glob("intel-rapl:*")):
        if folder.name.count(":") == 1:  # with two it is a part of a package
            try:
                usable.append(counter(folder))
            except (OSError, ValueError):
                continue
    return usable


def gpus(library: Any, visible: str | None) -> list[Callable[[], tuple[float, float]]]:
    """NVML's devices that have a counter; of numbered ``visible`` devices only those."""
    number = ctypes.c_uint()
    if library is None or library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(_at(number)):
        return []
    listed = (visible or "").split(",")
    wanted = {int(word) for word in listed if word.strip().isdigit()}
    usable: list[Callable[[], tuple[float, float]]] = []
    for index in range(number.value):
        handle = ctypes.c_void_p()
        if (wanted and index not in wanted) or library.nvmlDeviceGetHandleByIndex_v2(
            index, _at(handle)
        ):
            continue

        def read(handle: ctypes.c_void_p = handle) -> tuple[float, float]:
            millijoules = ctypes.c_ulonglong()
            if library.nvmlDeviceGetTotalEnergyConsumption(handle, _at(millijoules)):
                raise OSError("NVML gives no energy of this device")
            return millijoules.value / 1e3, 0.0

        try:
            read()
        except OSError:
            continue
        usable.append(read)
    return usable


def _nvml() -> Any:
    try:
        return ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None


def _at(value: Any) -> Any:
    return ctypes.byref(value)
