"""Outside query sets: Arena Hard, WildChat and files of the user's own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness.chat import Chat
from harness.model import ModelConfig
from harness.query import Query
from harness.target import ArenaHard, Target, TargetError


def read(target: Target) -> list[Query]:
    return target.queries(None)  # type: ignore[arg-type]  # outside sets look at no suite


def lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def arena(folder: Path, uids: str = "ab", answered: str = "ab") -> ArenaHard:
    lines(folder / "question.jsonl", [{"uid": u, "prompt": f"Q {u}"} for u in uids])
    content = {"answer": " A \n"}
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": content}]
    lines(
        folder / "model_answer" / "gpt-4-0613.jsonl.gz",
        [{"uid": u, "messages": turns} for u in reversed(answered)],
    )
    return ArenaHard(name="arena_hard", path=str(folder))


def test_arena_hard_joins_questions_and_answers(tmp_path: Path) -> None:
    target = arena(tmp_path)
    assert read(target) == [Query(u, "arena_hard", f"Q {u}", "A") for u in "ab"]


def test_arena_hard_says_what_is_missing_and_where(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=rf"{tmp_path} has no question\.jsonl"):
        read(ArenaHard(name="arena_hard", path=str(tmp_path)))
    with pytest.raises(TargetError, match=r"question\.jsonl:2: .*no answer to b"):
        read(arena(tmp_path, answered="a"))
    other = arena(tmp_path).model_copy(update={"answers": "gpt-9"})
    with pytest.raises(TargetError, match=r"no model_answer/gpt-9\.jsonl"):
        read(other)
    lines(tmp_path / "question.jsonl", [{"question": "x"}])
    with pytest.raises(TargetError, match=r"question\.jsonl:1: not arena-hard's form"):
        read(arena_at(tmp_path))


def arena_at(folder: Path) -> ArenaHard:
    return ArenaHard(name="arena_hard", path=str(folder))


@pytest.mark.parametrize("name", ["q.jsonl", "q.jsonl.gz"])
def test_a_file_of_examples(tmp_path: Path, name: str) -> None:
    rows = [
        {"prompt": "p", "completion": "c"},
        {"id": "x", "instruction": "i", "input": "more", "output": "o"},
    ]
    path = lines(tmp_path / name, rows)
    expected = [("p", "c"), ("i\n\nmore", "o")]
    for given in (path, tmp_path):  # the folder holds this one file
        found = read(Target(name="mine", path=str(given)))
        assert [(q.prompt, q.label) for q in found] == expected
        assert {q.task for q in found} == {"mine"} and found[1].id == "x"


def test_prompts_alone_must_be_allowed(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(
        json.dumps([{"id": 7, "instruction": "why?"}, {"prompt": "p", "response": "r"}])
    )
    found = read(Target(name="wildchat", path=str(path), unlabelled=True))
    assert found == [Query("7", "wildchat", "why?", ""), Query(f"{path}[1]", "wildchat", "p", "r")]
    with pytest.raises(TargetError, match=r"w\.json\[0\]: no messages, conversations, prompt"):
        read(Target(name="wildchat", path=str(path)))


def test_a_query_without_a_label_is_its_prompt(micro_model: ModelConfig) -> None:
    chat: Chat = micro_model.load_chat()
    query = Query("q", "t", "why?", "")
    assert query.messages == [{"role": "user", "content": "why?"}]
    assert chat.text(query.messages) == "<|user|>\nwhy?"
    assert chat.text(query.messages, "prompt") == "<|user|>\nwhy?" + chat.eos
    labelled = Query("q", "t", "why?", "so")
    assert chat.text(labelled.messages, "prompt") == chat.text(query.messages, "prompt")
    with pytest.raises(ValueError, match="has no label"):
        chat.text(query.messages, "label")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no example"), ("{", "not JSON"), ('{"a": 1}\n', r"q\.jsonl:1: .*fields are a")],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(TargetError, match=message):
        read(Target(name="mine", path=str(tmp_path / "q.jsonl")))
    with pytest.raises(TargetError, match="nowhere does not exist"):
        read(Target(name="mine", path=str(tmp_path / "nowhere")))


@pytest.mark.shared_data
def test_the_real_arena_hard(shared_data: Path) -> None:
    found = read(arena_at(shared_data / "benchmarks" / "arena_hard"))
    assert len(found) == len({query.id for query in found}) == 500
    assert all(query.prompt.strip() and query.label.strip() for query in found)


@pytest.mark.shared_data
def test_the_real_wildchat(shared_data: Path) -> None:
    folder = shared_data / "benchmarks" / "wildchat"
    found = read(Target(name="wildchat", path=str(folder), unlabelled=True))
    assert len(found) == 1077 and not any(query.label for query in found)
