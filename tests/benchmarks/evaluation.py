"""Evaluation against stock lm-eval on the same model and items, in CPU seconds of one thread.

Every comparison first asserts that both sides gave the same outputs. CPU seconds, because other
work on the machine stretches wall time. Four promises:

- prompts and scores of MMLU, GSM8k and BBH by lm-eval's stock tasks, with a model that answers at
  once, so that nothing else is measured; ours is ``suite=lm_eval``, theirs the installed task files
  over the same documents. The first ``PER_TASK`` items of each of the 85 tasks;
- the start of a second model in the same process: from the call to the model's first request;
- generation in one batch whose rows end by different stop strings or the end token: the embedded
  model goes on behind real GSM8k questions, lm-eval's HFLM beside ours;
- few-shot beginnings computed once: the paper's prompts of GSM8k, BBH and SQuAD, HFLM and our own
  path over whole prompts beside ours.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from tests.benchmarks.frame import Row

PER_TASK, TURNS = 20, 3
QUESTIONS, NEW_TOKENS = 16, 256
STOPS = ["\n", ".", ":", "?", "="]
SHOT_ITEMS, SHOT_TOKENS, LONGEST = 12, 8, 8192
# What is asked for: the gains that one known fault of the stock path costs each.
PROMPTS, SECOND, STOPPING, SHARING = 5.0, 5.0, 5.0, 3.0
ANSWERS = ("True", "(A)", "No", "valid", "18", "yes", "] )", "3")


def rows() -> Iterator[Row]:
    """All of it, one after the other; nothing without the real benchmark files."""
    named = os.environ.get("WINNOW_SHARED_DATA")
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    data = (Path(named) if named else beside).resolve() / "benchmarks"
    if not data.is_dir():
        print("skipped: no real benchmarks; set WINNOW_SHARED_DATA to a folder with benchmarks/")
        return
    import datasets

    with (
        one_thread(),
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder) / "cache"),
    ):
        first_items(data, Path(folder) / "data", PER_TASK)
        for part in (
            lambda: prompts_and_scores(Path(folder) / "data", Path(folder)),
            lambda: stopping(data),
            lambda: sharing(data),
        ):
            with redirect_stderr(io.StringIO()):  # lm-eval's progress bars
                found = part()
            yield from found


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the process, and what ``work`` returned."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def compare(
    name: str, ours: Sequence[float], stock: Sequence[float], wanted: float | None, told: str
) -> Row:
    """Medians of several, and the ratio of medians."""
    mine, theirs = statistics.median(ours), statistics.median(stock)
    ratio = theirs / mine
    target = f"{told}; equal outputs" + (f"; >= {wanted:g} x" if wanted else "")
    return Row(
        name, mine, theirs, ratio, "CPU s", target, None if wanted is None else ratio >= wanted
    )


# -- prompts, scores, start ----------------------------------------------------------------------


def prompts_and_scores(data: Path, folder: Path) -> list[Row]:
    """Building requests and scoring answers, and how soon a second model is asked."""
    from lm_eval.evaluator import evaluate, simple_evaluate
    from lm_eval.tasks import TaskManager

    import evaluation.lm

    suite = stock_suite(data)
    names = write_stock_tasks(suite, folder / "tasks")
    manager = TaskManager(include_defaults=False, include_path=[str(folder / "tasks")])
    started: dict[str, list[float]] = {"ours": [], "stock": []}
    whole: dict[str, list[float]] = {"ours": [], "stock": []}
    loaded = manager.load(names)
    model, tokenizer = embedded(1024)
    settings = {"batch_size": 1, "batch_tokens": 1, "max_length": 1024, "seed": 0}
    for _ in range(TURNS + 1):  # the first turn of each is not a second model
        ours, plain, again = canned(), canned(), canned()
        start = time.process_time()
        with mock.patch.object(evaluation.lm, "ChatLM", ours):
            found = suite.evaluate(
                model, tokenizer, judge=None, out_dir=folder / "ours", seed=0, progress=False
            )
        whole["ours"].append(time.process_time() - start)
        started["ours"].append(ours.first[0] - start)
        start = time.process_time()
        stock = evaluate(
            plain(model, tokenizer, progress=False, **settings), loaded,
            apply_chat_template=True, fewshot_as_multiturn=True, bootstrap_iters=0,
        )  # fmt: skip
        whole["stock"].append(time.process_time() - start)
        start = time.process_time()
        simple_evaluate(
            again(model, tokenizer, progress=False, **settings), tasks=names,
            task_manager=manager, apply_chat_template=True, fewshot_as_multiturn=True,
            bootstrap_iters=0,
        )  # fmt: skip
        started["stock"].append(again.first[0] - start)
        assert sorted(ours.asked) == sorted(plain.asked) == sorted(again.asked)
        for name, score in stock_scores(stock, suite).items():
            assert abs(found.scores[name].score - score) < 1e-9, (name, found.scores, score)
    told = f"{len(ours.asked):,} requests of {len(names)} stock tasks, same prompts and scores"
    start_told = "from the call to the first request, same prompts"
    return [
        compare("prompts and scores of MMLU, GSM8k, BBH", whole["ours"][1:], whole["stock"][1:],
                PROMPTS, told),
        compare("start of a second model", started["ours"][1:], started["stock"][1:], SECOND,
                start_told),
        Row("... of the first, for comparison", started["ours"][0], None, None, "CPU s", "none",
            None),
    ]  # fmt: skip


def canned() -> Any:
    """A new ``ChatLM`` class that renders prompts and answers at once, by their checksum."""
    from evaluation.lm import ChatLM

    class Canned(ChatLM):
        asked: ClassVar[list[tuple[str, str]]] = []
        first: ClassVar[list[float]] = []  # when requests came, in CPU seconds

        def _take(self, requests: Sequence[Any]) -> Iterator[int]:
            self.first.append(time.process_time())
            for request in requests:
                how = request.args[1]
                if isinstance(how, dict):  # HFLM's default length, which ours says
                    how = json.dumps({"max_gen_toks": 256, **how}, sort_keys=True)
                told = (request.args[0], how)
                self.asked.append(told)
                yield zlib.crc32("".join(told).encode())

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            return [(-float(number), False) for number in self._take(requests)]

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            answers = (ANSWERS[number % len(ANSWERS)] for number in self._take(requests))
            return [f"So the answer is {answer}. The answer is 18." for answer in answers]

        def chat_template(self, *_: Any) -> str:
            return str(self.tokenizer.chat_template)

    # Each has lists of its own.
    return type("Canned", (Canned,), {"asked": [], "first": []})


def first_items(data: Path, folder: Path, count: int) -> None:
    """The raw files with the first ``count`` items of each MMLU subject, BBH task and of GSM8k."""
    for part, most in (("dev", 5), ("test", count)):
        for path in sorted((data / "mmlu" / part).glob("*.csv")):
            target = folder / "mmlu" / part / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open(newline="") as source, target.open("w", newline="") as stream:
                csv.writer(stream).writerows(list(csv.reader(source))[:most])
    for path in sorted((data / "bbh").rglob("*.*")):
        target = folder / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        if path.parent.name == "bbh" and path.name != "bbh-three-shot.json":
            text = json.dumps({"examples": json.loads(text)["examples"][:count]})
        target.write_text(text)
    for part in ("train", "test"):
        lines = (data / f"gsm8k/{part}.jsonl").read_text().splitlines(keepends=True)
        target = folder / f"gsm8k/{part}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(lines[: max(100, count)]))


def stock_suite(data: Path) -> Any:
    """``suite=lm_eval`` over a folder, its three benchmarks of the first promise."""
    from evaluation.stock.bbh import StockBBH
    from evaluation.stock.gsm8k import StockGSM8K
    from evaluation.stock.mmlu import StockMMLU
    from evaluation.suite import Suite

    benchmarks = {
        "mmlu": StockMMLU(query_duplicates="keep"),
        "gsm8k": StockGSM8K(),
        "bbh": StockBBH(),
    }
    return Suite(name="lm_eval", data=str(data), benchmarks=benchmarks)


def write_stock_tasks(suite: Any, folder: Path) -> list[str]:
    """The installed task files, pointed at the suite's documents; their names."""
    names = []
    for benchmark in suite.benchmarks.values():
        source = suite.source()
        parts: dict[str, list[Any]] = {}
        for item in benchmark.items(source):
            parts.setdefault(item.part, []).append(item.doc)
        for part, docs in parts.items():
            splits = {"test": docs, **benchmark.splits(part, source)}
            if part == "gsm8k_cot":
                splits["train"] = docs[:1]
            files = {}
            for split, split_docs in splits.items():
                path = folder / "data" / f"{part}-{split}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(json.dumps(doc) + "\n" for doc in split_docs))
                files[split] = str(path)
            task = {
                "include": str(benchmark.stock_file(part)), "dataset_path": "json",
                "dataset_name": None, "dataset_kwargs": {"data_files": files},
            }  # fmt: skip
            (folder / f"{part}.yaml").write_text(json.dumps(task))
            names.append(part)
    return names


