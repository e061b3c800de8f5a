"""Which texts of a benchmark must not stand in a pool: its test items' and its queries'.

A benchmark is asked for its items and queries alone; how their texts fall into parts is read from
their form, not from the benchmark's name:

* an item with choices: its question is a text of its own, too, for pools give choices other marks;
* a benchmark most of whose items stand behind a passage that they share with others: passage and
  question are texts of their own, and the two together are none (the passage is most of them);
* a function's opening: what its docstring says is a text of its own, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.query import Query

Part = Literal["test", "query"]
PARTS: tuple[Part, ...] = ("test", "query")
_DOCSTRING = re.compile(r"def .*?(\"\"\"|''')(.+?)(\1|$)", re.DOTALL)
_EXAMPLES = re.compile(r"\s*(>>>|for example:?$|examples?:?$)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Text:
    """A text to look for.

    Attributes:
        benchmark: whose; ``part``: among its test items or its queries.
        id: the item's or query's; of texts that several share the first one's.
        text: as it stands in the data.
    """

    benchmark: str
    part: Part
    id: str
    text: str


class _Item(Protocol):
    id: str
    text: str
    choices: tuple[str, ...]


class _Benchmark(Protocol):
    def items(self, source: Any) -> Sequence[_Item]: ...
    def queries(self, source: Any) -> list[Query]: ...
    def query_text(self, query: Query) -> str: ...


class HasTexts(Protocol):
    """What is needed of a suite."""

    benchmarks: Mapping[str, _Benchmark]

    def identity(self) -> dict[str, Any]:
        """Under "benchmarks": all that decides their items and queries."""
        ...

    def source(self) -> Any:
        """Where they are read from."""
        ...


def suite_texts(suite: HasTexts) -> list[Text]:
    """The texts of all test items and queries of a suite's benchmarks.

    All items count, whatever ``suite.limit`` scores. A text that stands in items and queries is a
    text of both.
    """
    source = suite.source()
    found: dict[Text, None] = {}
    for name, benchmark in suite.benchmarks.items():
        items = benchmark.items(source)
        choices = {choice for item in items for choice in item.choices}
        tests = [(item.id, item.text) for item in items]
        queries = [(query.id, benchmark.query_text(query)) for query in benchmark.queries(source)]
        passages = shared_passages(text for _, text in tests)
        for part, entries in zip(PARTS, (tests, queries), strict=True):
            seen: set[str] = set()
            for id, text in entries:
                for piece in parts(text, choices=choices, passages=passages):
                    if piece not in seen:
                        seen.add(piece)
                        found[Text(name, part, id, piece)] = None
    return list(found)


def shared_passages(texts: Iterable[str]) -> bool:
    """Whether most texts are a passage that they share with others, a blank line, a question."""
    heads = [text.rpartition("\n\n")[0] for text in texts]
    counts = Counter(head for head in heads if head)
    return sum(n for n in counts.values() if n > 1) > len(heads) / 2


def parts(text: str, *, choices: Iterable[str] = (), passages: bool = False) -> Iterator[str]:
    """The texts that one item holds; see the module."""
    if passages:
        passage, _, question = text.rpartition("\n\n")
        yield from (part for part in (passage, question) if part)
        return
    yield text
    starts = [text.find(f"\n{choice}. ") for choice in choices]
    first = min((start for start in starts if start > 0), default=0)
    if first:
        yield text[:first]
    for match in _DOCSTRING.finditer(text):
        yield _EXAMPLES.split(match[2], maxsplit=1)[0]


# Sets that no suite scores but that pools repeat, where a folder of benchmarks has them: a file of
# examples (harness/target.py says in which forms), or of SQuAD's form.
OUTSIDE = {
    "arena_hard": "arena_hard/question.jsonl*",
    "wildchat": "wildchat/*.json*",
    "xquad": "xquad/xquad.*.json*",
}


def outside_texts(folder: Path) -> list[Text]:
    """The texts of the sets in ``OUTSIDE`` that the folder has, as test texts."""
    return [
        Text(name, "test", id, text)
        for name, pattern in OUTSIDE.items()
        for path in sorted(folder.glob(pattern))
        for id, text in _read(name, path)
    ]


def _read(name: str, path: Path) -> Iterator[tuple[str, str]]:
    import gzip
    import json

    from harness.target import Target

    if ".jsonl" not in path.name:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as stream:
            data = json.load(stream)
        if isinstance(data, dict) and "data" in data:
            for article in data["data"]:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        yield f"{path.name}/{question['id']}", question["question"]
                        yield f"{path.name}/{question['id']}", paragraph["context"]
            return
    for query in Target(name=name, unlabelled=True).outside(path):
        yield query.id, query.prompt
