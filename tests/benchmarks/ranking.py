"""Ranking and round-robin at 1,000,000 rows: against the bare matrix product, the full sort and the
loop that research code uses (a dictionary of scores a query, sorted in Python, popped one by one).

Features lie on the disk as the store keeps them: float16 in range files. Seconds and memory are
those of fresh processes, read from start to end.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness import ranges, round_robin
from harness.artifacts import Artifact
from harness.memory import peak_memory_mb, reset_peak
from harness.ranking import BLOCK_ROWS, Lists, PairScores, best_entries, products, rows_of
from tests.benchmarks.frame import Row, in_process, seconds

ROWS, QUERIES, WIDTH, BUDGET = 1_000_000, 500, 384, 10_000
LARGE = (5_800_000, 949)  # the paper's full pool and all its queries
SIZES = (100_000, 300_000, 1_000_000)
ROWS_PER_RANGE = 8192
SMALL = (20_000, 50)  # what the research loop is given


def rows() -> list[Row]:
    """The promises on ranking."""
    with tempfile.TemporaryDirectory(prefix="ranking-") as folder:
        _write(Path(folder))
        found = [*_against_the_product(folder), *_scaling(folder), _exact(Path(folder))]
    return found + _picking()


def _write(folder: Path) -> None:
    """Range files and queries. One row in twenty is a copy of one of 64, so that scores tie."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, WIDTH)).astype(np.float32)

    def make(count: int) -> np.ndarray:
        values = rng.standard_normal((count, WIDTH), dtype=np.float32)
        values += 0.7 * centres[rng.integers(0, len(centres), count)]
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    copied = make(64)
    near = copied[np.arange(LARGE[1]) % 64] + make(LARGE[1])
    np.save(folder / "queries.npy", near / np.linalg.norm(near, axis=1, keepdims=True))
    for start in range(0, ROWS, ROWS_PER_RANGE):
        values = make(min(ROWS_PER_RANGE, ROWS - start))
        copies = np.flatnonzero(rng.random(len(values)) < 0.05)
        values[copies] = copied[rng.integers(0, 64, len(copies))]
        part = folder / f"{start:08d}"
        part.mkdir()
        ranges.save(part, {"features": values.astype(np.float16)})


def _blocks(folder: Path, count: int) -> Iterator[np.ndarray]:
    """float16 [rows, width], range by range."""
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        start = int(path.name)
        if start < count:
            artifact = Artifact(path, {}, found=True, reused=True)
            yield ranges.load(artifact, "features")[: count - start]


def _scores(folder: Path, count: int, queries: int) -> PairScores:
    given = np.load(folder / "queries.npy")[:queries]
    return PairScores(count, np.zeros(queries), lambda: products(_blocks(folder, count), given))


def measure(work: str, folder: str, count: int, queries: int) -> dict[str, float]:
    """Seconds, peak memory in MB and picks of ``work`` in this process: ``rank`` or ``product``."""
    import torch

    scores = _scores(Path(folder), count, queries)
    picked = 0
    reset_peak()
    start = time.perf_counter()
    if work == "rank":
        picked = len(round_robin.round_robin(scores.by_query(), min(BUDGET, count))[0])
    else:
        weights = torch.from_numpy(np.load(Path(folder) / "queries.npy")[:queries])
        for block in _blocks(Path(folder), count):
            weights @ torch.from_numpy(block).float().T
    return {
        "seconds": time.perf_counter() - start,
        "memory": peak_memory_mb(),
        "picked": picked,
    }


def _measured(work: str, folder: str, count: int, queries: int) -> dict[str, float]:
    code = (
        "import json; from tests.benchmarks.ranking import measure; "
        f"print(json.dumps(measure({work!r}, {folder!r}, {count}, {queries})))"
    )
    found: dict[str, float] = json.loads(in_process(code))
    return found


def _against_the_product(folder: str, repeats: int = 3) -> list[Row]:
    runs: dict[str, list[dict[str, float]]] = {"product": [], "rank": []}
    for _ in range(repeats):  # in turn, so that both meet the same machine
        for work, measured in runs.items():
            measured.append(_measured(work, folder, ROWS, QUERIES))
    ours, bare = (
        {key: statistics.median(run[key] for run in runs[work]) for key in ("seconds", "memory")}
        for work in ("rank", "product")
    )
    ratio = ours["seconds"] / bare["seconds"]
    memory = max(run["memory"] for run in runs["rank"])
    what = f"{BUDGET:,} of {ROWS:,} x {QUERIES} from features on disk"
    return [
        Row(what, ours["seconds"], bare["seconds"], ratio, "s",
            "at most 1.5 x the bare product", ratio <= 1.5),
        Row(f"{what}: peak memory", memory, bare["memory"], memory / bare["memory"], "MB",
            "under 1 GiB", memory < 1024),
    ]  # fmt: skip