def stock_scores(found: Any, suite: Any) -> dict[str, float]:
    """Per cent by benchmark, the mean over items of stock's own results."""
    scores = {}
    for name, benchmark in suite.benchmarks.items():
        key = ",".join(benchmark.scored_by)
        parts = {item.part for item in benchmark.items(suite.source())}
        counts = {part: found["n-samples"][part]["effective"] for part in parts}
        total = sum(found["results"][part][key] * counts[part] for part in parts)
        scores[name] = 100 * total / sum(counts.values())
    return scores


# -- with a model --------------------------------------------------------------------------------


def stopping(data: Path) -> list[Row]:
    """A batch whose rows end by several stop strings and by the end token."""
    model, tokenizer = embedded(1024)
    with (data / "gsm8k/test.jsonl").open() as stream:
        lines = [json.loads(line) for line in stream]
    questions = [line["question"] for line in lines[: 4 * QUESTIONS]]
    settings = {"until": STOPS, "max_gen_toks": NEW_TOKENS, "do_sample": False}
    prompts = [f"Question: {question}\nAnswer:" for question in questions]
    # Rows that meet no stop run to the end on both sides, so they show nothing.
    lm = ours(model, tokenizer, share=False)
    probe = instances(prompts, {**settings, "max_gen_toks": 32})
    lm.generate_until(probe)
    short = [p for p, (_, new) in zip(prompts, lm.lengths["bench"], strict=True) if new < 32]
    asked = instances(short[:QUESTIONS], settings)
    found: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(TURNS):
        mine, theirs = ours(model, tokenizer, share=False), hflm(model, tokenizer)
        spent, texts = cpu_seconds(functools.partial(mine.generate_until, asked, True))
        found["ours"].append(spent)
        spent, stock = cpu_seconds(functools.partial(theirs.generate_until, asked, True))
        found["stock"].append(spent)
        assert texts == stock
    free = mine.generate_until(instances(short[:QUESTIONS], {"until": [], "max_gen_toks": 32}))
    ends = {
        next(stop for stop in STOPS if text.startswith(stop, len(kept)))
        if len(text) > len(kept)
        else "end token"
        for text, kept in zip(free, texts, strict=True)
    }
    assert len(ends) > 1, "all rows end alike"
    longest = max(new for _, new in mine.lengths["bench"][: len(asked)])
    told = f"{len(asked)} rows, {len(ends)} kinds of end, {longest} of {NEW_TOKENS} tokens at most"
    name = "generation, mixed stop conditions in a batch"
    return [compare(name, found["ours"], found["stock"], STOPPING, told)]


