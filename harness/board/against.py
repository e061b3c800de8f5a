"""Holding a submission's items against the benchmarks themselves.

Which suite is meant is looked up by its name in a fixed list; its classes are ours and its data are
of this machine. Of a record only plain settings are taken (how many shots, which limit), and these
are validated by our own classes: no path, class or data set that a record names is opened or built.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

import conf
from harness.board.regrade import benchmark_named, foreign
from harness.record import Record

SUITES = ("micro", "paper", "lm_eval")
MICRO = "micro"
NAMED = 3  # items that are named of one kind of difference
# What of a benchmark's settings decides its items and prompts, and is neither path nor data set.
_SETTINGS = (
    "shots", "shot_ids", "exemplars", "query_duplicates", "stand_in", "passage_words", "n_queries",
)  # fmt: skip


@dataclass
class Checked:
    """One benchmark of one run: items held against the data, and how many differ."""

    items: int = 0
    differing: int = 0


class Truth:
    """The real benchmarks.

    Args:
        data: a folder as ``suite.data`` takes it; None: only ``micro``, which is generated.
    """

    def __init__(self, data: Path | None) -> None:
        from evaluation.source import Source

        self._source = None if data is None else Source(data)
        self._read = cache(self._items)
        self._world: TemporaryDirectory[str] | None = None

    @property
    def has_data(self) -> bool:
        """Whether a folder was given."""
        return self._source is not None

    def knows(self, suite: str) -> bool:
        """Whether there are data for the suite of that name."""
        return suite == MICRO or (self._source is not None and suite in SUITES)

    def expected(self, record: Record, name: str) -> dict[str, Any]:
        """The items (``evaluation.base.Item``) that the record's benchmark asks, by id, in order.

        Raises:
            ValueError: no such benchmark, settings that it does not have, or no data (DataError).
        """
        suite = record.config.get("suite")
        suite = suite if isinstance(suite, dict) else {}
        own = suite.get("benchmarks")
        own = own.get(name) if isinstance(own, dict) else None
        own = own if isinstance(own, dict) else {}
        settings = {key: own[key] for key in _SETTINGS if key in own}
        limit = suite.get("limit")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"suite.limit={limit!r} is no number of items")
        return self._read(record.suite, name, json.dumps(settings, sort_keys=True), limit)

    def _items(self, suite: str, name: str, settings: str, limit: int | None) -> dict[str, Any]:
        from evaluation.base import spread

        fixed = "paper" if suite == "lm_eval" else suite  # stock tasks ask the paper's items
        shipped = yaml.safe_load((Path(conf.__file__).parent / f"suite/{fixed}.yaml").read_text())
        if name not in shipped["benchmarks"]:
            raise ValueError(f"the suite {suite} has no benchmark {name}")
        given = shipped["benchmarks"][name] | json.loads(settings)
        given.pop("_target_", None)
        benchmark = benchmark_named(name, given)
        items, _ = benchmark.test_items(self._data(suite))
        return {item.id: item for item in spread(items, limit, name)}

    def _data(self, suite: str) -> Any:
        if suite != MICRO:
            return self._source
        from evaluation.source import Source

        if self._world is None:
            from harness.micro import world

            self._world = TemporaryDirectory()
            world.build(Path(self._world.name))
        return Source(Path(self._world.name) / "benchmarks")


def true_rows(rows: Sequence[Mapping[str, Any]], items: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that are items of the benchmark, with its gold answers and groups."""
    return [
        {**row, "target": _plain(item.target), "subject": item.group}
        for row in rows
        if (item := items.get(row["item_id"])) is not None
    ]


def differences(
    record: Record, name: str, rows: Sequence[Mapping[str, Any]], items: Mapping[str, Any],
    counts: Checked,
) -> Iterator[str]:  # fmt: skip
    """What of the rows is not the benchmark's, a sentence for each kind; ``counts`` is added to."""
    found = Counter(row["item_id"] for row in rows)
    prompts = _prompts(record, name)
    kinds: dict[str, list[str]] = {
        "missing": [item for item in items if item not in found],
        "that the benchmark does not have": [item for item in found if item not in items],
        "more than once": [item for item, count in found.items() if count > 1],
        "with another gold answer": [],
        "of another group or cluster": [],
        "with another prompt": [],
    }
    for row in rows:
        item = items.get(row["item_id"])
        if item is None:
            continue
        if row.get("target") != _plain(item.target):
            kinds["with another gold answer"].append(item.id)
        if row["subject"] != item.group or row.get("cluster", item.cluster) != item.cluster:
            kinds["of another group or cluster"].append(item.id)
        if prompts and row.get("prompt_hash") and row["prompt_hash"] != prompts(item):
            kinds["with another prompt"].append(item.id)
    counts.items += len(items)
    counts.differing += len({item for names in kinds.values() for item in names})
    for kind, names in kinds.items():
        if names:
            shown = ", ".join(repr(one[:60]) for one in names[:NAMED])
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{len(names)} of {len(items)} items {kind}: {shown}{more}"


def prompts_known(record: Record, name: str) -> bool:
    """Whether the prompts can be made again: our own protocol, with Tulu's template."""
    return _prompts(record, name) is not None


def _prompts(record: Record, name: str) -> Any:
    """A function from an item to the hash of its rendered prompt; None if it cannot be known."""
    from harness.chat import TULU_TEMPLATE, render_tulu, template_hash

    if foreign(record.scores[name].notes) or record.chat_template_hash != template_hash(
        TULU_TEMPLATE
    ):
        return None
    from evaluation.results import prompt_hash

    def hashed(item: Any) -> str:
        turns = [{"role": "user", "content": item.prompt}]  # no answer, so no end token either
        return prompt_hash(render_tulu(turns, "", generation_prompt=True) + item.prefix)

    return hashed


def _plain(target: Any) -> Any:
    """As it comes back from JSON lines."""
    return json.loads(json.dumps(target, ensure_ascii=False))