def _scaling(folder: str) -> list[Row]:
    rows_, queries = LARGE
    runs = [_measured("rank", folder, count, queries) for count in SIZES]
    slope, fixed = np.polyfit(SIZES, [run["seconds"] for run in runs], 1)
    growth = (runs[-1]["seconds"] / SIZES[-1]) / (runs[1]["seconds"] / SIZES[1])
    more, base = np.polyfit(SIZES, [run["memory"] for run in runs], 1)
    memory = max(0.0, more) * rows_ + base
    what = f"{rows_:,} x {queries} extrapolated from three sizes"
    return [
        Row(what, slope * rows_ + fixed, None, growth, "s",
            "linear: a row of 1,000,000 at most 1.2 x one of 300,000", bool(growth <= 1.2)),
        Row(f"{what}: peak memory", memory, None, runs[-1]["memory"] / runs[0]["memory"], "MB",
            "flat: under 1 GiB", bool(memory < 1024)),
    ]  # fmt: skip


def _exact(folder: Path) -> Row:
    """Lists and picks against numpy's stable sort of every list, at the smallest size."""
    count = SIZES[0]
    given = _scores(folder, count, QUERIES)
    scores = np.concatenate([block for block in given.by_query().blocks()], axis=1)
    full = np.stack([np.argsort(-one, kind="stable").astype(np.int32) for one in scores])
    tied = int(sum(len(one) - len(np.unique(one)) for one in scores[:10]))
    assert tied > count // 10, "the benchmark is to have ties"
    lists = rows_of(best_entries(given.by_query(), 256))
    wrong = int(np.count_nonzero(lists != full[:, :256]))
    found, _ = round_robin.round_robin(given.by_query(), BUDGET)
    wrong += int(np.count_nonzero(found != _lost_turns(full, BUDGET)))
    return Row(
        f"{BUDGET:,} of {count:,} x {QUERIES}: unlike the full sort",
        wrong, 0, None, "places", "none", wrong == 0,
    )  # fmt: skip


def _lost_turns(lists: np.ndarray, n: int) -> list[int]:
    """The published loop over ranked lists."""
    taken: dict[int, None] = {}
    for offers in lists.T:
        for row in offers.tolist():
            taken[row] = None
            if len(taken) == n:
                return list(taken)
    return list(taken)


# -- picking from scores -------------------------------------------------------------------------


def _picking() -> list[Row]:
    """What is timed begins with scores in memory: every list is ranked, then the turns are taken.

    The lists are alike (a correlation of 0.84), so that most turns are lost and, for the whole
    pool, the lists are needed almost to their ends.
    """
    scores = _alike(ROWS, QUERIES)
    scaled, differ = _research_loop()
    lists = _held(scores)
    found: list[Any] = []
    result, picks = [], []
    for n, limit in ((BUDGET, 2), (ROWS, 20)):
        took = seconds(lambda n=n: found.append(round_robin.round_robin(lists, n)[0]))
        picks.append(found[-1])
        what = f"picking {n:,} of {ROWS:,} x {QUERIES}, sorting included"
        baseline = scaled if n == ROWS else None
        result.append(
            Row(what, took, baseline, baseline / took if baseline else None, "s",
                f"under {limit} s" + (f" (baseline scaled from {SMALL})" if baseline else ""),
                took < limit)
        )  # fmt: skip
    # The two budgets are found in different ways: one by streamed lists, one by whole ones.
    differ += int(np.count_nonzero(picks[0] != picks[1][:BUDGET]))
    differ += ROWS - len(np.unique(picks[1]))
    result.append(
        Row("those picks: unlike the research loop or each other",
            differ, 0, None, "places", "none", differ == 0)
    )  # fmt: skip
    return result


def _held(scores: np.ndarray) -> Lists:
    """Scores in memory [V, rows] as lists."""
    starts = range(0, scores.shape[1], BLOCK_ROWS)
    return Lists(
        scores.shape[1],
        len(scores),
        lambda: (scores[:, start : start + BLOCK_ROWS] for start in starts),
    )


def _alike(count: int, queries: int) -> np.ndarray:
    """float32 [queries, count]."""
    rng = np.random.default_rng(1)
    common = 0.7 * rng.standard_normal(count, dtype=np.float32)
    scores = np.empty((queries, count), dtype=np.float32)
    for one in scores:
        rng.standard_normal(count, dtype=np.float32, out=one)
        one *= 0.3
        one += common
    return scores


def _research_loop() -> tuple[float, int]:
    """Seconds of the plain loop for a whole pool, scaled to ROWS × QUERIES; differing places."""
    count, queries = SMALL
    scores = _alike(count, queries).round(2)
    given = [dict(enumerate(one)) for one in scores.tolist()]

    def loop() -> list[int]:
        ranked = [sorted(one.items(), key=lambda item: item[1], reverse=True) for one in given]
        queues = [iter(one) for one in ranked]
        taken: dict[int, float] = {}
        while len(taken) < count:
            for queue in queues:
                row, score = next(queue)
                if row not in taken:
                    taken[row] = score
        return list(taken)

    found: list[list[int]] = []
    took = seconds(lambda: found.append(loop()), 3)
    ours, _ = round_robin.round_robin(_held(scores), count)
    larger = (ROWS * QUERIES) / (count * queries) * np.log(ROWS) / np.log(count)
    return took * float(larger), int(np.count_nonzero(ours != found[0]))
