"""The stock protocol against lm-eval itself: its own tasks, built by its own manager on equal data.

Both sides answer the same scripted texts, so prompts are compared string for string and scores
number for number, samples and hashes included.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")

import lm_eval.evaluator  # noqa: E402
from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.api.model import LM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from evaluation.bbh import _packaged_worked  # noqa: E402
from evaluation.source import DataError, Source, read_jsonl  # noqa: E402
from evaluation.stock import stock_folder  # noqa: E402
from evaluation.stock.bbh import StockBBH  # noqa: E402
from evaluation.stock.codex import StockCodex  # noqa: E402
from evaluation.stock.gsm8k import StockGSM8K  # noqa: E402
from evaluation.stock.mmlu import StockMMLU  # noqa: E402
from evaluation.stock.tydiqa import CODES, StockTyDiQA  # noqa: E402
from evaluation.suite import Suite  # noqa: E402
from tests.evaluation.conftest import _lines, _pack, load_suite, problem  # noqa: E402

SUBJECTS = ("anatomy", "astronomy")
LANGUAGES = ("english", "finnish")
TASKS = ("boolean_expressions", "dyck_languages", "word_sorting")
# What models write, the traps of the stock filters among it; {gold} is the item's answer.
ANSWERS = (
    "Let's think step by step.\nHm. So the answer is {gold}.",
    "the answer is {gold}",
    "There are some. The answer is {gold}.",
    "There were 2. The answer is {gold}.\n\n",
    "The answer is {gold}. Q: what? the answer is 7.",
    "I get 3 and 4, so it is ${gold}.00",
    " The {gold}!",
    "",
    "The answer is 1,800.00.",
    "\u0627\u0644\u0628\u064a\u062a {gold}",
)


PROGRAMS = (
    "{gold}",
    "{gold}\n```\nDone.",
    "    return 0\n",
    "",
    "```python\n    return a - b\n``` and so on",
)


def documents() -> dict[str, dict[str, dict[str, list[dict[str, Any]]]]]:
    """{benchmark: {configuration: {split: rows}}} as on the hub, written by hand."""
    mmlu = {
        subject: {
            split: [
                {
                    "question": f" In {subject}, what is {n + start} + 1?\nChoose. ",
                    "subject": subject,
                    "choices": [f"{n}", f"{n + 1}", "many, or few", '"none"'],
                    "answer": (n + start) % 4,
                }
                for n in range(count)
            ]
            for split, count, start in (("test", 4, 10), ("dev", 5, 0))
        }
        for subject in SUBJECTS
    }
    gsm = {
        split: [
            {
                "question": f"Ann has {n + start} pens and gets 1,000 more. How many?",
                "answer": f"{n + start}+1000=<<1>>{n + start + 1000}.\n#### {n + start + 1000:,}",
            }
            for n in range(10)
        ]
        for split, start in (("train", 0), ("test", 100))
    }
    bbh = {
        task: {
            "test": [
                {"input": f"{task} item {n}\nOptions:\n(A) x", "target": target}
                for n, target in enumerate(("True", "(A)"))
            ]
        }
        for task in _packaged_worked()
    }
    tydiqa = {
        split: [
            {
                "id": f"{language}-{split}-{n}",
                "title": "T",
                "context": f" The {split} item {n} in {language}: Turku, the town. ",
                "question": f"Where {n}? ",
                "answers": {"text": ["Turku", "the town"][: 1 + n % 2], "answer_start": [9] * 2},
            }
            for language in LANGUAGES
            for n in range(6)
        ]
        for split in ("train", "validation")
    }
    for rows in tydiqa.values():
        for row in rows:
            row["answers"]["answer_start"] = [9] * len(row["answers"]["text"])
    fields = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
    signs = ("+", "-", "*", "|", "&", "^")
    made = [problem(n, f"apply_{n}", sign) for n, sign in enumerate(signs)]
    problems = [{field: row[field] for field in fields} for row in made]
    return {
        "mmlu": mmlu,
        "gsm8k": {"main": gsm},
        "bbh": bbh,
        "tydiqa": {"secondary_task": tydiqa},
        "codex": {"openai_humaneval": {"test": problems}},
    }


def write_hub(folder: Path, configurations: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """A folder laid out like a data set repository."""
    lines = ["---", "configs:"]
    for name, splits in configurations.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, rows in splits.items():
            _pack(folder / name / f"{split}.jsonl", _lines(rows))
            lines += [f"  - split: {split}", f"    path: {name}/{split}.jsonl"]
    _pack(folder / "README.md", "\n".join([*lines, "---", ""]))


def write_raw(folder: Path, data: dict[str, Any]) -> None:
    """The same rows as the raw files of evaluation/README.md."""
    for subject, splits in data["mmlu"].items():
        for part, rows in splits.items():
            path = folder / f"mmlu/{part}/{subject}_{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(
                    [row["question"], *row["choices"], "ABCD"[row["answer"]]] for row in rows
                )
    for split, rows in data["gsm8k"]["main"].items():
        _pack(folder / f"gsm8k/{split}.jsonl", _lines(rows))
    for task in TASKS:
        splits = data["bbh"][task]
        _pack(folder / f"bbh/{task}.json", json.dumps({"examples": splits["test"]}))
    _pack(folder / "bbh/bbh-three-shot.json", json.dumps(_packaged_worked()))
    tydiqa = data["tydiqa"]["secondary_task"]
    shown = {}
    for language in LANGUAGES:
        rows = [row for row in tydiqa["validation"] if row["id"].startswith(language)]
        _pack(folder / f"tydiqa/{language}-dev.jsonl.gz", _lines(rows))
        shown[language] = [row for row in tydiqa["train"] if row["id"].startswith(language)]
    _pack(folder / "tydiqa/one-shot.json", json.dumps(shown))
    problems = data["codex"]["openai_humaneval"]["test"]
    _pack(folder / "humaneval/HumanEval.jsonl.gz", _lines(problems))


STOCK_FILES = {
    **{f"mmlu_{s}": (f"mmlu/default/mmlu_{s}.yaml", "mmlu") for s in SUBJECTS},
    "gsm8k_cot": ("gsm8k/gsm8k-cot.yaml", "gsm8k"),
    **{f"bbh_cot_fewshot_{task}": (f"bbh/cot_fewshot/{task}.yaml", "bbh") for task in TASKS},
    **{
        f"tydiqa_goldp_{CODES[s]}": (f"tydiqa/tydiqa_goldp_{CODES[s]}.yaml", "tydiqa")
        for s in LANGUAGES
    },
    "humaneval": ("humaneval/humaneval.yaml", "codex"),
    "humaneval_instruct": ("humaneval/humaneval_instruct.yaml", "codex"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw/, hub/<benchmark>/ and tasks/: stock task files whose data lie in hub/."""
    import datasets

    folder = tmp_path_factory.mktemp("stock")
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    written = documents()
    write_raw(folder / "raw", written)
    subjects = written["mmlu"].values()  # the hub has them once more, all together
    written["mmlu"]["all"] = {
        part: [row for splits in subjects for row in splits[part]] for part in ("test", "dev")
    }
    for name, configurations in written.items():
        write_hub(folder / "hub" / name, configurations)
    for task, (file, name) in STOCK_FILES.items():
        override = {
            "include": str(stock_folder() / file),
            "task": task,
            "dataset_path": str(folder / "hub" / name),
        }
        _pack(folder / f"tasks/{task}.yaml", yaml.safe_dump(override))
    return folder


