"""The generated world: the same bytes every time, the real files' formats, nothing leaked."""

import csv
import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from harness.micro.corpus import documents
from harness.micro.world import CHATTER_SOURCES, SKILL_SOURCES, build


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(folder, seed=0)
    return folder


def lines(path: Path) -> list[dict]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_gives_the_same_bytes_and_another_seed_others(world: Path, tmp_path: Path):
    build(tmp_path / "again", seed=0)
    build(tmp_path / "other", seed=1)
    first, other = digests(world), digests(tmp_path / "other")
    assert digests(tmp_path / "again") == first
    assert other.keys() == first.keys()
    assert all(other[path] != first[path] for path in first)


def test_sources_have_the_stated_sizes_and_no_row_twice(world: Path):
    sizes = {name: size for name, (_, size) in (SKILL_SOURCES | CHATTER_SOURCES).items()}
    seen, ids = set(), set()
    for name, size in sizes.items():
        rows = lines(world / "pool" / f"{name}.jsonl.gz")
        assert len(rows) == size
        for row in rows:
            assert row["dataset"] == name
            ids.add(row["id"])
            seen.add(json.dumps(row["messages"]))
    assert len(ids) == len(seen) == sum(sizes.values()) == 20_100
    assert len(list((world / "pool").iterdir())) == len(sizes)


