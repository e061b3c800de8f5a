"""A benchmark as an lm-eval task. Imports lm-eval, so import this module only to evaluate."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from evaluation.base import Benchmark, Grades, Grading, Item
from evaluation.results import prompt_hash
from harness.record import Score


class BenchmarkTask(ConfigurableTask):
    """Items as documents; prompts and metric are the benchmark's own.

    A task is built once per process and serves every model. ``how`` must be set before each
    evaluation; ``grades`` and ``outputs`` hold the metric's result and the texts after it.

    Attributes:
        parts: the lm-eval tasks that the benchmark is run as, by their names: this one.
        groups: lm-eval's groups over them: none.
    """

    def __init__(
        self, benchmark: Benchmark, items: Sequence[Item], left_out: Sequence[str] = ()
    ) -> None:
        self.benchmark = benchmark
        self.items = list(items)
        self.left_out = list(left_out)
        self.how: Grading | None = None
        self.grades: Grades | None = None
        self.outputs: list[list[str]] = []
        self.parts = {benchmark.name: self}
        self.groups: dict[str, Any] = {}
        self.chosen = bool(self.items[0].choices)
        config: dict[str, Any] = {
            "task": benchmark.name,
            "output_type": "multiple_choice" if self.chosen else "generate_until",
            "custom_dataset": lambda **_: {"test": _documents(self.items)},
            "test_split": "test",
            "num_fewshot": 0,
            "doc_to_text": lambda doc: doc["prompt"],
            "doc_to_target": lambda doc: 0 if self.chosen else "",
            "gen_prefix": "prefix",
            "process_results": self._result,
            "metric_list": [
                {"metric": benchmark.metric_name, "aggregation": "mean", "higher_is_better": True}
            ],
            "metadata": {"version": benchmark.metric_version},
        }
        if self.chosen:
            config["doc_to_choice"] = lambda doc: doc["choices"]
        else:
            sampling = benchmark.sampling
            config["repeats"] = sampling.n
            config["generation_kwargs"] = {
                "until": list(benchmark.stops),
                "max_gen_toks": benchmark.max_new_tokens,
                "do_sample": sampling.temperature > 0,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
            }
            config["filter_list"] = [
                {"name": "none", "filter": [{"function": "custom", "filter_fn": self._grade}]}
            ]
        super().__init__(config=config)

    def build_all_requests(self, *, chat_template: Any, **_: Any) -> None:
        """One request per choice or per item, rendered by the model's chat template."""
        self.grades = None
        self.outputs = []
        self._instances: list[Instance] = []
        repeats = self.config.repeats
        for number, (item, doc) in enumerate(zip(self.items, self._docs, strict=True)):
            turns = [{"role": "user", "content": item.prompt}]
            if item.prefix:
                turns.append({"role": "assistant", "content": item.prefix})
            context = chat_template(turns, add_generation_prompt=not item.prefix)
            metadata = (self.config.task, number, repeats)
            if self.chosen:
                blank = "" if context[-1].isspace() else " "
                arguments: list[tuple[Any, ...]] = [(context, blank + c) for c in item.choices]
            else:
                arguments = [(context, self.config.generation_kwargs)]
            kind = "loglikelihood" if self.chosen else "generate_until"
            self._instances += [
                Instance(kind, doc, argument, index, metadata)
                for index, argument in enumerate(arguments)
            ]

    def download(self, *_: Any, **__: Any) -> None:
        """Take the items as the data set."""
        self.dataset = {"test": _documents(self.items)}
        self._docs = list(self.dataset["test"])

    def doc_to_target(self, doc: dict[str, Any], *_: Any) -> str:
        """The item's target as text, for lm-eval's log of samples; no metric reads it."""
        return str(self.items[doc["index"]].target)

    def dump_config(self) -> dict[str, Any]:
        """The benchmark's settings; the base class would print the sources of functions."""
        shots = getattr(self.benchmark, "shots", 0)
        return {"task": self.benchmark.name, "num_fewshot": shots, **self.benchmark.identity()}

    def collect(self, raw: dict[str, Any]) -> None:
        """Take what ``lm_eval.evaluate`` gave: nothing here, filter and metric kept all."""

    def finish(self, raw: dict[str, Any], score: Score) -> None:
        """Put the benchmark's own average and error into lm-eval's table, as fractions."""
        row = raw["results"][self.benchmark.name]
        metric = self.benchmark.metric_name
        row[f"{metric},none"] = score.score / 100
        row[f"{metric}_stderr,none"] = "N/A" if score.stderr is None else score.stderr / 100

    def versions(self) -> dict[str, Any]:
        """What the protocol of the record says beside the benchmark's own words."""
        return {}

    def prompt_hashes(self) -> list[str]:
        """First 16 hex digits of the sha256 of each item's rendered prompt."""
        first = [instance for instance in self._instances if instance.idx == 0]
        return [prompt_hash(instance.args[0]) for instance in first]

    def _grade(self, responses: Any, docs: Any) -> list[Any]:
        """lm-eval's filter, which sees all responses at once: one pool for judge or sandbox."""
        assert self.how is not None
        self.outputs = [list(texts) for texts in responses]
        self.grades = self.benchmark.grade(self.items, self.outputs, self.how)
        return [texts if len(texts) > 1 else texts[0] for texts in self.outputs]

    def _result(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
        if not self.chosen:
            assert self.grades is not None
            return {self.benchmark.metric_name: self.grades.values[doc["index"]]}
        item = self.items[doc["index"]]
        likelihoods = [likelihood for likelihood, _ in results]
        output = item.choices[likelihoods.index(max(likelihoods))]
        self.outputs.append([output])
        value = self.benchmark.score(item, output)
        if self.grades is None:
            self.grades = Grades([])
        self.grades.values.append(value)
        return {self.benchmark.metric_name: value}


@contextmanager
def compiled_templates() -> Iterator[None]:
    """Compile each of lm-eval's Jinja templates once; it does so for every document else."""
    original = utils.apply_template
    compiled = functools.lru_cache(maxsize=4096)(utils.env.from_string)

    def apply(template: str, doc: dict[str, Any]) -> str:
        return compiled(template).render(**doc)

    utils.apply_template = apply
    try:
        yield
    finally:
        utils.apply_template = original


def _documents(items: Sequence[Item]) -> datasets.Dataset:
    """What lm-eval needs of the items; the rest stays with the benchmark."""
    return datasets.Dataset.from_list(
        [
            {
                "index": index,
                "id": item.id,
                "prompt": item.prompt,
                "prefix": item.prefix,
                "choices": list(item.choices),
            }
            for index, item in enumerate(items)
        ]
    )
