"""Items, queries, prompts and metrics of the seven benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.base import Benchmark, Grading, Item, spread
from evaluation.bbh import BBH
from evaluation.codex import Codex
from evaluation.gsm8k import GSM8K
from evaluation.judges import Judge
from evaluation.mmlu import MMLU
from evaluation.source import DataError, Source
from evaluation.squad import SHOTS, SQuAD
from evaluation.squad.format import read_squad
from evaluation.statistics import mean_and_error
from evaluation.tydiqa import TyDiQA
from evaluation.tydiqa.languages import LANGUAGES


def squad_file(rows: list[tuple[str, str, str, list[str]]]) -> str:
    """(id, context, question, answers) in SQuAD v1.1's form."""
    paragraphs = [
        {"context": context, "qas": [{"id": name, "question": question,
                                      "answers": [{"text": text} for text in answers]}]}
        for name, context, question, answers in rows
    ]  # fmt: skip
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})


class Preference(Judge):
    """Prefers answers that say "good"."""

    name = "preference"

    def check(self) -> None:
        pass

    def arguments(self, folder: Path) -> dict[str, Any]:
        from evaluation.judges import SEPARATOR, ReferenceRule

        def prefer(prompts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
            wins = [2 if "good" in prompt.split(SEPARATOR)[1] else 1 for prompt in prompts]
            zeros = [0.0] * len(wins)
            return {
                "completions": wins,
                "completions_all": wins,
                "price_per_example": zeros,
                "time_per_example": zeros,
            }

        return {**ReferenceRule().arguments(folder), "fn_completions": prefer}


def gold(benchmark: Benchmark, item: Item, source: Source) -> str:
    """A right answer as a model might give it."""
    if benchmark.name == "gsm8k":
        return f" It is 3 and 4, so the answer is ${item.target}."
    if benchmark.name == "bbh":
        return f" Let's think step by step.\nSo the answer is {item.target}."
    if benchmark.name in ("tydiqa", "squad"):
        return f" {item.target[-1]}"
    if benchmark.name == "codex":
        return (
            "    return "
            + {"add": "a + b", "sub": "a - b", "mul": "a * b"}[item.target["entry_point"]]
        )
    return "good" if benchmark.name == "alpaca_eval" else item.target


@pytest.mark.parametrize("right", [True, False])
def test_gold_scores_100_and_wrong_0(small_suite: Any, tmp_path: Path, right: bool) -> None:
    source = small_suite.source()
    assert len(small_suite.benchmarks) == 7
    for benchmark in small_suite.benchmarks.values():
        items, _ = benchmark.test_items(source)
        wrong = "    return 99999" if benchmark.name == "codex" else "99999"
        texts = [gold(benchmark, item, source) if right else wrong for item in items]
        how = Grading(Preference(), tmp_path / benchmark.name)
        grades = benchmark.grade(items, [[text] * benchmark.sampling.n for text in texts], how)
        score, _ = mean_and_error(grades.values, [i.group for i in items], benchmark.average)
        assert score == (100 if right else 0), benchmark.name


@pytest.mark.shared_data
def test_gold_scores_100_on_the_real_files(
    shared_data: Path, tmp_path: Path, paper_suite: Callable[..., Any]
) -> None:
    suite = paper_suite(shared_data / "benchmarks")
    suite.check()
    source = suite.source()
    counts = {}
    for name, benchmark in suite.benchmarks.items():
        items, left_out = benchmark.test_items(source)
        counts[name] = (len(benchmark.queries(source)), len(items), len(left_out))
        if name in ("codex", "alpaca_eval"):
            continue
        texts = [[gold(benchmark, item, source)] for item in items]
        assert set(benchmark.grade(items, texts, Grading(None, tmp_path)).values) == {1.0}, name
        wrong = [["zzz"] for _ in items]
        assert set(benchmark.grade(items, wrong, Grading(None, tmp_path)).values) == {0.0}, name
    assert counts == {
        "mmlu": (285, 14037, 5),
        "gsm8k": (8, 1319, 0),
        "bbh": (81, 6511, 0),
        "tydiqa": (9, 917 + 2 * 1190, 0),
        "codex": (16, 148, 0),
        "squad": (500, 10570, 0),
        "alpaca_eval": (50, 755, 0),
    }


@pytest.mark.shared_data
def test_all_canonical_solutions_pass(shared_data: Path) -> None:
    from evaluation.sandbox import Program, Sandbox
    from evaluation.source import read_jsonl

    rows = read_jsonl(shared_data / "benchmarks/humaneval/HumanEval.jsonl.gz")

    def program(row: dict[str, Any], body: str) -> Program:
        return Program(row["prompt"] + body, row["prompt"], row["test"], row["entry_point"])

    sandbox = Sandbox(timeout=20)
    right = sandbox.run([program(row, row["canonical_solution"]) for row in rows])
    assert [v.reason for v in right if not v.passed] == []
    assert len(right) == 164
    assert not any(v.passed for v in sandbox.run([program(row, "    return None") for row in rows]))


@pytest.mark.shared_data
def test_bbh_shots_from_the_hub_route_equal_the_prompt_files(shared_data: Path) -> None:
    benchmark, source = BBH(), Source(shared_data / "benchmarks")
    for task in ("boolean_expressions", "navigate", "word_sorting"):
        assert benchmark._shots(Source(None), task) == benchmark._shots(source, task)


def test_mmlu_prompt(small_data: Path) -> None:
    source = Source(small_data)
    item = MMLU().items(source)[2]
    assert item.prompt == (
        "The following are multiple choice questions (with answers) about  high school maths.\n\n"
        "In high_school_maths, what is 10 + 1?\nChoose.\n"
        'A. 10\nB. 11\nC. many, or few\nD. "none"\nAnswer:'
    )
    assert (item.prefix, item.target, item.group) == ("The answer is:", "B", "high_school_maths")
    query = MMLU().queries(source)[0]
    assert query.messages[1]["content"] == "The answer is: B"


def test_gsm8k_prompts(small_data: Path) -> None:
    source = Source(small_data)
    bare = GSM8K(shots=0, exemplars="train")
    assert bare.items(source)[0].prompt == (
        "Answer the following question.\n\n"
        "Question: Ann has 100 pens and gets 1,000 more. How many?"
    )
    query = bare.queries(source)[1]
    assert query.label == "1+1000=1001 pens. So the answer is 1,001."
    assert (len(bare.queries(source)), query.prefix) == (8, "Answer:")
    paper = GSM8K().items(source)[0].prompt
    assert paper.startswith(
        "Answer the following questions.\n\nQuestion: There are 15 trees in the grove."
    )
    assert paper.count("Question: ") == 9 and paper.count("So the answer is") == 8
    assert paper.endswith("So the answer is 8.\n\nQuestion: Ann has 100 pens and gets 1,000 more."
                          " How many?")  # fmt: skip


def test_bbh_prompts(small_data: Path) -> None:
    source = Source(small_data)
    item = BBH(shots=0).items(source)[0]
    assert item.prompt == "Do boolean_expressions.\n\nQ: boolean_expressions item 0"
    shot = BBH().items(source)[0].prompt
    assert shot.startswith("Do boolean_expressions.\n\nQ: boolean_expressions shot 0\nA: Let's")
    assert shot.endswith("So the answer is True.\n\nQ: boolean_expressions item 0")
    query = BBH().queries(source)[0]
    assert query.label == "Let's think step by step.\nHm. So the answer is True."
    assert query.prompt == "Do boolean_expressions.\n\nQ: boolean_expressions shot 0"


def test_tydiqa_prompts(small_data: Path) -> None:
    source = Source(small_data)
    finnish = next(i for i in TyDiQA(shots=1).items(source) if i.group == "finnish")
    assert finnish.prompt == (
        "Vastaa seuraavaan kysymykseen annetun kappaleen tiedon perusteella.\n\n"
        "Kappale: shot finnish Oulu\nKysymys: ?\nVastaus: Oulu\n\n"
        "Kappale: item finnish 0 Turku\nKysymys: Mikä?"
    )
    assert finnish.prefix == "Vastaus:"
    cut = TyDiQA(shots=0, passage_words=2).items(source)
    assert "Kappale: item finnish\n" in cut[-1].prompt


def test_squad_prompts(small_data: Path) -> None:
    source = Source(small_data)
    assert SQuAD(shots=0).items(source)[0].prompt == "Rome lies in Italy.\n\nWhere is Rome?"
    prompt = SQuAD(shots=2, shot_ids=("tr3",)).items(source)[0].prompt
    assert prompt == (
        "Town 3 lies in Land 3.\n\nWhere is Town 3?\n\nLand 3\n"
        "Town 0 lies in Land 0.\n\nWhere is Town 0?\n\nLand 0\n"
        "Rome lies in Italy.\n\nWhere is Rome?"
    )


def test_squad_items_name_their_article(tmp_path: Path) -> None:
    passage = {"context": "c", "qas": [{"id": "1", "question": "q", "answers": ["a"]}]}
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"title": "Bells", "paragraphs": [passage]}]}))
    assert [row["title"] for row in read_squad(file)] == ["Bells"]


