"""Features of pool rows in fixed row ranges: one artifact a range.

A range depends on the prepared pool alone, not on the pool size in use or on how many jobs work, so
one pass serves every pool size, budget and seed of a sweep, and several jobs share the work: each
takes the ranges that no other job is at. A stop loses at most one range. What a pass will write is
computed before it starts, printed, and refused if the disk has no room for it.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifacts import Artifact, Store
from harness.memory import peak_memory_mb
from harness.pool import Pool, Row

log = logging.getLogger(__name__)

FILE = "features.safetensors"
# Rows of one range, and a function to call with (rows, tokens) of each finished batch.
Compute = Callable[[list[Row], Callable[[int, int], None]], Mapping[str, np.ndarray]]


class NoRoom(OSError):
    """The disk has no room for what a pass would write."""


@dataclass(frozen=True)
class RowFeature:
    """Arrays with one entry a pool row, kept in ranges.

    Attributes:
        pool: whose rows; only those in use are given out.
        parts: every stored range that covers them.
    """

    pool: Pool
    parts: list[tuple[range, Artifact]]

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """One array a range, [rows, ...], in pool order."""
        for rows, artifact in self.parts:
            yield load(artifact, name)[: max(0, self.pool.size - rows.start)]

    def array(self, name: str) -> np.ndarray:
        """All rows in use: [rows, ...]."""
        return np.concatenate(list(self.blocks(name)))

    @property
    def seconds(self) -> float:
        """What computing the rows in use took, whenever it was done."""
        return sum(
            artifact.info["seconds"] * min(len(rows), self.pool.size - rows.start) / len(rows)
            for rows, artifact in self.parts
        )

    @property
    def peak_memory_mb(self) -> float:
        """The highest of any range."""
        return max(artifact.info["peak_memory_mb"] for _, artifact in self.parts)

    @property
    def reused(self) -> bool:
        """Whether this run computed nothing of it."""
        return all(artifact.reused for _, artifact in self.parts)

    @property
    def spent(self) -> dict[str, Any]:
        """The fields of a ``record.StageCost`` that say what the work took and whether it ran."""
        used = [min(len(rows), self.pool.size - rows.start) / len(rows) for rows, _ in self.parts]
        parts = [artifact.attempts for _, artifact in self.parts]
        known = all(part.get("energy_joules") is not None for part in parts)
        wasted = [part.get("energy_wasted_joules", 0.0) for part in parts]
        return {
            "seconds": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
            "reused": self.reused,
            "attempts": max(part.get("attempts", 1) for part in parts),
            "seconds_wasted": sum(part.get("seconds_wasted", 0.0) for part in parts),
            "energy_joules": (
                sum(p["energy_joules"] * u for p, u in zip(parts, used, strict=True))
                if known
                else None
            ),
            "energy_wasted_joules": sum(wasted),
            "peak_host_mb": max(part.get("peak_host_mb", 0.0) for part in parts),
            "peak_device_mb": max(part.get("peak_device_mb", 0.0) for part in parts),
        }


def ensure_ranges(
    pool: Pool,
    rows_per_range: int,
    ensure: Callable[[range, bool, Callable[[int, int], None]], Artifact | None],
    *,
    label: str,
    progress: bool,
) -> RowFeature:
    """Every range that covers the rows in use, computing what is missing.

    Args:
        ensure: gives the artifact of a range. Its second argument says whether to wait for a job
            that is at this range (or return None), its third is to be called with (rows, tokens).
    """
    from harness.progress import RowProgress

    ranges = pool.ranges(rows_per_range)
    found: dict[int, Artifact] = {}
    with RowProgress(label, pool.size, show=progress) as bar:
        for wait in (False, True):  # first what no other job is at, then wait for the rest
            for rows in ranges:
                if rows.start in found:
                    continue
                artifact = ensure(rows, wait, bar.update)
                if artifact is not None:
                    found[rows.start] = artifact
                    if artifact.found:
                        bar.skip(len(rows))
    return RowFeature(pool, [(rows, found[rows.start]) for rows in ranges])


def compute_ranges(
    store: Store,
    pool: Pool,
    rows_per_range: int,
    kind: str,
    identity: Mapping[str, Any],
    compute: Compute,
    *,
    bytes_per_row: int,
    progress: bool,
) -> RowFeature:
    """A feature of a method's own, computed range by range and kept in the store.

    Args:
        kind: one word for it: the folder in the store.
        identity: all that decides the values but pool and rows (model, settings, version).
        compute: arrays by name for the rows of one range, each [rows, ...].
        bytes_per_row: what a row takes on the disk.
    """
    missing = missing_rows(store, pool, rows_per_range, kind, identity)
    check_room(store, kind, missing, bytes_per_row)

    def ensure(rows: range, wait: bool, on_rows: Callable[[int, int], None]) -> Artifact | None:
        def build(part: Path) -> dict[str, Any]:
            start = time.perf_counter()
            arrays = compute(pool.rows(rows), on_rows)
            seconds = time.perf_counter() - start
            for key, values in arrays.items():
                if len(values) != len(rows):
                    raise ValueError(f"{kind}: {key} has {len(values)} rows instead of {len(rows)}")
            save(part, arrays)
            return {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}

        return store.ensure(kind, range_identity(identity, pool, rows), build, wait=wait)

    return ensure_ranges(pool, rows_per_range, ensure, label=kind, progress=progress)


def range_identity(identity: Mapping[str, Any], pool: Pool, rows: range) -> dict[str, Any]:
    """What names the artifact of one range."""
    return {**identity, "pool": pool.digest, "rows": [rows.start, rows.stop]}


def missing_rows(
    store: Store, pool: Pool, rows_per_range: int, kind: str, identity: Mapping[str, Any]
) -> int:
    """Rows of ranges that are not in the store yet."""
    return sum(
        len(rows)
        for rows in pool.ranges(rows_per_range)
        if not store.folder(kind, range_identity(identity, pool, rows)).is_dir()
    )


def check_room(store: Store, kind: str, rows: int, bytes_per_row: int) -> None:
    """Print what a pass over ``rows`` rows will write.

    Raises:
        NoRoom: more than the disk has free.
    """
    need = rows * bytes_per_row
    if not need:
        return
    store.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store.root).free
    log.info("%s: %s rows, %s on the disk", kind, f"{rows:,}", size(need))
    if need > free:
        raise NoRoom(
            f"{kind} over {rows:,} rows takes {size(need)}, but {store.root} has {size(free)} "
            "free. Give store= a folder with more room, or pool.size= a smaller pool"
        )


def size(count: float) -> str:
    """Bytes in a unit that reads well."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def save(part: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays of one range.

    Raises:
        FloatingPointError: one of them is not finite.
    """
    from safetensors.numpy import save_file

    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise FloatingPointError(
                f"the selector model gave {name} that are not finite; try model.dtype=float32"
            )
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    save_file(contiguous, part / FILE)


def load(artifact: Artifact, name: str) -> np.ndarray:
    """One array of a stored range or query set."""
    from safetensors import safe_open

    with safe_open(artifact.path / FILE, framework="numpy") as file:
        return file.get_tensor(name)