class Scripted(LM):
    """Answers by the document; keeps what it was asked."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.max_length = 4096
        self.asked: dict[str, list[Any]] = defaultdict(list)
        self.lengths: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.reads: list[tuple[int, int, int]] = []
        self.truncated: Counter[str] = Counter()

    tokenizer_name = "scripted"

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def chat_template(self, *_: Any) -> str:
        return str(self.tokenizer.chat_template)

    def _keep(self, requests: list[Any]) -> None:
        for request in requests:
            self.asked[request.task_name].append(request.args)

    def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        self._keep(requests)
        numbers = [hashlib.sha256("".join(r.args).encode()).digest()[0] for r in requests]
        return [(-1.0 - number / 100, number % 2 == 0) for number in numbers]

    def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
        self._keep(requests)
        return [answer(request.doc) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[float]:
        raise NotImplementedError


def answer(doc: dict[str, Any]) -> str:
    number = hashlib.sha256(json.dumps(doc, sort_keys=True).encode()).digest()[0]
    if "entry_point" in doc:
        text = PROGRAMS[int(doc["task_id"].partition("/")[2]) % len(PROGRAMS)]
        return text.replace("{gold}", doc["canonical_solution"])
    gold = doc.get("target") or doc.get("answer", "").rpartition("#### ")[2]
    gold = gold or doc["answers"][0]
    return ANSWERS[number % len(ANSWERS)].replace("{gold}", gold)


class Model(torch.nn.Module):
    """Stands where a model is only named."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"_name_or_path": "somewhere/scripted"})()
        self.dtype, self.device = torch.float32, "cpu"

    def num_parameters(self) -> int:
        return 0


