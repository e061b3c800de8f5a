"""AlpacaEval 1: a judge compares answers with reference answers, win rate (paper E.7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Benchmark, Grades, Grading, Item, seeded_key
from evaluation.source import DataError, Source, read_json
from harness.query import Query

_REMEDY = "AlpacaEval is alpaca_eval/alpaca_eval.json, from the hub data set tatsu-lab/alpaca_eval"


class AlpacaEval(Benchmark):
    """Instructions with reference answers. Queries: the first ``n_queries`` of a seeded order.

    The paper's split of 755 test and 50 query instructions is by its own list; the seeded order
    is ours. The reference answers are the file's (text-davinci-003 for AlpacaEval 1).
    """

    name: ClassVar[str] = "alpaca_eval"
    metric: ClassVar[str] = "win_rate"
    needs_judge: ClassVar[bool] = True

    hub: str = "tatsu-lab/alpaca_eval"
    file: str = Field("alpaca_eval.json", description="the file of instructions and references")
    shots: int = Field(0, ge=0, le=0)
    n_queries: int = Field(50, ge=1)
    max_new_tokens: int = Field(8192, ge=1)

    def files(self, source: Source) -> dict[str, Path]:
        """The one file of instructions and references."""
        name = f"alpaca_eval/{self.file}"
        return {name: source.file(name, _REMEDY)}

    def items(self, source: Source) -> list[Item]:
        """Instructions that are no queries; ``target`` is the reference answer."""
        return [
            Item(
                id=f"{number}",
                prompt=row["instruction"],
                target=row["output"],
                text=row["instruction"],
                group=row.get("dataset", ""),
            )
            for number, row in self._split(source)[1]
        ]

    def queries(self, source: Source) -> list[Query]:
        """Instructions with the reference answer as the label."""
        return [
            Query(id=f"{number}", task=self.name, prompt=row["instruction"], label=row["output"])
            for number, row in self._split(source)[0]
        ]

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """Preferences of the judge; 0.5 is a tie. Their mean is alpaca-eval's win rate."""
        from evaluation.alpaca_eval.annotate import win_rates

        if how.judge is None:
            raise ValueError("AlpacaEval needs a judge, e.g. judge=reference_rule")
        return win_rates(items, [texts[0] for texts in outputs], how, how.judge)

    def _split(self, source: Source) -> tuple[list[Any], list[Any]]:
        if source.is_hub:
            path = _download(self.hub, self.file, self.revision)
        else:
            path = next(iter(self.files(source).values()))
        rows = list(enumerate(read_json(path)))
        rows.sort(key=lambda row: seeded_key("alpaca_eval queries", row[1]["instruction"]))
        if len(rows) <= self.n_queries:
            raise DataError(
                f"alpaca_eval: {len(rows)} instructions, of which {self.n_queries} are to be "
                "queries; lower suite.benchmarks.alpaca_eval.n_queries"
            )
        return rows[: self.n_queries], rows[self.n_queries :]


def _download(hub: str, file: str, revision: str | None) -> Path:
    """The plain file: the data set's loading script is refused by today's ``datasets``."""
    if Path(hub).is_dir():
        return Path(hub) / file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub, file, repo_type="dataset", revision=revision))
    except Exception as error:  # network, cache and permission errors alike
        raise DataError(f"{hub}/{file}: {error}. {_REMEDY}") from error
