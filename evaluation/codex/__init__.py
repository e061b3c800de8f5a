"""Codex-HumanEval: functions to complete, run against their tests, pass@k (paper E.5)."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Benchmark, Grades, Grading, Item, Sampling, seeded_key
from evaluation.source import DataError, Source, read_hub, read_jsonl
from harness.query import Query

_QUERIES = Path(__file__).with_name("queries.json")
_REMEDY = "HumanEval is humaneval/HumanEval.jsonl.gz, from github.com/openai/human-eval"


class Codex(Benchmark):
    """Completions of HumanEval problems. Queries: the problems in ``queries.json``.

    Which 16 of the 164 problems are the paper's queries is not in the paper; the choice is ours,
    and the file says how it was made. More queries than 16 go on by the same seeded order.
    ``instruction`` may use {prompt}, {signature} and {problem} (the docstring).
    ``pass@k`` is the unbiased estimate from ``n`` samples; with n = k it is "any of k".
    """

    name: ClassVar[str] = "codex"
    metric: ClassVar[str] = "pass@k"
    stops: ClassVar[tuple[str, ...]] = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n```")
    executes_code: ClassVar[bool] = True
    metric_version: ClassVar[int] = 2

    hub: str = "openai/openai_humaneval"
    shots: int = Field(0, ge=0, le=0)
    instruction: str = (
        "Write a Python function `{signature}` to solve the following problem:\n{problem}"
    )
    prefix: str = "Here is the function:\n\n```python\n{prompt}"
    n_queries: int = Field(16, ge=1)
    n: int = Field(10, ge=1, description="samples a problem")
    k: int = Field(10, ge=1)
    temperature: float = Field(0.8, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    timeout: float = Field(
        3.0, gt=0, description="seconds a program may run, waiting for a processor not counted"
    )
    memory_mb: int = Field(1024, ge=64, description="memory of a program")

    @property
    def metric_name(self) -> str:
        """With the numbers, as "pass@10"."""
        return f"pass@{min(self.k, self.n)}"

    @property
    def sampling(self) -> Sampling:
        """The paper's sampling."""
        return Sampling(self.temperature, self.top_p, self.top_k, self.n)

    def files(self, source: Source) -> dict[str, Path]:
        """The one file of problems."""
        name = "humaneval/HumanEval.jsonl.gz"
        return {name: source.file(name, _REMEDY)}

    def items(self, source: Source) -> list[Item]:
        """The problems that are no queries; ``target`` is the problem itself."""
        return [
            Item(
                id=row["task_id"],
                prompt=self._prompt(row),
                prefix=self.prefix.replace("{prompt}", row["prompt"]),
                target={key: row[key] for key in ("prompt", "test", "entry_point")},
                text=row["prompt"],
            )
            for row in self._split(source)[1]
        ]

    def queries(self, source: Source) -> list[Query]:
        """Problems with their solution as the label."""
        return [
            Query(
                id=row["task_id"],
                task=self.name,
                prompt=self._prompt(row),
                prefix=self.prefix.replace("{prompt}", row["prompt"]),
                label=row["canonical_solution"],
            )
            for row in self._split(source)[0]
        ]

    def query_text(self, query: Query) -> str:
        """The function's opening."""
        return query.prefix.removeprefix(self.prefix.partition("{prompt}")[0])

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """pass@k of all items; all programs run in one pool, equal ones once."""
        from evaluation.sandbox import Program, Sandbox

        programs = [
            Program(item.target["prompt"] + text, **item.target) for item, texts in zip(
                items, outputs, strict=True
            ) for text in texts
        ]  # fmt: skip
        sandbox = Sandbox(timeout=self.timeout, memory_mb=self.memory_mb)
        verdicts = iter(sandbox.run(programs))
        flags = [[next(verdicts).passed for _ in texts] for texts in outputs]
        passed = [sum(row) for row in flags]
        values = [
            pass_at_k(len(texts), right, self.k)
            for texts, right in zip(outputs, passed, strict=True)
        ]
        notes = {
            "k": min(self.k, self.n),
            "n": self.n,
            "passed": sum(passed),
            "sandbox": sandbox.backend,
            "sandbox_guards": " ".join(sandbox.guards),
        }
        return Grades(values, notes, [{"passed": row} for row in flags])

    def _split(self, source: Source) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if source.is_hub:
            rows = read_hub(self.hub, "test", revision=self.revision)
        else:
            rows = read_jsonl(next(iter(self.files(source).values())))
        listed = {name: place for place, name in enumerate(query_ids())}

        def order(row: dict[str, Any]) -> tuple[int, str]:
            name = row["task_id"]
            return listed.get(name, len(listed)), seeded_key("codex queries", name)

        rows = sorted(rows, key=order)
        if len(rows) <= self.n_queries:
            raise DataError(
                f"humaneval: {len(rows)} problems, of which {self.n_queries} are to be queries; "
                "lower suite.benchmarks.codex.n_queries"
            )
        return rows[: self.n_queries], rows[self.n_queries :]

    def _prompt(self, row: dict[str, Any]) -> str:
        text = self.instruction
        if "{signature}" in text or "{problem}" in text:
            signature, problem = _signature_and_docstring(row)
            text = text.replace("{signature}", signature).replace("{problem}", problem)
        return text.replace("{prompt}", row["prompt"])


def query_ids() -> list[str]:
    """The ids of ``queries.json``, in its order."""
    return json.loads(_QUERIES.read_text(encoding="utf-8"))["task_ids"]


def pass_at_k(n: int, right: int, k: int) -> float:
    """Probability that one of ``k`` of the ``n`` samples, of which ``right`` pass, passes."""
    k = min(k, n)
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def _signature_and_docstring(row: dict[str, Any]) -> tuple[str, str]:
    functions = {
        node.name: node
        for node in ast.parse(row["prompt"]).body
        if isinstance(node, ast.FunctionDef)
    }
    node = functions[row["entry_point"]]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}", (
        ast.get_docstring(node) or ""
    ).strip()