def test_conversations_alternate_and_no_turn_is_blank_or_padded(world: Path):
    turns = set()
    for path in (world / "pool").iterdir():
        for row in lines(path):
            messages = row["messages"]
            turns.add(len(messages))
            roles = [message["role"] for message in messages]
            assert roles == ["user", "assistant"] * (len(messages) // 2)
            for message in messages:
                assert message["content"] and message["content"] == message["content"].strip()
    assert {2, 4, 6} <= turns


def test_gsm8k_answers_end_in_the_result(world: Path):
    for part, count in (("train", 48), ("test", 60)):
        rows = lines(world / f"benchmarks/gsm8k/{part}.jsonl")
        assert len(rows) == count
        for row in rows:
            *steps, last = row["answer"].split("\n")
            assert steps[-1].endswith(f"= {last.removeprefix('#### ')}.")
            for step in steps:
                left, right = step.rstrip(".").split(" = ")
                assert eval(left) == int(right)


def test_bbh_has_prompts_with_three_examples_for_each_task(world: Path):
    folder = world / "benchmarks/bbh"
    three_shot = json.loads((folder / "bbh-three-shot.json").read_text())
    tasks = {path.stem for path in folder.glob("*.json")} - {"bbh-three-shot"}
    assert tasks == three_shot.keys() and len(tasks) == 4
    for task in tasks:
        assert len(json.loads((folder / f"{task}.json").read_text())["examples"]) == 15
        canary, rule, prompt = (folder / f"cot-prompts/{task}.txt").read_text().split("\n", 2)
        assert canary and rule == "-----" and prompt == three_shot[task]
        assert len(re.findall(r"^Q: ", prompt, re.M)) == 3
        assert len(re.findall(r"So the answer is [^.]+\.$", prompt, re.M)) == 3


def test_humaneval_solutions_pass_their_own_checks_and_others_do_not(world: Path):
    problems = lines(world / "benchmarks/humaneval/HumanEval.jsonl.gz")
    assert len(problems) == 76
    for problem in problems:
        for body, passes in ((problem["canonical_solution"], True), ("    return None\n", False)):
            scope: dict = {}
            exec(problem["prompt"] + body + problem["test"], scope)
            try:
                scope["check"](scope[problem["entry_point"]])
                passed = True
            except AssertionError:
                passed = False
            assert passed is passes


def test_mmlu_rows_have_four_options_and_a_letter(world: Path):
    letters = []
    for part, count in (("dev", 5), ("test", 15)):
        paths = sorted((world / f"benchmarks/mmlu/{part}").iterdir())
        assert len(paths) == 4
        for path in paths:
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            assert len(rows) == count
            for row in rows:
                assert len(row) == 6 and len(set(row[1:5])) == 4
                letters.append(row[5])
    assert {letters.count(letter) for letter in "ABCD"} <= set(range(16, 25))


def test_squad_and_tydiqa_answers_stand_where_they_are_said_to(world: Path):
    for part in ("train", "dev"):
        path = world / f"benchmarks/squad/{part}-v1.1.json.gz"
        articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
        asked = [(p["context"], q) for a in articles for p in a["paragraphs"] for q in p["qas"]]
        assert len(asked) == 60
        for context, question in asked:
            for answer in question["answers"]:
                assert context[answer["answer_start"] :].startswith(answer["text"])
    folder = world / "benchmarks/tydiqa"
    for language, (shot,) in json.loads((folder / "one-shot.json").read_text()).items():
        for answer in shot["answers"]:
            assert shot["context"][answer["answer_start"] :].startswith(answer["text"])
        rows = lines(folder / f"{language}-dev.jsonl.gz")
        assert len(rows) == 15
        assert all(answer in row["context"] for row in rows for answer in row["answers"])


def test_queries_and_test_items_are_all_different(world: Path):
    texts = [digest(text) for text in item_texts(world)]
    assert len(set(texts)) == len(texts) == 570


def test_no_item_stands_in_the_pool_or_in_the_plain_text(world: Path):
    items = {digest(text) for text in item_texts(world)}
    for path in (world / "pool").iterdir():
        for row in lines(path):
            for message in row["messages"]:
                assert not items & set(digests_within(message["content"])), row["id"]
    for seed in range(2):
        for document in islice(documents(seed), 1500):
            assert not items & set(digests_within(document))


def test_no_row_asks_for_a_tested_fact_and_no_quiz_page_offers_a_tested_choice(world: Path):
    def questions(part: str) -> dict[str, set[str]]:
        found = {}
        for path in (world / f"benchmarks/mmlu/{part}").iterdir():
            with path.open(newline="") as file:
                found |= {row[0]: set(row[1:5]) for row in csv.reader(file)}
        return found

    tested, shown = questions("test"), questions("dev")
    assert len(tested) == 60 and not set(tested) & set(shown)
    rows = lines(world / "pool/school_facts.jsonl.gz")
    asked = {row["messages"][0]["content"].split("\n")[2] for row in rows}
    assert not asked & {*tested, *shown}
    quizzed: dict[str, set[str]] = {}
    for document in islice(documents(0), 6000):
        texts = document.split("\n")
        for line, options in zip(
            texts, zip(*(texts[i:] for i in range(1, 5)), strict=False), strict=False
        ):
            if [option[:3] for option in options] == ["A. ", "B. ", "C. ", "D. "]:
                words = {re.sub(" (yes|no)$", "", option[3:]) for option in options}
                quizzed.setdefault(line, set()).update(words)
    both = [opening for opening in {**tested, **shown} if opening in quizzed]
    assert len(both) > 60  # the plain text quizzes on the same facts
    for opening in both:  # with other options: one of a test question's is never among them
        assert {**tested, **shown}[opening] - quizzed[opening]


def test_lengths_vary(world: Path):
    rng = random.Random(0)
    rows = [row for path in (world / "pool").iterdir() for row in lines(path)]
    lengths = [
        sum(len(message["content"]) for message in row["messages"])
        for row in rng.sample(rows, 2000)
    ]
    assert min(lengths) < 40 and max(lengths) > 350


def item_texts(world: Path) -> Iterator[str]:
    """Yield what makes each query or test item itself: its question, its passage, its prompt."""
    folder = world / "benchmarks"
    for path in sorted((folder / "gsm8k").iterdir()):
        yield from (row["question"] for row in lines(path))
    for path in sorted((folder / "bbh").glob("*.json")):
        content = json.loads(path.read_text())
        if path.stem == "bbh-three-shot":
            for shots in content.values():
                yield from re.findall(r"^Q: (.*)$", shots, re.M)
        else:
            yield from (row["input"] for row in content["examples"])
    for row in lines(folder / "humaneval/HumanEval.jsonl.gz"):
        yield row["prompt"]
    for path in sorted((folder / "mmlu").rglob("*.csv")):
        with path.open(newline="") as file:
            for question, *options, _ in csv.reader(file):
                listed = [f"{letter}. {o}" for letter, o in zip("ABCD", options, strict=True)]
                yield "\n".join([question, *listed])
    for path in sorted((folder / "squad").iterdir()):
        for article in json.loads(gzip.decompress(path.read_bytes()))["data"]:
            yield from (paragraph["context"] for paragraph in article["paragraphs"])
    for shots in json.loads((folder / "tydiqa/one-shot.json").read_text()).values():
        yield from (shot["context"] for shot in shots)
    for path in sorted((folder / "tydiqa").glob("*.gz")):
        yield from (row["context"] for row in lines(path))
    for row in json.loads((folder / "alpaca_eval/alpaca_eval.json").read_text()):
        yield row["instruction"]


def digest(text: str) -> str:
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()


def digests_within(text: str) -> Iterator[str]:
    """Yield the digests of every line (also without a label like "Q:") and every 2 and 5 lines."""
    split = text.split("\n")
    for start, line in enumerate(split):
        yield digest(line)
        yield digest(re.sub(r"^\w+: ", "", line))
        for length in (2, 5):
            yield digest("\n".join(split[start : start + length]))
