"""BIG-Bench Hard: 27 tasks with chains of thought, exact match (paper E.3)."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any, ClassVar, Literal

from evaluation.base import Benchmark, Item
from evaluation.source import DataError, Source, read_hub, read_json, read_text
from harness.query import Query

PREFIX = "A:"
# "is" as a word, so that "the answer isn't" is none.
_ANSWER = re.compile(r"the answer is\b\s*(.*?)(?:\.(?=\s|$)|\n|$)", re.IGNORECASE)
# All punctuation but a minus sign before a digit: "-50" is not "50". Curly quotes are quotes.
_PUNCTUATION = re.compile(rf"(?!-\d)[{re.escape(string.punctuation)}“”‘’]")
_REMEDY = (
    "BBH is bbh/<task>.json and bbh/bbh-three-shot.json, from github.com/suzgunmirac/BIG-Bench-Hard"
)


class BBH(Benchmark):
    """The tasks that the folder holds; unweighted mean over tasks.

    Queries: the three worked examples of each task, one by one. They are put in a chat turn like
    the test prompt; the paper's code leaves them bare, against its own text.
    """

    name: ClassVar[str] = "bbh"
    metric: ClassVar[str] = "exact_match"
    average: ClassVar[Literal["items", "groups"]] = "groups"
    metric_version: ClassVar[int] = 2

    hub: str = "SaylorTwift/bbh"
    shots: Literal[0, 3] = 3

    def files(self, source: Source) -> dict[str, Path]:
        """The query file, each task's items, and with shots each task's worked examples."""
        three = source.file("bbh/bbh-three-shot.json", _REMEDY)
        found = {"bbh/bbh-three-shot.json": three}
        for path in source.files("bbh/*.json", _REMEDY):
            if path == three:
                continue
            found[f"bbh/{path.name}"] = path
            if self.shots:
                name = f"bbh/cot-prompts/{path.stem}.txt"
                found[name] = source.file(name, _REMEDY)
        return found

    def items(self, source: Source) -> list[Item]:
        """All tasks' items, by task."""
        worked = self._worked(source)
        items = []
        for task, rows in self._tasks(source, worked).items():
            if task not in worked:
                raise DataError(f"bbh/bbh-three-shot.json has no entry for the task {task}")
            head = self._shots(source, task) if self.shots else _description(worked[task])
            for number, row in enumerate(rows):
                items.append(
                    Item(
                        id=f"{task}/{number}",
                        prompt=f"{head}\n\nQ: {row['input']}",
                        prefix=PREFIX,
                        target=row["target"],
                        text=row["input"],
                        group=task,
                    )
                )
        return items

    def queries(self, source: Source) -> list[Query]:
        """Three examples per task; the label is the chain of thought behind "A: "."""
        queries = []
        for task, text in sorted(self._worked(source).items()):
            for number, example in enumerate(text.strip().split("\n\nQ: ")[1:]):
                question, mark, answer = example.partition("\nA: ")
                if not mark:
                    raise DataError(f"bbh-three-shot.json, {task}: example {number} has no 'A: '")
                queries.append(
                    Query(
                        id=f"{task}/shot/{number}",
                        task=self.name,
                        prompt=f"{_description(text)}\n\nQ: {question}",
                        prefix=PREFIX,
                        label=answer.strip(),
                    )
                )
        return queries

    def query_text(self, query: Query) -> str:
        """The question alone."""
        return query.prompt.split("\n\nQ: ", 1)[1]

    def score(self, item: Item, output: str) -> float:
        """1 if the extracted answer is the target, case and punctuation aside."""
        return float(plain(extract(output)) == plain(item.target))

    def gold(self, item: Item) -> str:
        """A right answer as the shots write it."""
        return f" Let's think step by step.\nIt follows. So the answer is {item.target}."

    def wrong(self, item: Item) -> str:
        """The right answer denied."""
        return f" It could be {item.target}, but it follows. So the answer is not {item.target}."

    def _worked(self, source: Source) -> dict[str, str]:
        if source.is_hub:  # the hub's tables hold no worked examples
            return _packaged_worked()
        return read_json(source.file("bbh/bbh-three-shot.json", _REMEDY))

    def _tasks(self, source: Source, worked: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
        if source.is_hub:
            return {
                task: read_hub(self.hub, "test", name=task, revision=self.revision)
                for task in sorted(worked)
            }
        return {
            path.stem: read_json(path)["examples"]
            for path in source.files("bbh/*.json", _REMEDY)
            if path.name != "bbh-three-shot.json"
        }

    def _shots(self, source: Source, task: str) -> str:
        if source.is_hub:
            return _packaged_worked()[task]
        path = source.file(f"bbh/cot-prompts/{task}.txt", _REMEDY)
        # The first two lines are a canary and a rule.
        return read_text(path).split("\n", 2)[2].strip()


def extract(output: str) -> str:
    """What follows the first "the answer is", up to the full stop or line end; else all of it.

    The first, because a model that does not stop goes on to answer questions of its own.
    """
    found = _ANSWER.search(output)
    return (found.group(1) if found else output).strip()


def plain(text: str) -> str:
    """Lower case, single blanks, no punctuation, unless punctuation is all there is (brackets)."""
    folded = " ".join(text.lower().replace("−", "-").split())
    stripped = " ".join(_PUNCTUATION.sub("", folded).split())
    return stripped or folded.replace(" ", "")


def _description(worked: str) -> str:
    return worked.strip().split("\n\nQ: ", 1)[0].strip()


def _packaged_worked() -> dict[str, str]:
    """Each task's description and worked examples, from the installed lm-eval package."""
    import importlib.util

    import yaml

    package = importlib.util.find_spec("lm_eval")
    if package is None or not package.origin:
        raise DataError("reading BBH from the hub needs the package lm-eval installed")
    folder = Path(package.origin).parent / "tasks" / "bbh" / "cot_fewshot"
    worked = {}
    for path in sorted(folder.glob("[!_]*.yaml")):
        task = yaml.safe_load(path.read_text(encoding="utf-8"))
        samples = task["fewshot_config"]["samples"]
        examples = [
            f"Q: {row['input'].strip()}\nA: Let's think step by step.\n{row['target'].strip()}"
            for row in samples
        ]
        worked[task["dataset_name"]] = "\n\n".join([task["description"].strip(), *examples])
    return worked
