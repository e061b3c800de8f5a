"""A benchmark as an lm-eval task. Imports lm-eval, so import this module only to evaluate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from evaluation.base import Benchmark, Grades, Grading, Item


class BenchmarkTask(ConfigurableTask):
    """Items as documents; prompts and metric are the benchmark's own.

    A task is built once per process and serves every model. ``how`` must be set before each
    evaluation; ``grades`` holds the metric's result after it.
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
                {"metric": benchmark.metric, "aggregation": "mean", "higher_is_better": True}
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

    def dump_config(self) -> dict[str, Any]:
        """The benchmark's settings; the base class would print the sources of functions."""
        return self.benchmark.identity()

    def prompt_hashes(self) -> list[str]:
        """First 16 hex digits of the sha256 of each item's rendered prompt."""
        first = [instance for instance in self._instances if instance.idx == 0]
        return [hashlib.sha256(i.args[0].encode()).hexdigest()[:16] for i in first]

    def _grade(self, responses: Any, docs: Any) -> list[float]:
        """lm-eval's filter, which sees all responses at once: one pool for judge or sandbox."""
        assert self.how is not None
        self.outputs = [list(texts) for texts in responses]
        self.grades = self.benchmark.grade(self.items, self.outputs, self.how)
        return self.grades.values

    def _result(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
        if not self.chosen:
            return {self.benchmark.metric: results[0]}
        item = self.items[doc["index"]]
        likelihoods = [likelihood for likelihood, _ in results]
        output = item.choices[likelihoods.index(max(likelihoods))]
        self.outputs.append([output])
        value = self.benchmark.score(item, output)
        if self.grades is None:
            self.grades = Grades([])
        self.grades.values.append(value)
        return {self.benchmark.metric: value}


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
