"""The target: the query sets that a selection is made for.

Outside sets (paper A.10) are one task each. An example without an answer is a query of its prompt
alone, and has to be allowed (``unlabelled``): methods read less of it, and those that need a label
(RDS+ with span=label, LESS) cannot use it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from harness.component import Component
from harness.query import Query
from harness.rows import BadRow, parse_row


class TargetError(ValueError):
    """A target that names no query set."""


class HasQueries(Protocol):
    """What a target needs of a suite."""

    def queries(self, names: list[str] | None = None) -> dict[str, list[Query]]:
        """Query sets by benchmark; all of the suite's if ``names`` is None."""
        ...


class Target(Component):
    """Which query sets a method may look at.

    Attributes:
        name: the word for it in records and tables.
        tasks: benchmarks of the suite; None takes all of them (multi-task).
        path: a file of examples instead of benchmarks: JSON lines or one JSON list, gzipped or not,
            each in the form of a pool row (messages, prompt and completion, ...); or a folder that
            holds one such file.
        unlabelled: take examples without an answer too: ``prompt`` or ``instruction`` alone.
    """

    name: str
    tasks: list[str] | None = None
    path: str | None = None
    unlabelled: bool = False

    def queries(self, suite: HasQueries) -> list[Query]:
        """All queries, task after task, each task's in its set's order."""
        if self.path is not None:
            return self.outside(Path(self.path))
        sets = suite.queries(self.tasks)
        found = [query for queries in sets.values() for query in queries]
        if not found:
            raise TargetError(f"target={self.name} has no queries in this suite")
        return found

    def outside(self, path: Path) -> list[Query]:
        """The queries of an outside set, in the file's order."""
        file = _only_file(path)
        found = []
        for where, raw in _examples(file):
            try:
                found.append(_query(raw, self.name, where, self.unlabelled))
            except BadRow as error:
                raise TargetError(f"{where}: {error}") from error
        if not found:
            raise TargetError(f"target.path={file} holds no example")
        return found


class ArenaHard(Target):
    """Arena Hard's questions with a model's answers as labels (paper A.10).

    Attributes:
        path: the folder with ``question.jsonl`` and ``model_answer/<answers>.jsonl[.gz]``.
        answers: whose answers; the paper takes gpt-4-0613's.
    """

    answers: str = "gpt-4-0613"

    def outside(self, path: Path) -> list[Query]:
        """A query a question that has an answer, in the questions' order."""
        questions = _present(path, "question.jsonl")
        answers = _present(path, f"model_answer/{self.answers}.jsonl")
        labels = {}
        for where, raw in _examples(answers):
            try:
                labels[raw["uid"]] = _answer(raw["messages"][1]["content"])
            except (KeyError, IndexError, TypeError) as error:
                raise TargetError(
                    f"{where}: not arena-hard's form (uid, messages with an answer)"
                ) from error
        found = []
        for where, raw in _examples(questions):
            if not (isinstance(raw, dict) and {"uid", "prompt"} <= raw.keys()):
                raise TargetError(f"{where}: not arena-hard's form (uid, prompt)")
            if not labels.get(raw["uid"]):
                raise TargetError(f"{where}: {answers} has no answer to {raw['uid']}")
            found.append(Query(raw["uid"], self.name, raw["prompt"], labels[raw["uid"]]))
        return found


def _answer(content: Any) -> str:
    return str(content["answer"] if isinstance(content, dict) else content).strip()


def _present(folder: Path, name: str) -> Path:
    """``name`` or its gzipped form in ``folder``."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise TargetError(
        f"target.path={folder} has no {name} (nor {name}.gz); give the folder of arena-hard-auto's "
        "data/arena-hard-v0.1: target.path=DIR"
    )


def _only_file(path: Path) -> Path:
    if path.is_file():
        return path
    endings = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
    files = sorted(p for p in path.iterdir() if p.name.endswith(endings)) if path.is_dir() else []
    if len(files) == 1:
        return files[0]
    state = f"holds {len(files)} files of examples" if path.is_dir() else "does not exist"
    raise TargetError(
        f"target.path={path} {state}; give a file with one labelled example a line (JSON lines) or "
        "a JSON list of them: target.path=FILE"
    )


def _examples(file: Path) -> Iterator[tuple[str, Any]]:
    """Where each example stands, and what it is."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as stream:
            if ".jsonl" not in file.suffixes[-2:]:
                entries = json.load(stream)
                if not isinstance(entries, list):
                    raise TargetError(f"{file}: a .json file must hold one list of examples")
                yield from ((f"{file}[{n}]", entry) for n, entry in enumerate(entries))
                return
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield f"{file}:{number}", json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{file}: not JSON: {error}") from error


def _query(raw: Any, task: str, where: str, unlabelled: bool) -> Query:
    if unlabelled and isinstance(raw, dict):
        asked = raw.get("prompt", raw.get("instruction"))
        answered = {"messages", "conversations", "completion", "response", "output"} & raw.keys()
        if isinstance(asked, str) and asked.strip() and not answered:
            return Query(str(raw.get("id") or where), task, asked, "")
    row = parse_row(raw, default_dataset=task, where=where)
    messages = row["messages"]
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt = "\n\n".join(message["content"] for message in messages[:first])
    return Query(id=row["id"], task=task, prompt=prompt, label=messages[first]["content"])
