"""A HumanEval run of 1,480 samples in the code sandbox, none and half of them hanging.

The paper's protocol: 148 problems, ten samples each, three seconds a program. What hangs does so in
four ways in turn; a comment makes every sample different, since equal programs run once.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from evaluation.base import Grading, Item
from evaluation.codex import Codex
from evaluation.sandbox import BACKENDS, Sandbox, SandboxError
from evaluation.source import Source, read_jsonl
from tests.benchmarks.frame import Row

# What a hanging sample does at its first call.
HANGING = {
    "a loop": "    while True:\n        pass\n",
    "sleep": "    import time\n    time.sleep(10**6)\n",
    "a lock never given back": (
        "    import threading\n    lock = threading.Lock()\n"
        "    lock.acquire()\n    lock.acquire()\n"
    ),
    "endless output": "    while True:\n        print('y' * 10_000, flush=True)\n",
}


def body(kind: str, row: dict[str, Any]) -> str:
    """A hanging body of a problem's function."""
    return f"{HANGING[kind]}# {row['task_id']}\n"


def half_hanging(
    benchmark: Codex, source: Source, kinds: tuple[str, ...] = tuple(HANGING), hanging: int = 5
) -> tuple[list[Item], list[list[str]], int]:
    """Items, ten different samples of each, ``hanging`` of them hanging; how many are right."""
    rows = {row["task_id"]: row for row in read_jsonl(next(iter(benchmark.files(source).values())))}
    items, outputs, right = benchmark.items(source), [], 0
    for place, item in enumerate(items):
        row, samples = rows[item.id], []
        for n in range(10):
            if n < hanging:
                samples.append(body(kinds[(place + n) % len(kinds)], row) + f"# {n}\n")
            else:
                samples.append(f"{row['canonical_solution']}\n# {n}\n")
                right += 1
        outputs.append(samples)
    return items, outputs, right


def rows() -> list[Row]:
    """Seconds of a run without hanging samples on each backend, and of half hanging ones."""
    named = os.environ.get("WINNOW_SHARED_DATA")
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    data = (Path(named) if named else beside).resolve() / "benchmarks"
    if not (data / "humaneval").is_dir():
        print("skipped: no HumanEval; set WINNOW_SHARED_DATA to a folder with benchmarks/humaneval")
        return []
    found = []
    benchmark, source = Codex(), Source(data)
    for backend in BACKENDS:
        row = _measure(benchmark, source, backend, (), 0)
        found += [row] if row else []
    # The two ways that compute cost three seconds of a core each, the others next to nothing.
    for name, kinds in {"all four ways": tuple(HANGING), "sleep": ("sleep",)}.items():
        row = _measure(benchmark, source, None, kinds, 5, name)
        found += [row] if row else []
    return found


def _measure(
    benchmark: Codex,
    source: Source,
    backend: str | None,
    kinds: tuple[str, ...],
    hanging: int,
    name: str = "",
) -> Row | None:
    import evaluation.sandbox as module

    items, outputs, right = half_hanging(benchmark, source, kinds, hanging)
    boxes: list[Sandbox] = []

    class Chosen(Sandbox):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings, backend=backend)
            boxes.append(self)

    original = module.Sandbox
    module.Sandbox = Chosen  # type: ignore[misc]
    start, before = time.perf_counter(), _cpu()
    try:
        with tempfile.TemporaryDirectory() as folder:
            grades = benchmark.grade(items, outputs, Grading(None, Path(folder)))
    except SandboxError as error:
        print(f"skipped: {error}")
        return None
    finally:
        module.Sandbox = original  # type: ignore[misc]
    seconds, cpu = time.perf_counter() - start, _cpu() - before
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    what = f"half hanging ({name})" if hanging else "none hanging"
    # All hanging programs compute to the end of their time, and a second more for each program.
    bound = (hanging * len(items) * benchmark.timeout + 10 * len(items)) / cores
    told = f"s ({cpu:.0f} s of CPU, {cores} cores, load {load:.1f}, {boxes[0].workers} at a time)"
    met = None if load > 2 * cores else seconds < bound
    passed = grades.notes["passed"]
    return Row(
        f"HumanEval, 1,480 samples, {what}, {boxes[0].backend}",
        seconds,
        None,
        None,
        told,
        f"{passed} passed, of {right} right; under {bound:.0f} s on an idle machine",
        met if passed == right else False,
    )


def _cpu() -> float:
    """Seconds of CPU of ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
