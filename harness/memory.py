"""Peak memory of a stretch of work, not of the whole life of the process.

A sweep runs many cells in one process, so the peak is set back where a stretch begins: on CUDA by
torch, on Linux through ``/proc``. Elsewhere the process's peak is all there is.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import Any

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Begin a stretch."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")  # the kernel's word for: the peak is what is resident now
    if _cuda():
        sys.modules["torch"].cuda.reset_peak_memory_stats()


def peak_memory_mb() -> float:
    """Peak since the stretch began, in MB: of the CUDA device if one is in use, else resident."""
    return device_peak_mb() if _cuda() else host_peak_mb()


def device_peak_mb() -> float:
    """Peak on the CUDA device since the stretch began, in MB; 0 if none is in use."""
    return float(sys.modules["torch"].cuda.max_memory_allocated()) / 2**20 if _cuda() else 0.0


def host_peak_mb() -> float:
    """Peak resident memory since the stretch began, in MB."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _cuda() -> bool:
    # Asked by another thread while torch is being imported, the module is there and half empty.
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    return is_initialized is not None and cuda.is_available() and is_initialized()