RUN: list[str] = []  # of this process, for lm-eval keeps the module that asks the scorer


@pytest.fixture
def stock_scorer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In place of the hub's scorer: runs these tests' own programs, and keeps them."""
    RUN.clear()

    class CodeEval:
        def compute(self, references: list[str], predictions: list[list[str]], k: list[int]) -> Any:
            right = 0
            for program in predictions[0]:
                RUN.append(program)
                try:
                    exec(program + "\n" + references[0], {})
                    right += 1
                except Exception:
                    continue
            return {f"pass@{n}": right / len(predictions[0]) for n in k}, {}

    module = ModuleType("evaluate")
    module.load = lambda *_: CodeEval()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "evaluate", module)
    return RUN


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval looks at the machine for a second after each evaluation."""
    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda storage: None)


@pytest.fixture
def tokenizer(micro_model: Any) -> Any:
    return micro_model.load_chat().tokenizer


def stock_results(data: Path, lm: Scripted, tasks: list[str], **settings: Any) -> dict[str, Any]:
    """What ``lm_eval.simple_evaluate`` gives for the stock tasks."""
    results = simple_evaluate(
        model=lm,
        tasks=tasks,
        task_manager=TaskManager(include_defaults=False, include_path=[str(data / "tasks")]),
        confirm_run_unsafe_code=True,
        **settings,
    )
    assert results is not None
    return results


@pytest.fixture
def ours(
    data: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Scripted, Any, dict[str, Any], dict[str, Any]]]]:
    """ours(benchmarks, hub=False): the scripted model, the scores, lm-eval's files read back."""

    def run(
        benchmarks: dict[str, Any], hub: bool = False, **settings: Any
    ) -> tuple[Scripted, Any, dict[str, Any], dict[str, Any]]:
        lm = Scripted(tokenizer)
        monkeypatch.setattr("evaluation.lm.ChatLM", lambda *_, **__: lm)
        if hub:
            benchmarks = {
                name: one.model_copy(update={"hub": str(data / "hub" / name)})
                for name, one in benchmarks.items()
            }
        suite = Suite(
            name="lm_eval",
            data="hub" if hub else str(data / "raw"),
            allow_code_execution=True,
            benchmarks=benchmarks,
            **settings,
        )
        result = suite.evaluate(
            Model(), tokenizer, judge=None, out_dir=tmp_path, seed=0, progress=False
        )
        (path,) = (tmp_path / "items").glob("results_*.json")
        samples = {}
        for file in (tmp_path / "items").glob("samples_*.jsonl"):
            samples[file.name.split("_", 1)[1].rpartition("_")[0]] = read_jsonl(file)
        return lm, result, json.loads(path.read_text("utf-8")), samples

    return run


