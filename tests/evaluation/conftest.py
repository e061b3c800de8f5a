"""Benchmarks written by hand, one or two items each, in the formats of the real files."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]

FUNCTIONS = ("add", "sub", "mul")


def _pack(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def squad_file(rows: list[tuple[str, str, str, list[str]]]) -> str:
    """(id, context, question, answers) in SQuAD v1.1's form."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": name,
                    "question": question,
                    "answers": [
                        {"text": text, "answer_start": context.find(text)} for text in answers
                    ],
                }
            ],
        }
        for name, context, question, answers in rows
    ]
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})


def problem(number: int, name: str, sign: str) -> dict[str, Any]:
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": f'def {name}(a: int, b: int) -> int:\n    """ Apply {sign} to a and b. """\n',
        "entry_point": name,
        "canonical_solution": f"    return a {sign} b\n",
        "test": f"def check(candidate):\n    assert candidate(7, 2) == 7 {sign} 2\n"
        f"    assert candidate(3, 5) == 3 {sign} 5\n",
    }


def write_benchmarks(folder: Path) -> None:
    """All seven, with two groups where the benchmark has groups."""
    for part, offset in (("dev", 0), ("test", 10)):
        for subject in ("high_school_maths", "anatomy"):
            path = folder / f"mmlu/{part}/{subject}_{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as stream:
                for n in range(2):
                    question = f"In {subject}, what is {n + offset} + 1?\nChoose."
                    row = [question, n + offset, n + offset + 1, "many, or few", '"none"', "B"]
                    csv.writer(stream).writerow(row)
    for part, count, offset in (("train", 9, 0), ("test", 3, 100)):
        rows = [
            {
                "question": f"Ann has {n + offset} pens and gets 1,000 more. How many?",
                "answer": f"{n + offset}+1000=<<{n + offset}+1000={n + offset + 1000}>>"
                f"{n + offset + 1000} pens.\n#### {n + offset + 1000:,}",
            }
            for n in range(count)
        ]
        _pack(folder / f"gsm8k/{part}.jsonl", _lines(rows))
    worked = {}
    for task, target in (("boolean_expressions", "True"), ("dyck_languages", "] )")):
        examples = [{"input": f"{task} item {n}", "target": target} for n in range(2)]
        _pack(folder / f"bbh/{task}.json", json.dumps({"canary": "c", "examples": examples}))
        shots = [
            f"Q: {task} shot {n}\nA: Let's think step by step.\nHm. So the answer is {target}."
            for n in range(3)
        ]
        worked[task] = "\n\n".join([f"Do {task}.", *shots])
        _pack(folder / f"bbh/cot-prompts/{task}.txt", f"CANARY\n-----\n{worked[task]}")
    _pack(folder / "bbh/bbh-three-shot.json", json.dumps(worked))
    _pack(
        folder / "squad/train-v1.1.json.gz",
        squad_file([(f"tr{n}", f"Town {n} lies in Land {n}.", f"Where is Town {n}?",
                     [f"Land {n}"]) for n in range(5)]),
    )  # fmt: skip
    _pack(
        folder / "squad/dev-v1.1.json.gz",
        squad_file([("d1", "Rome lies in Italy.", "Where is Rome?", ["Italy", "in Italy"])]),
    )
    shots, rows = {}, {}
    for language in ("finnish", "english"):
        answers = [{"text": "Oulu", "answer_start": 4}]
        shot = {"id": "1", "context": f"shot {language} Oulu", "question": "?", "answers": answers}
        shots[language] = [shot]
        rows[language] = [
            {"id": f"{n}", "language": language, "context": f"item {language} {n} Turku",
             "question": "Mikä?", "answers": ["Turku"]} for n in range(2)
        ]  # fmt: skip
        _pack(folder / f"tydiqa/{language}-dev.jsonl.gz", _lines(rows[language]))
    _pack(folder / "tydiqa/one-shot.json", json.dumps(shots))
    signs = zip(FUNCTIONS, "+-*", strict=True)
    problems = [problem(n, name, sign) for n, (name, sign) in enumerate(signs)]
    _pack(folder / "humaneval/HumanEval.jsonl.gz", _lines(problems))
    rows_alpaca = [
        {"dataset": "d", "instruction": f"Say {n}.", "output": f"I say {n}.", "generator": "ref"}
        for n in range(4)
    ]
    _pack(folder / "alpaca_eval/alpaca_eval.json", json.dumps(rows_alpaca))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    write_benchmarks(folder)
    return folder


def load_suite(name: str, data: Path | str, few_queries: bool, **changes: Any) -> Any:
    from hydra.utils import instantiate

    text = (REPOSITORY / f"conf/suite/{name}.yaml").read_text(encoding="utf-8")
    config = {**yaml.safe_load(text), "data": str(data), "allow_code_execution": True, **changes}
    if few_queries:  # as many as the files of write_benchmarks allow
        config["benchmarks"]["codex"]["n_queries"] = 1
        config["benchmarks"]["alpaca_eval"]["n_queries"] = 1
        config["benchmarks"]["squad"]["n_queries"] = 4
        config["benchmarks"]["tydiqa"]["stand_in"] = None
    return instantiate(config, _convert_="all")


@pytest.fixture
def paper_suite() -> Callable[..., Any]:
    """paper_suite(data, **changes): the paper's suite on a folder."""
    return lambda data, **changes: load_suite("paper", data, False, **changes)


@pytest.fixture
def micro_suite() -> Callable[..., Any]:
    """micro_suite(data, **changes): the embedded suite on a folder."""
    return lambda data, **changes: load_suite("micro", data, False, **changes)


@pytest.fixture
def small_suite(small_data: Path) -> Any:
    """The paper's suite on the files written by hand."""
    return load_suite("paper", small_data, True)
