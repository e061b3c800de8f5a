"""The methods without a forward pass over the real pool: seconds, and memory that is flat in rows.

Each measurement is a fresh process over a prepared pool with nothing of the method in the store.
The queries of BM25 are Arena Hard's 500 with their long answers.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from tests.benchmarks.frame import Row, in_process

SECONDS = 60
METHODS = ("random", "balanced", "length", "bm25")

_CODE = """
import json, time
from pathlib import Path
from hydra import compose, initialize_config_module
from harness import ordering
from harness.artifacts import Store
from harness.memory import peak_memory_mb, reset_peak
from harness.micro_data import model_folder
from harness.pool import prepare
from harness.settings import build

words = [
    "method={method}", "pool=jsonl", "pool.path={data}/pool", "pool.size={size}",
    "target=arena_hard", "target.path={data}/benchmarks/arena_hard", "progress=false",
]
with initialize_config_module("conf", version_base="1.3"):
    settings = build(compose("config", overrides=words))
model = settings.model.model_copy(update={{"path": str(model_folder())}})
settings = settings.model_copy(update={{"model": model}})
prepared, store = Store(Path("{folder}/pool")), Store(Path("{folder}/{method}-{size}"))
pool = prepare(settings.pool, prepared, progress=False)
reset_peak()
start = time.perf_counter()
found = ordering.order(settings, store, pool, 10_000)
seconds, cpu = time.perf_counter() - start, time.process_time()
print(json.dumps([len(found.positions), pool.size, pool.total, seconds, peak_memory_mb(), cpu]))
"""


def measure(method: str, data: Path, folder: str, size: int | None) -> dict[str, float]:
    """One method over the first ``size`` rows (None: all), in a process of its own."""
    code = _CODE.format(method=method, data=data, folder=folder, size=size or "null")
    names = ("ordered", "rows", "total", "seconds", "memory_mb", "cpu")
    return dict(zip(names, json.loads(in_process(code).splitlines()[-1]), strict=True))


def rows(methods: tuple[str, ...] = METHODS) -> list[Row]:
    """Two rows a method."""
    named = os.environ.get("WINNOW_SHARED_DATA")
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    data = (Path(named) if named else beside).resolve()
    if not (data / "pool").is_dir():
        print(
            "skipped: no real pool; set WINNOW_SHARED_DATA to a folder with pool/ and benchmarks/"
        )
        return []
    found = []
    with tempfile.TemporaryDirectory() as folder:
        total = int(measure("random", data, folder, None)["total"])  # also prepares the pool
        for method in methods:
            half = measure(method, data, folder, total // 2)
            full = measure(method, data, folder, None if method != "random" else total)
            seconds, load = full["seconds"], os.getloadavg()[0]
            name = f"{method}: {total:,} rows"
            told = f"s ({full['cpu']:.0f} s of CPU with start-up, load {load:.1f})"
            found.append(
                Row(name, seconds, None, None, told, f"under {SECONDS}", seconds < SECONDS)
            )
            low, high = half["memory_mb"], full["memory_mb"]
            allowed = 1.1 * low + 16 * (total - total // 2) / 2**20
            found.append(
                Row(
                    f"{name}, peak memory, against half of them",
                    high,
                    low,
                    high / low,
                    "MB",
                    "under 10 % and 16 B a row more",
                    high < allowed,
                )
            )
    return found