def plain(value: Any) -> Any:
    """As it is read back from JSON."""
    return json.loads(json.dumps(value, default=lambda v: v.item() if hasattr(v, "item") else None))


def compare(
    theirs: tuple[Scripted, dict[str, Any]],
    mine: tuple[Scripted, dict[str, Any], dict[str, Any]],
    tasks: list[str],
) -> None:
    """Requests, results, versions, shots and samples of each task are the same."""
    lm, results = theirs
    our_lm, our_results, our_samples = mine
    for task in tasks:
        wanted = lm.asked[task]
        if isinstance(wanted[0][1], dict):  # lm-eval's models fill in the length
            wanted = [(text, {"max_gen_toks": 256, **settings}) for text, settings in wanted]
        assert our_lm.asked[task] == wanted
        assert our_results["results"][task] == plain(results["results"][task])
        for key in ("versions", "n-shot", "higher_is_better", "n-samples"):
            stated = plain(results[key][task])
            if key == "higher_is_better":
                stated.pop("pass_at_k", None)  # the stock metric's name as a function
            assert our_results[key][task] == stated, key
        rows = results["samples"][task]
        assert len(our_samples[task]) == len(rows)
        for ours, stock in zip(our_samples[task], rows, strict=True):
            assert set(ours) == set(stock)
            for key in ("doc_id", "doc", "filter", "metrics", "doc_hash", "prompt_hash",
                        "target_hash", *stock["metrics"]):  # fmt: skip
                assert ours[key] == plain(stock[key]), (task, key)
            assert ours["target"] == str(stock["target"])


@pytest.mark.parametrize(
    "chat, multiturn, hub",
    [
        (True, True, False),
        (True, False, False),
        (False, False, False),
        pytest.param(True, True, True, marks=pytest.mark.slow),  # 27 data sets, read twice
    ],
)
def test_mmlu_gsm8k_bbh(
    data: Path, tokenizer: Any, ours: Any, chat: bool, multiturn: bool, hub: bool
) -> None:
    settings = {"apply_chat_template": chat, "fewshot_as_multiturn": multiturn}
    tasks = [task for task, (_, name) in STOCK_FILES.items() if name in ("mmlu", "gsm8k", "bbh")]
    lm = Scripted(tokenizer)
    results = stock_results(data, lm, tasks, **settings)
    benchmarks = {
        "mmlu": StockMMLU(**settings),
        "gsm8k": StockGSM8K(**settings),
        "bbh": StockBBH(**settings),
    }
    our_lm, result, written, samples = ours(benchmarks, hub=hub)
    compare((lm, results), (our_lm, written, samples), tasks)
    # The record's scores are lm-eval's.
    scores = result.scores
    assert (
        scores["gsm8k"].score == 100 * results["results"]["gsm8k_cot"]["exact_match,strict-match"]
    )
    assert scores["mmlu"].score == pytest.approx(100 * written["results"]["mmlu"]["acc,none"])
    whole = written["results"]["bbh_cot_fewshot"]["exact_match,get-answer"]
    assert scores["bbh"].score == pytest.approx(100 * whole)
    assert 0 < scores["gsm8k"].score < 100 and 0 < scores["bbh"].score < 100
    assert scores["gsm8k"].stderr == pytest.approx(
        100 * results["results"]["gsm8k_cot"]["exact_match_stderr,strict-match"]
    )
    assert scores["gsm8k"].notes["protocol"] == {
        "name": "lm_eval", "version": "0.4.13", "task": "gsm8k_cot", "task_version": 3.0,
        "shots": 8, "metric": "exact_match", "filter": "strict-match", **settings,
    }  # fmt: skip