def sharing(data: Path) -> list[Row]:
    """The paper's few-shot prompts, their beginnings computed once."""
    from evaluation.bbh import BBH
    from evaluation.gsm8k import GSM8K
    from evaluation.source import Source
    from evaluation.squad import SQuAD

    model, tokenizer = embedded(LONGEST)
    report = []
    for benchmark in (GSM8K(exemplars="wei"), BBH(), SQuAD()):
        items = benchmark.items(Source(data))[:SHOT_ITEMS]
        writer = ours(model, tokenizer)
        prompts = []
        for item in items:
            turns = [{"role": "user", "content": item.prompt}]
            if item.prefix:
                turns.append({"role": "assistant", "content": item.prefix})
            prompts.append(writer.apply_chat_template(turns, not item.prefix))
        asked = instances(prompts, {"until": [], "max_gen_toks": SHOT_TOKENS, "do_sample": False})
        found: dict[str, list[float]] = {"ours": [], "whole": [], "stock": []}
        for _ in range(TURNS):
            models: dict[str, Any] = {
                "ours": ours(model, tokenizer),
                "whole": ours(model, tokenizer, share=False),
                "stock": hflm(model, tokenizer),
            }
            texts = {}
            for name, lm in models.items():
                work = functools.partial(lm.generate_until, asked, disable_tqdm=True)
                spent, texts[name] = cpu_seconds(work)
                found[name].append(spent)
            assert texts["ours"] == texts["whole"] == texts["stock"]
        tokens = models["whole"].lengths["bench"][0][0]
        told = f"{len(asked)} items of about {tokens:,} tokens, {SHOT_TOKENS} new"
        report += [
            compare(f"shared beginnings: {benchmark.name}", found["ours"], found["stock"],
                    SHARING, f"{told}, HFLM"),
            compare("... against our own pass over whole prompts", found["ours"], found["whole"],
                    None, told),
        ]  # fmt: skip
    return report


def embedded(longest: int) -> tuple[Any, Any]:
    """The embedded model, allowed longer texts than it was trained on, and its tokenizer."""
    from harness.micro_data import model_folder
    from harness.model import ModelConfig

    config = ModelConfig(name="micro", path=str(model_folder()), device="cpu")
    model: Any = config.load()
    model.config.max_position_embeddings = longest
    return model, config.load_chat().tokenizer


def ours(model: Any, tokenizer: Any, *, share: bool = True) -> Any:
    """Our model for lm-eval."""
    from evaluation.lm import ChatLM

    return ChatLM(
        model, tokenizer, batch_size=QUESTIONS, batch_tokens=1 << 20, max_length=LONGEST, seed=0,
        progress=False, share=share,
    )  # fmt: skip


def hflm(model: Any, tokenizer: Any) -> Any:
    """Stock lm-eval's."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=QUESTIONS,
        max_length=model.config.max_position_embeddings,
    )  # fmt: skip


def instances(prompts: Sequence[str], settings: dict[str, Any]) -> list[Any]:
    """Requests to go on behind prompts."""
    from lm_eval.api.instance import Instance

    return [
        Instance("generate_until", {"id": str(n)}, (prompt, dict(settings)), 0, ("bench", n, 1))
        for n, prompt in enumerate(prompts)
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes on one core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
