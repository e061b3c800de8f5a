"""A suite: the benchmarks a run is scored on, from settings to scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SerializeAsAny

from evaluation.base import Benchmark, Grading, Item, spread
from evaluation.judges import Judge
from evaluation.results import run_facts, write_items, write_lm_eval
from evaluation.source import DataError, Source
from evaluation.statistics import mean_and_error
from evaluation.vllm import Vllm
from harness.component import Component
from harness.files import digest, file_digest
from harness.query import Query
from harness.record import Score

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

# The word that stands for the embedded world's folder until the harness has generated it.
MICRO = "micro"


def _no_reads() -> np.ndarray:
    import numpy as np

    return np.empty((0, 3), dtype=np.int64)


@dataclass
class SuiteResult:
    """What an evaluation gives.

    Attributes:
        scores: by benchmark.
        lengths: by benchmark, int64 [requests, 2]: prompt tokens and generated tokens. Choices
            that differ in one token are one request, all prompt; each sample of an item is one,
            though the samples share the pass over their prompt.
        reads: int64 [passes, 3], what of all prompts really went through the model: tokens before
            it whose states were there, its own tokens, and for how many of these the head ran.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    reads: np.ndarray = field(default_factory=_no_reads)


class Suite(Component):
    """Benchmarks with what they share.

    Fields:
        protocol: what the records call the protocol of benchmarks of ours; ``None``: the suite's
            name. Stock benchmarks (``evaluation.stock``) name their own.
        data: a folder laid out as in ``evaluation/README.md``, or "hub".
        limit: items per benchmark, spread over its groups; ``None`` for all.
        allow_code_execution: whether code that the model wrote may be run (in a sandbox).
        batch_size, batch_tokens: most rows, and most tokens, in one batch of the model.
        max_length: most tokens of a prompt with its answer.
        vllm: how to reach vLLM, which then generates text in place of transformers; ``None``: not.
    """

    version: ClassVar[int] = 3

    name: str
    protocol: str | None = None
    data: str | None = None
    limit: int | None = Field(None, ge=1)
    allow_code_execution: bool = False
    batch_size: int = Field(32, ge=1)
    batch_tokens: int = Field(65536, ge=1)
    max_length: int = Field(4096, ge=16)
    vllm: Vllm | None = None
    benchmarks: dict[str, SerializeAsAny[Benchmark]] = Field(min_length=1)

    def check(self) -> None:
        """Whether all can run: code allowed, data there and whole, queries apart from test items.

        Imports neither torch nor lm-eval. Hub data sets are looked at only when they are read.

        Raises:
            DataError: with the file or key, what is allowed and the remedy.
        """
        if not self.allow_code_execution:
            for name, benchmark in self.benchmarks.items():
                if benchmark.executes_code:
                    raise DataError(
                        f"suite.benchmarks.{name} runs code that the model wrote, and "
                        "suite.allow_code_execution is false; set it to true, or leave the "
                        f"benchmark out (~suite.benchmarks.{name})"
                    )
        for name, benchmark in self.benchmarks.items():
            if name != benchmark.name:
                raise DataError(
                    f"suite.benchmarks.{name} holds {type(benchmark).__name__}, whose name is "
                    f"{benchmark.name}; use suite.benchmarks.{benchmark.name}"
                )
        if self.vllm is not None:
            self.vllm.check()
        if self.data == MICRO:  # generated later, by the harness
            return
        source = self.source()
        if not source.is_hub:
            for benchmark in self.benchmarks.values():
                self._items(benchmark, source)

    def identity(self) -> dict[str, Any]:
        """Settings, prompt and metric versions, and digests of the data: no paths."""
        source = self.source()
        plain = self.model_dump(mode="json", exclude={"data", "benchmarks", "vllm"})
        if self.vllm is not None:
            plain["vllm"] = self.vllm.identity()
        benchmarks = {}
        for name, benchmark in self.benchmarks.items():
            benchmarks[name] = {
                **benchmark.identity(),
                "prompt_version": benchmark.prompt_version,
                "metric_version": benchmark.metric_version,
                "data": _data_identity(benchmark, source),
            }
            if not source.is_hub:
                del benchmarks[name]["hub"], benchmarks[name]["revision"]
        cls = type(self)
        names = {"class": f"{cls.__module__}.{cls.__qualname__}", "version": cls.version}
        if self.protocol is None:
            del plain["protocol"]
        return {**names, **plain, "benchmarks": benchmarks}

    def named(self, names: Sequence[str] | None = None) -> list[str]:
        """``names`` if there are such benchmarks, or all of the suite's.

        Raises:
            DataError: there is no such benchmark.
        """
        for name in names or ():
            if name not in self.benchmarks:
                raise DataError(
                    f"no benchmark {name!r} in the suite {self.name}; "
                    f"it holds {', '.join(self.benchmarks)}"
                )
        return list(self.benchmarks) if names is None else list(names)

    def queries(self, names: Sequence[str] | None = None) -> dict[str, list[Query]]:
        """The query sets of the named benchmarks, or of all, in the suite's order."""
        wanted = self.named(names)
        source = self.source()
        return {name: self.benchmarks[name].queries(source) for name in wanted}

    def evaluate(
        self,
        model: Any,
        tokenizer: Any,
        *,
        judge: Judge | None,
        out_dir: Path,
        seed: int,
        progress: bool = True,
    ) -> SuiteResult:
        """Score a model.

        Args:
            model: a transformers model or PeftModel, in memory; left in the mode it came in.
            tokenizer: its tokenizer, with a chat template.
            judge: for benchmarks that need one.
            out_dir: gets ``items/<benchmark>.jsonl.gz``, one row per item, and lm-eval's own files
                beside them (``evaluation.results.write_lm_eval``).
            seed: of sampled answers.
            progress: whether to show bars.

        Raises:
            DataError: as ``check``.
        """
        import numpy as np
        from lm_eval.evaluator import evaluate

        from evaluation.lm import ChatLM
        from evaluation.task import compiled_templates

        began, started = time.time(), time.perf_counter()
        self.check()
        tasks = {name: self._task(name) for name in self.benchmarks}
        for name, task in tasks.items():
            task.how = Grading(judge, out_dir / "work" / name, progress, self.source())
        lm = ChatLM(
            model,
            tokenizer,
            batch_size=self.batch_size,
            batch_tokens=self.batch_tokens,
            max_length=self.max_length,
            seed=seed,
            progress=progress,
            vllm=self.vllm,
        )
        training = model.training
        model.eval()
        parts = {name: part for task in tasks.values() for name, part in task.parts.items()}
        groups = {name: group for task in tasks.values() for name, group in task.groups.items()}
        try:
            with compiled_templates():
                raw: Any = evaluate(
                    lm, {"tasks": parts, "groups": groups}, apply_chat_template=True
                )
        finally:
            model.train(training)
        result = SuiteResult()
        for name, task in tasks.items():
            task.collect(raw)
            truncated = sum(lm.truncated[part] for part in task.parts)
            result.scores[name] = self._result(task, out_dir, truncated)
            task.finish(raw, result.scores[name])
            lengths = [pair for part in task.parts for pair in lm.lengths[part]]
            result.lengths[name] = np.array(lengths, dtype=np.int64).reshape(-1, 2)
        result.reads = np.array(lm.reads, dtype=np.int64).reshape(-1, 3)
        settings = {"batch_size": self.batch_size, "limit": self.limit}
        seconds = time.perf_counter() - started
        run = run_facts(lm, model, settings=settings, seed=seed, seconds=seconds, began=began)
        write_lm_eval(out_dir / "items", raw, run, digest(self.identity(), 8))
        return result

    def _result(self, task: Any, out_dir: Path, truncated: int) -> Score:
        benchmark, values = task.benchmark, task.grades.values
        # NaN: no verdict of the judge. Such items are kept in the per-item results.
        scored = [(v, item) for v, item in zip(values, task.items, strict=True) if v == v]
        score, stderr = mean_and_error(
            [value for value, _ in scored],
            [item.group for _, item in scored],
            benchmark.average,
            [item.cluster or item.group for _, item in scored],
        )
        protocol = benchmark.protocol(self.protocol or self.name) | task.versions()
        notes = {"protocol": protocol, **task.grades.notes}
        if truncated:
            notes["prompts_truncated"] = truncated
            log.warning(
                "%s: %d prompts are longer than suite.max_length or the model allow and lost "
                "tokens on the left", benchmark.name, truncated,
            )  # fmt: skip
        if len(scored) < len(values):
            notes["unscored"] = len(values) - len(scored)
        if task.left_out:
            notes["left_out_as_queries"] = task.left_out
        path = out_dir / "items" / f"{benchmark.name}.jsonl.gz"
        details = task.grades.details
        write_items(path, task.items, task.prompt_hashes(), task.outputs, values, details)
        return Score(
            score=score,
            stderr=stderr,
            n=len(scored),
            metric=benchmark.metric_name,
            items=f"items/{path.name}",
            notes=notes,
        )

    def source(self) -> Source:
        """Where the benchmarks are read from.

        Raises:
            DataError: ``data`` is not set, or there is no such folder.
        """
        if self.data is None:
            raise DataError(
                "suite.data is not set; give a folder of benchmark files (its layout: "
                "evaluation/README.md), or suite.data=hub to read the Hugging Face data sets"
            )
        if self.data == "hub":
            return Source(None)
        folder = Path(self.data).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"suite.data={self.data}: no such folder (looked for {folder.resolve()}); give a "
                "folder of benchmark files (its layout: evaluation/README.md), or suite.data=hub"
            )
        return Source(folder)

    def _items(self, benchmark: Benchmark, source: Source) -> tuple[list[Item], list[str]]:
        """Test items under the limit, and ids left out; read once per process."""
        key = _key(benchmark, source, self.limit)
        if key not in _ITEMS:
            items, left_out = benchmark.test_items(source)
            _ITEMS[key] = spread(items, self.limit, benchmark.name), left_out
        return _ITEMS[key]

    def _task(self, name: str) -> Any:
        """The benchmark as an lm-eval task; built once per process."""
        source = self.source()
        benchmark = self.benchmarks[name]
        key = _key(benchmark, source, self.limit)
        if key not in _TASKS:
            items, left_out = self._items(benchmark, source)
            _TASKS[key] = benchmark.build_task(items, left_out, source)
        return _TASKS[key]


# Of this process: items and tasks by the digest of their settings and data.
_ITEMS: dict[str, tuple[list[Item], list[str]]] = {}
_TASKS: dict[str, Any] = {}


def _data_identity(benchmark: Benchmark, source: Source) -> Any:
    if source.is_hub and not Path(benchmark.hub).is_dir():
        return {"hub": benchmark.hub, "revision": benchmark.revision}
    if source.is_hub:
        files = {
            path.relative_to(benchmark.hub).as_posix(): path
            for path in Path(benchmark.hub).rglob("*")
            if path.is_file()
        }
    else:
        files = benchmark.files(source)
    return digest({name: file_digest(path) for name, path in sorted(files.items())})


def _key(benchmark: Benchmark, source: Source, limit: int | None) -> str:
    return digest([benchmark.identity(), _data_identity(benchmark, source), limit])
