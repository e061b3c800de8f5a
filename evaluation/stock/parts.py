"""lm-eval's own tasks over our items. Imports lm-eval, so import this module only to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
import jinja2
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.group import GroupConfig
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.tasks._yaml_loader import load_yaml

from evaluation.base import Grades, Grading, Item
from evaluation.results import prompt_hash
from evaluation.source import Source
from evaluation.statistics import mean_and_error
from evaluation.stock import Stock, StockItem, stock_folder
from harness.record import Score

# What lm-eval's model classes take where a task names no length.
DEFAULT_NEW_TOKENS = 256


class StockPart(ConfigurableTask):
    """One stock task over the documents of our items.

    Prompts, filters and results are the base class's; what is left out is its progress bar, its
    cache, and the reading of data anew at every look.
    """

    def __init__(self, benchmark: Stock, config: dict[str, Any], splits: dict[str, Any]) -> None:
        self._benchmark = benchmark
        self._splits = splits
        self._eval_docs: list[dict[str, Any]] | None = None
        self.system_dropped = False
        for key in ("tag", "group", "unsafe_code"):
            config.pop(key, None)
        super().__init__(config=config)

    def download(self, *_: Any, **__: Any) -> None:
        """Take the documents as the data set."""
        self.dataset = {
            name: datasets.Dataset.from_list(rows) for name, rows in self._splits.items()
        }

    @property
    def eval_docs(self) -> Any:
        """The documents, processed once: the base class filters them at every look."""
        if not hasattr(self, "task_docs"):  # the base class is being set up
            return super().eval_docs
        if self._eval_docs is None:
            self._eval_docs = list(self.task_docs)
        return self._eval_docs

    def build_all_requests(self, *, chat_template: Callable[..., str], **_: Any) -> None:
        """The stock requests, with the shots that the stock seed draws."""
        self.set_fewshot_seed(DEFAULT_OTHER_SEED)
        self.system_dropped = False
        chat = self._benchmark.apply_chat_template
        render = self._renderer(chat_template) if chat else None
        self._instances = []
        for number, doc in enumerate(self.eval_docs):
            context = self.fewshot_context(
                doc,
                num_fewshot=self.config.num_fewshot,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat and self._benchmark.fewshot_as_multiturn,
                chat_template=render,
                gen_prefix=self.doc_to_prefix(doc),
            )
            made = self.construct_requests(
                doc=doc,
                ctx=context,
                metadata=(self.config.task, number, self.config.repeats),
                apply_chat_template=chat,
                chat_template=render,
            )
            self._instances += made if isinstance(made, list) else [made]

    def _renderer(self, chat_template: Callable[..., str]) -> Callable[..., str]:
        """The chat template; one that refuses a system turn is given none, as lm-eval does."""

        def render(turns: list[dict[str, str]], **settings: Any) -> str:
            try:
                return chat_template(turns, **settings)
            except jinja2.TemplateError:
                kept = [turn for turn in turns if turn["role"] != "system"]
                text = chat_template(kept, **settings)
                self.system_dropped = True
                return text

        return render


class StockTask:
    """A benchmark as the stock tasks that its items belong to; attributes as ``BenchmarkTask``."""

    def __init__(
        self, benchmark: Stock, items: Sequence[Item], left_out: Sequence[str], source: Source
    ) -> None:
        self.benchmark = benchmark
        self.items: list[StockItem] = [item for item in items if isinstance(item, StockItem)]
        self.left_out = list(left_out)
        self.how: Grading | None = None
        self.grades: Grades | None = None
        self.outputs: list[list[str]] = []
        self.parts: dict[str, StockPart] = {}
        self._hashes: list[str] = []
        self._members: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            self._members.setdefault(item.part, []).append(index)
        with _no_bars():
            for part, members in self._members.items():
                self.parts[part] = self._part(part, [self.items[i].doc for i in members], source)
        self.groups = _groups(benchmark, self.parts)

    def _part(self, part: str, docs: list[dict[str, Any]], source: Source) -> StockPart:
        path = self.benchmark.stock_file(part)
        config = load_yaml(path, resolve_func=self.benchmark.resolves)
        config["num_fewshot"] = getattr(self.benchmark, "shots", 0)
        if "generation_kwargs" in config:
            settings = {"max_gen_toks": DEFAULT_NEW_TOKENS, **config["generation_kwargs"]}
            config["generation_kwargs"] = settings
        self.benchmark.configure(config, self)
        split = config.get("test_split") or config["validation_split"]
        splits = {**self.benchmark.splits(part, source), split: docs}
        return StockPart(self.benchmark, config, splits)

    def collect(self, raw: dict[str, Any]) -> None:
        """Take scores, texts and prompts from lm-eval's log of samples."""
        size = len(self.items)
        metrics: list[dict[str, float]] = [{} for _ in range(size)]
        self.outputs = [[] for _ in range(size)]
        self._hashes = [""] * size
        for part, members in self._members.items():
            for sample in raw["samples"][part]:
                index = members[sample["doc_id"]]
                self.outputs[index] = _texts(self.items[index], sample)
                self._hashes[index] = prompt_hash(sample["arguments"][0][0])
                for name in sample["metrics"]:
                    metrics[index][f"{name},{sample['filter']}"] = float(sample[name])
        headline = ",".join(self.benchmark.scored_by)
        groups = [item.group for item in self.items]
        averages = {
            name: mean_and_error([row[name] for row in metrics], groups, self.benchmark.average)[0]
            for name in metrics[0]
        }
        notes = dict(self.grades.notes) if self.grades else {}
        notes |= {"metrics": averages, **self.benchmark.remarks(self.items)}
        if any(part.system_dropped for part in self.parts.values()):
            notes["system_turn"] = "refused by the chat template and left out"
        details = [{"metrics": row} for row in metrics]
        for row, more in zip(details, self.grades.details if self.grades else [], strict=False):
            row.update(more)
        self.grades = Grades([row[headline] for row in metrics], notes, details)

    def finish(self, raw: dict[str, Any], score: Score) -> None:
        """Leave lm-eval's table as it is."""

    def versions(self) -> dict[str, Any]:
        """The version of the stock task file."""
        return {"task_version": next(iter(self.parts.values())).VERSION}

    def prompt_hashes(self) -> list[str]:
        """First 16 hex digits of the sha256 of each item's rendered prompt."""
        return self._hashes


def _texts(item: StockItem, sample: dict[str, Any]) -> list[str]:
    """What the model wrote, or the choice that it took."""
    if not item.choices:
        return list(sample["resps"][0])
    likelihoods = [answer[0] for answer in sample["filtered_resps"]]
    return [item.choices[likelihoods.index(max(likelihoods))]]


def _groups(benchmark: Stock, parts: dict[str, StockPart]) -> dict[str, Group]:
    """The stock group over the parts, where lm-eval has one with an average."""
    if benchmark.group_file is None:
        return {}
    config = load_yaml(stock_folder() / benchmark.group_file)
    wanted = {key: config[key] for key in ("group", "aggregate_metric_list", "metadata")}
    group = Group.from_config(GroupConfig(**wanted))
    for part in parts.values():
        group.add(part)
    return {group.name: group}


@contextmanager
def _no_bars() -> Iterator[None]:
    """Filtering a few documents needs no progress bar."""
    shown = not datasets.utils.are_progress_bars_disabled()
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.utils.enable_progress_bars()