@pytest.mark.parametrize("shots, hub", [(0, False), (0, True), (1, True)])
def test_tydiqa(data: Path, tokenizer: Any, ours: Any, shots: int, hub: bool) -> None:
    tasks = ["tydiqa_goldp_en", "tydiqa_goldp_fi"]
    lm = Scripted(tokenizer)
    results = stock_results(data, lm, tasks, apply_chat_template=True, num_fewshot=shots)
    benchmarks = {"tydiqa": StockTyDiQA(shots=shots)}  # type: ignore[arg-type]
    our_lm, result, written, samples = ours(benchmarks, hub=hub)
    compare((lm, results), (our_lm, written, samples), tasks)
    means = [results["results"][task]["f1,none"] for task in tasks]
    assert result.scores["tydiqa"].score == pytest.approx(100 * sum(means) / 2)
    assert 0 < result.scores["tydiqa"].score < 100
    if shots:  # drawn anew for every question by the stock seed, so not always the same
        assert len({text.partition("<|assistant|>")[0] for text, _ in lm.asked[tasks[0]]}) > 1


@pytest.mark.parametrize("variant", ["humaneval", "humaneval_instruct"])
def test_humaneval(
    data: Path, tokenizer: Any, ours: Any, variant: str, stock_scorer: list[str]
) -> None:
    lm = Scripted(tokenizer)
    results = stock_results(data, lm, [variant], apply_chat_template=True)
    benchmark = StockCodex(variant=variant, n_queries=1, query_duplicates="keep")  # type: ignore[arg-type]
    our_lm, result, written, samples = ours({"codex": benchmark})
    compare((lm, results), (our_lm, written, samples), [variant])
    # The programs are the stock filter's, the sandbox's verdicts those of the stock scorer.
    programs = [row["filtered_resps"][0] for row in samples[variant]]
    assert programs == [[program] for program in stock_scorer[-6:]]
    assert result.scores["codex"].score == 100 * results["results"][variant]["pass@1,create_test"]
    assert 0 < result.scores["codex"].score < 100
    assert result.scores["codex"].metric == "pass@1"


def test_humaneval_leaves_queries_out(data: Path) -> None:
    benchmark, source = StockCodex(n_queries=1), Source(data / "raw")
    items, left_out = benchmark.test_items(source)
    assert (len(items), left_out) == (5, [benchmark.queries(source)[0].id])
    everything = benchmark.model_copy(update={"query_duplicates": "keep"})
    assert len(everything.test_items(source)[0]) == 6


@pytest.mark.parametrize("hub", [False, True])
def test_mmlu_with_shots_takes_the_first_dev_questions(
    data: Path, tokenizer: Any, ours: Any, hub: bool
) -> None:
    lm = Scripted(tokenizer)
    results = stock_results(data, lm, ["mmlu_anatomy"], apply_chat_template=True, num_fewshot=5)
    our_lm, _, written, samples = ours({"mmlu": StockMMLU(shots=5)}, hub=hub)
    compare((lm, results), (our_lm, written, samples), ["mmlu_anatomy"])
    assert our_lm.asked["mmlu_anatomy"][0][0].count("Choose.") == 6


def test_items_say_what_was_answered(data: Path, ours: Any, tmp_path: Path) -> None:
    _, result, _, samples = ours({"gsm8k": StockGSM8K(), "mmlu": StockMMLU()}, limit=3)
    rows = read_jsonl(tmp_path / result.scores["gsm8k"].items)
    assert len({row["item_id"] for row in rows}) == 3
    for row in rows:
        both = row["metrics"]
        assert set(both) == {"exact_match,strict-match", "exact_match,flexible-extract"}
        assert row["score"] == both["exact_match,strict-match"]
    by_hash = {row["prompt_hash"][:16]: row for row in samples["gsm8k_cot"]}
    assert {row["prompt_hash"] for row in rows} == set(by_hash)
    assert all(row["outputs"] == by_hash[row["prompt_hash"]]["resps"][0] for row in rows)
    for row in read_jsonl(tmp_path / result.scores["mmlu"].items):
        (letter,) = row["outputs"]
        assert row["score"] == float(letter == row["target"])
    notes = result.scores["gsm8k"].notes["metrics"]
    assert notes["exact_match,strict-match"] == pytest.approx(result.scores["gsm8k"].score)