def test_squad_takes_the_papers_shots_where_they_are(small_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "squad"
    folder.mkdir()
    questions = [question for _, question in SHOTS]
    rows = [("other", "Another Burke.", questions[1], ["x"])]  # the question alone is no shot
    rows += [(f"s{n}", f"{opening} And more.", question, [f"answer {n}"])
             for n, (opening, question) in enumerate(SHOTS)]  # fmt: skip
    text = squad_file([rows[3], rows[0], rows[1], rows[2]])
    (folder / "train-v1.1.json").write_text(text, "utf-8")
    (folder / "dev-v1.1.json").write_text(squad_file([("d", "c", "q", ["a"])]), "utf-8")
    source = Source(tmp_path)
    benchmark = SQuAD(n_queries=1)
    (item,) = benchmark.items(source)
    parts = [f"{opening} And more.\n\n{question}\n\nanswer {n}\n"
             for n, (opening, question) in enumerate(SHOTS)]  # fmt: skip
    assert item.prompt == "".join(parts) + "c\n\nq"
    notes = benchmark.grade([item], [["a"]], Grading(None, tmp_path, source=source)).notes
    assert (notes["shots"], notes["shots_replaced"]) == (["s0", "s1", "s2"], 0)
    few = Source(small_data)
    notes = benchmark.grade([item], [["a"]], Grading(None, tmp_path, source=few)).notes
    assert (notes["shots"], notes["shots_replaced"]) == (["tr0", "tr1", "tr2"], 3)


@pytest.mark.shared_data
def test_prompts_of_the_real_files(shared_data: Path, paper_suite: Callable[..., Any]) -> None:
    """The protocol of the paper's appendix, on every item (paper E.1 to E.6)."""
    suite = paper_suite(shared_data / "benchmarks")
    source = suite.source()
    items = {name: benchmark.items(source) for name, benchmark in suite.benchmarks.items()}
    suite_of = suite.benchmarks
    assert {name: suite_of[name].average for name in items} == {
        "mmlu": "items", "gsm8k": "items", "bbh": "groups", "tydiqa": "groups", "codex": "items",
        "squad": "items", "alpaca_eval": "items",
    }  # fmt: skip
    for name in ("gsm8k", "bbh", "tydiqa", "squad"):  # greedy, ends at the end token alone
        assert (suite_of[name].sampling.temperature, suite_of[name].stops) == (0, ())
    assert [suite_of[name].max_new_tokens for name in ("gsm8k", "bbh", "tydiqa")] == [512, 512, 50]

    assert {item.prefix for item in items["mmlu"]} == {"The answer is:"}
    assert len({item.group for item in items["mmlu"]}) == 57
    for item in items["mmlu"]:
        subject = item.group.replace("_", " ")
        header = "The following are multiple choice questions (with answers) about  "
        assert item.prompt.startswith(f"{header}{subject}.\n\n")
        assert item.prompt.endswith("\nAnswer:") and "\nD. " in item.prompt

    assert {item.prefix for item in items["gsm8k"]} == {"Answer:"}
    for item in items["gsm8k"]:
        assert item.prompt.startswith("Answer the following questions.\n\nQuestion: There are 15")
        assert item.prompt.count("\nAnswer: ") == 8 and item.prompt == item.prompt.strip()
        assert item.prompt.endswith(f"So the answer is 8.\n\nQuestion: {item.text.strip()}")

    assert {item.prefix for item in items["bbh"]} == {"A:"}
    assert len({item.group for item in items["bbh"]}) == 27
    for item in items["bbh"]:
        head = item.prompt.removesuffix(f"\n\nQ: {item.text}")
        assert head != item.prompt and "canary" not in head.lower() and "-----" not in head
        assert head.count("\n\nQ: ") == 3 == head.count("\nA: Let's think step by step.")
        assert head.endswith(".") and not head.startswith("\n")

    for item in items["tydiqa"]:
        words = LANGUAGES[item.group]
        assert item.prefix == words.answer
        assert item.prompt.startswith(f"{words.instruction}\n\n{words.passage} ")
        assert item.prompt.count(f"\n{words.answer} ") == 1  # of the one shot
        assert item.prompt.count(f"\n\n{words.passage} ") == 2

    lourdes = "To whom did the Virgin Mary allegedly appear in 1858 in Lourdes France?"
    for item in items["squad"]:
        assert item.prefix == "" and item.prompt.endswith(item.text)
        assert f"\n\n{lourdes}\n\nSaint Bernadette Soubirous\n" in item.prompt
    heads = {item.prompt.removesuffix(item.text) for item in items["squad"]}
    assert len(heads) == 1


def test_codex_prompts_and_split(small_data: Path) -> None:
    source = Source(small_data)
    benchmark = Codex(n_queries=1)
    items, queries = benchmark.items(source), benchmark.queries(source)
    assert len(items) == 2 and len(queries) == 1
    add = next(i for i in items if i.target["entry_point"] == "add")
    assert add.prompt == (
        "Write a Python function `add(a: int, b: int) -> int` to solve the following problem:\n"
        "Apply + to a and b."
    )
    assert add.prefix == "Here is the function:\n\n```python\n" + add.target["prompt"]
    assert queries[0].answer == queries[0].prefix + queries[0].label
    again = Codex(n_queries=1).queries(source)
    assert [q.id for q in again] == [q.id for q in queries]


def test_spread_takes_groups_in_turn_and_nests() -> None:
    items = [Item(f"{g}{n}", "", "", "", group=g) for g in "abc" for n in range(10)]
    six = spread(items, 6, "x")
    assert sorted(i.group for i in six) == list("aabbcc")
    assert spread(items, 3, "x") == six[:3] and spread(items, None, "x") == items
    assert spread(list(reversed(items)), 6, "x") == six


@pytest.mark.parametrize("name", ["mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad"])
def test_a_query_among_the_test_items_is_found(
    small_suite: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = small_suite.benchmarks[name].model_copy(update={"query_duplicates": "error"})
    source = small_suite.source()
    assert benchmark.test_items(source)[1] == []
    items = benchmark.items(source)
    queries = benchmark.queries(source)
    # An item with a query's own text, in another case and spacing.
    text = "  " + benchmark.query_text(queries[0]).upper().replace(" ", "  ")
    leaked = Item("leaked", "", items[0].target, text)
    monkeypatch.setattr(type(benchmark), "items", lambda self, source: [*items, leaked])
    with pytest.raises(DataError, match=r"leaked is query .*query_duplicates=leave_out"):
        benchmark.test_items(source)
    lenient = benchmark.model_copy(update={"query_duplicates": "leave_out"})
    assert lenient.test_items(source) == (items, ["leaked"])


def test_query_text_is_the_items_text_of_the_same_row(small_suite: Any) -> None:
    """Where queries and items have one form, the check compares like with like."""
    source = small_suite.source()
    for name in ("codex", "alpaca_eval", "squad", "gsm8k", "mmlu", "bbh", "tydiqa"):
        benchmark = small_suite.benchmarks[name]
        query, item = benchmark.queries(source)[0], benchmark.items(source)[0]
        text = benchmark.query_text(query)
        assert "\n\nQ:" not in text and not text.startswith(("Question:", "Passage:", "The foll"))
        assert bool(text) and bool(item.text)


def test_imports_are_light() -> None:
    names = "mmlu gsm8k bbh tydiqa codex squad alpaca_eval suite judges sandbox"
    code = (
        "import sys\n"
        + "".join(f"import evaluation.{name}\n" for name in names.split())
        + "heavy = {'torch', 'lm_eval', 'alpaca_eval', 'pandas', 'datasets', 'transformers'}\n"
        + "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
