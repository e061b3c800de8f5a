"""What work took over all its attempts, and what of it was wasted.

While an artifact is built a journal beside the store's locks says how long the attempt has run, how
much energy it took and its peak memory; a thread renews it every two seconds, so that an attempt
that is killed leaves its figures behind. When the artifact is there its manifest takes them over:

* *kept*: the last attempt, and of earlier ones what came before their last checkpoint;
* *wasted*: the rest, which was done again.

Work that asks for further artifacts is charged without them: its clock stands still ``apart`` from
them, whether they are made, waited for or read, since each has figures of its own.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.energy import Energy
from harness.files import write_atomic
from harness.memory import device_peak_mb, host_peak_mb, reset_peak

BEAT = 2.0  # seconds between two entries in the journal
CHECKPOINTS = (
    "checkpoints/*/trainer_state.json"  # in a part folder: what a next attempt goes on from
)
_open = threading.local()


class Clock:
    """Seconds, joules and peak memory of one piece of work, without what was ``paused``.

    Attributes:
        began: by the clock on the wall.
    """

    def __init__(self) -> None:
        self.began = time.time()
        self._start = time.perf_counter()
        self._energy = Energy()
        self._apart = (0.0, 0.0)  # seconds and joules of pauses that are over
        self._stopped: tuple[float, float | None] | None = None  # what it said when it stopped
        self._peaks = (0.0, 0.0)

    def read(self) -> tuple[float, float | None]:
        """Seconds, and joules (None where there is no counter), of the work so far."""
        return self._stopped or self._now()

    def peaks(self) -> tuple[float, float]:
        """Resident and device memory at the most, in MB."""
        if self._stopped:
            return self._peaks
        host, device = self._peaks
        return max(host, host_peak_mb()), max(device, device_peak_mb())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within is not counted, and neither is its memory."""
        self._peaks, before = self.peaks(), self._now()
        self._stopped = before
        try:
            yield
        finally:
            after, (seconds, joules) = self._now(), self._apart
            spent = (after[1] or 0.0) - (before[1] or 0.0)
            self._apart = (seconds + after[0] - before[0], joules + spent)
            self._stopped = None
            reset_peak()

    def _now(self) -> tuple[float, float | None]:
        joules = self._energy.joules()
        seconds = time.perf_counter() - self._start - self._apart[0]
        return seconds, None if joules is None else joules - self._apart[1]


def clock() -> Clock:
    """The clock of the work that this thread is at."""
    work: Attempts = _open.stack[-1]
    return work.clock


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """What is done within is another's work than that which this thread is at, if it is at any."""
    around: list[Attempts] = getattr(_open, "stack", [])
    with around[-1].clock.paused() if around else contextlib.nullcontext():
        yield


class Attempts:
    """The attempts at one artifact; a ``with`` is one more.

    Args:
        journal: a file that outlives a killed attempt and goes when one succeeds.
        part: where an attempt leaves checkpoints, if the next goes on from them.
        alongside: the work is that of the attempt around this one, which leaves two artifacts.
    """

    def __init__(
        self,
        journal: Path,
        part: Path | None = None,
        *,
        alongside: bool = False,
        beat: float = BEAT,
    ) -> None:
        self.journal, self.part, self.beat = journal, part, beat
        self.clock: Clock
        around: list[Attempts] = getattr(_open, "stack", [])
        self._outer = around[-1] if alongside and around else None

    def __enter__(self) -> Attempts:
        _open.stack = [*getattr(_open, "stack", []), self]
        self.earlier = [self._settled(entry) for entry in self._read()]
        self.clock = self._outer.clock if self._outer else Clock()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._note()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        _open.stack = _open.stack[:-1]
        self._stop.set()
        self._thread.join()
        if kind is None:
            self.journal.unlink(missing_ok=True)
        else:
            self._note()

    def summary(self) -> dict[str, Any]:
        """Of all attempts so far, this one taken to succeed: plain data for a manifest."""
        now, past = self._entry(), self.earlier
        kept = [entry["kept"] / entry["seconds"] if entry["seconds"] else 0.0 for entry in past]
        joules = [entry["joules"] or 0.0 for entry in past]
        known = now["joules"] is not None
        return {
            "attempts": len(past) + 1,
            "seconds_before": sum(entry["kept"] for entry in past),
            "seconds_wasted": sum(entry["seconds"] - entry["kept"] for entry in past),
            "energy_joules": (
                now["joules"] + sum(j * k for j, k in zip(joules, kept, strict=True))
                if known
                else None
            ),
            "energy_wasted_joules": sum(j * (1 - k) for j, k in zip(joules, kept, strict=True)),
            "peak_host_mb": max(entry["host_mb"] for entry in [now, *past]),
            "peak_device_mb": max(entry["device_mb"] for entry in [now, *past]),
        }

    def _entry(self) -> dict[str, Any]:
        seconds, joules = self.clock.read()
        host, device = self.clock.peaks()
        return {
            "began": self.clock.began,
            "seconds": seconds,
            "joules": joules,
            "host_mb": host,
            "device_mb": device,
        }

    def _settled(self, entry: dict[str, Any]) -> dict[str, Any]:
        """An earlier attempt with the seconds of it that its last checkpoint saved."""
        if "kept" in entry:
            return entry
        found = self.part.glob(CHECKPOINTS) if self.part else ()
        saved = max((file.stat().st_mtime for file in found), default=entry["began"])
        return {**entry, "kept": min(max(saved - entry["began"], 0.0), entry["seconds"])}

    def _read(self) -> list[dict[str, Any]]:
        with contextlib.suppress(OSError, ValueError):
            return list(json.loads(self.journal.read_text(encoding="utf-8")))
        return []

    def _note(self) -> None:
        with self._lock:
            write_atomic(self.journal, json.dumps([*self.earlier, self._entry()]))

    def _beat(self) -> None:
        while not self._stop.wait(self.beat):
            with contextlib.suppress(OSError):  # a full disk is no reason to stop the work
                self._note()


def spent(attempts: dict[str, Any]) -> dict[str, Any]:
    """The fields of a ``record.StageCost`` that a manifest's attempts give."""
    return {key: value for key, value in attempts.items() if key != "seconds_before"}