def test_a_template_without_system_turns_gets_none(data: Path, tokenizer: Any, ours: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    lm, result, _, _ = ours({"bbh": StockBBH(), "gsm8k": StockGSM8K()}, limit=2)
    (text, _), *_ = next(asked for task, asked in lm.asked.items() if task != "gsm8k_cot")
    assert text.startswith("[user]Q: ")
    assert "system_turn" in result.scores["bbh"].notes
    assert "system_turn" not in result.scores["gsm8k"].notes


def test_what_has_no_stock_task_is_refused(small_data: Path) -> None:
    with pytest.raises(DataError, match=r"no task mmlu_high_school_maths .*suite=paper"):
        StockMMLU().test_items(Source(small_data))


def test_the_shipped_suite(small_data: Path) -> None:
    suite = load_suite("lm_eval", "hub", False)
    named = {name: one.protocol(suite.protocol)["name"] for name, one in suite.benchmarks.items()}
    assert named == {
        "mmlu": "lm_eval", "gsm8k": "lm_eval", "bbh": "lm_eval", "tydiqa": "lm_eval",
        "codex": "lm_eval", "squad": "paper", "alpaca_eval": "paper",
    }  # fmt: skip
    assert suite.identity()["benchmarks"]["gsm8k"]["lm_eval"] == "0.4.13"
    assert suite.benchmarks["codex"].sampling.temperature == 0


@pytest.mark.shared_data
def test_real_items(
    shared_data: Path, data: Path, tokenizer: Any, ours: Any, tmp_path: Path, stock_scorer: Any
) -> None:
    """Some items of the real files through both sides."""
    suite = load_suite("lm_eval", shared_data / "benchmarks", False)
    source = Source(shared_data / "benchmarks")
    chosen: dict[str, list[Any]] = defaultdict(list)
    wanted = {"mmlu_astronomy", "mmlu_anatomy", "gsm8k_cot", "bbh_cot_fewshot_word_sorting",
              "bbh_cot_fewshot_dyck_languages", "tydiqa_goldp_en", "humaneval"}  # fmt: skip
    for benchmark in list(suite.benchmarks.values())[:5]:
        for item in benchmark.test_items(source)[0]:
            if item.part in wanted and len(chosen[item.part]) < 6:
                chosen[item.part].append(item)
    assert set(chosen) == wanted
    lm = Scripted(tokenizer)
    for part, items in chosen.items():
        file = STOCK_FILES[part][0]
        name = STOCK_FILES[part][1]
        docs = [item.doc for item in items]
        config = yaml.load((stock_folder() / file).read_text("utf-8"), _Loose)
        splits = {**suite.benchmarks[name].splits(part, source), _split(config, file): docs}
        write_hub(tmp_path / part, {config.get("dataset_name") or "secondary_task": splits})
        override = {"include": str(stock_folder() / file), "task": part,
                    "dataset_path": str(tmp_path / part)}  # fmt: skip
        _pack(tmp_path / f"tasks/{part}.yaml", yaml.safe_dump(override))
    results = stock_results(tmp_path, lm, sorted(chosen), apply_chat_template=True)
    asked = lm.asked
    for part, items in chosen.items():
        benchmark = suite.benchmarks[STOCK_FILES[part][1]]
        task = benchmark.build_task(items, [], source)
        task.parts[part].build_all_requests(chat_template=lm.apply_chat_template)
        mine = [instance.args for instance in task.parts[part]._instances]
        assert [text for text, _ in mine] == [text for text, _ in asked[part]], part
    assert set(results["results"]) == wanted


class _Loose(yaml.SafeLoader):
    """Takes the names of functions as text."""


_Loose.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _split(config: dict[str, Any], file: str) -> str:
    return "validation" if file.startswith("tydiqa") else "test"
