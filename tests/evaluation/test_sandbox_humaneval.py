"""HumanEval's own problems in the sandbox, and their split into queries and test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.base import Grading, seeded_key
from evaluation.codex import Codex, query_ids
from evaluation.sandbox import BACKENDS, Program, Sandbox, SandboxError
from evaluation.source import Source, read_jsonl
from tests.benchmarks.sandbox import HANGING, body, half_hanging

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Source:
    return Source(shared_data / "benchmarks")


@pytest.fixture(scope="module")
def problems(shared_data: Path) -> list[dict[str, Any]]:
    return read_jsonl(shared_data / "benchmarks/humaneval/HumanEval.jsonl.gz")


def run(
    problems: list[dict[str, Any]], change: Callable[[dict[str, Any]], str], **settings: Any
) -> dict[str, str]:
    """Reasons of those that do not pass, by task id."""
    programs = [
        Program(row["prompt"] + change(row), row["prompt"], row["test"], row["entry_point"])
        for row in problems
    ]
    try:
        verdicts = Sandbox(**settings).run(programs)
    except SandboxError as error:
        pytest.skip(str(error))
    pairs = zip(problems, verdicts, strict=True)
    return {row["task_id"]: v.reason for row, v in pairs if not v.passed}


# One in so many problems: a few, and all of them in the slow tests.
STEPS = [20, pytest.param(1, marks=pytest.mark.slow, id="all")]


@pytest.mark.parametrize(
    "backend", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in BACKENDS)]
)
def test_all_canonical_solutions_pass_in_the_time_of_the_protocol(
    problems: list[dict[str, Any]], backend: str | None
) -> None:
    assert len(problems) == 164
    solution = lambda row: row["canonical_solution"]  # noqa: E731
    assert run(problems, solution, backend=backend, timeout=3.0) == {}


# How a right solution is made wrong.
MUTATIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "nothing returned": lambda row: "    return None\n",
    "an argument returned": lambda row: f"    return list(locals().values())[0]\n# {row}\n",
    "an exception": lambda row: "    raise ValueError('no idea')\n",
    "the value in a list": lambda row: _renamed(row, "return [value]"),
    "the value as text": lambda row: _renamed(row, "return '' + repr(value) + ' '"),
    "the value one call late": lambda row: _renamed(
        row, f"{row['entry_point']}.last, value = value, getattr({row['entry_point']}, 'last', 0.5)"
        "\n    return value"
    ),
    "a sentence in front": lambda row: "Sure!\n" + row["canonical_solution"],
    "cut off": lambda row: row["canonical_solution"].rstrip()[:-1] + "(",
    "equal to everything": lambda row: (
        "    class Equal(int):\n        __eq__ = lambda self, other: True\n"
        "        __ne__ = lambda self, other: False\n        __hash__ = None\n"
        "    return Equal(-987654321)\n"
    ),
    "the process ended": lambda row: "    import os\n    os._exit(0)\n",
}  # fmt: skip


def _renamed(row: dict[str, Any], last: str) -> str:
    name = row["entry_point"]
    return (
        f"{row['canonical_solution']}\n_right = {name}\ndef {name}(*a, **k):\n"
        f"    value = _right(*a, **k)\n    {last}\n"
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", MUTATIONS)
def test_wrong_solutions_fail(problems: list[dict[str, Any]], kind: str, step: int) -> None:
    some = problems[::step]
    assert set(run(some, MUTATIONS[kind])) == {row["task_id"] for row in some}


def test_the_note_names_the_isolation(source: Source, tmp_path: Path) -> None:
    benchmark = Codex()
    rows = {row["task_id"]: row for row in read_jsonl(next(iter(benchmark.files(source).values())))}
    items = benchmark.items(source)[:4]
    right = [[rows[item.id]["canonical_solution"]] * 10 for item in items]
    outputs = [right[0], right[1][:1] + ["    pass\n"] * 9, ["    pass\n"] * 10, right[3]]
    grades = benchmark.grade(items, outputs, Grading(None, tmp_path))
    assert grades.values == [1.0, 1.0, 0.0, 1.0]
    # Per sample, for the per-item results.
    assert [row["passed"] for row in grades.details[1:3]] == [[True] + [False] * 9, [False] * 10]
    assert grades.notes["passed"] == 21 and (grades.notes["k"], grades.notes["n"]) == (10, 10)
    assert grades.notes["sandbox"] in BACKENDS
    assert set(grades.notes["sandbox_guards"].split()) <= {"landlock", "seccomp"}


def test_the_split_is_the_seeded_order_written_down(
    source: Source, problems: list[dict[str, Any]]
) -> None:
    order = sorted(
        (row["task_id"] for row in problems), key=lambda name: seeded_key("codex queries", name)
    )
    assert query_ids() == order[:16]
    benchmark = Codex()
    assert [query.id for query in benchmark.queries(source)] == order[:16]
    assert [item.id for item in benchmark.items(source)] == order[16:]
    assert [query.id for query in Codex(n_queries=20).queries(source)] == order[:20]
    assert [query.id for query in Codex(n_queries=3).queries(source)] == order[:3]


@pytest.mark.slow
def test_a_whole_run_with_half_of_it_hanging_ends_in_bounded_time(
    source: Source, problems: list[dict[str, Any]], tmp_path: Path
) -> None:
    benchmark = Codex()
    items, outputs, right = half_hanging(benchmark, source)
    assert len(items) * len(outputs[0]) == 1480 and right == 740
    start = time.monotonic()
    grades = benchmark.grade(items, outputs, Grading(None, tmp_path))
    seconds = time.monotonic() - start
    assert grades.notes["passed"] == right and set(grades.values) == {1.0}
    print(json.dumps({"seconds": seconds, **grades.notes}))
    # However busy the machine: every hanging program's longest wall time, shared by the workers.
    assert seconds < 740 * 30 / len(os.sched_getaffinity(0)) + 600


@pytest.mark.parametrize("kind", HANGING)
def test_every_kind_of_hanging_is_ended(problems: list[dict[str, Any]], kind: str) -> None:
    failed = run(problems[:2], lambda row: body(kind, row), timeout=0.3)
    assert set(failed.values()) == {"time is up"} and len(failed) == 2
