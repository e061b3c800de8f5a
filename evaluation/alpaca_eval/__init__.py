"""AlpacaEval 1 and 2: a judge compares answers with reference answers, win rate (paper E.7).

Deviations from the paper: its list of 755 test and 50 query instructions is not in our data; ours
is by a seeded order. Answers and instructions are cleared of chat markers before the judge reads
them (``evaluation/judges/neutral.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.base import Benchmark, Grades, Grading, Item, seeded_key
from evaluation.source import DataError, Source, read_json
from harness.query import Query

_REMEDY = "AlpacaEval is alpaca_eval/alpaca_eval.json, from the hub data set tatsu-lab/alpaca_eval"


class AlpacaEval(Benchmark):
    """Instructions with reference answers. Queries: the first ``n_queries`` of a seeded order.

    The reference answers are the file's: text-davinci-003's for AlpacaEval 1. With ``n_queries`` 0
    there is no query set and all 805 are items, as on AlpacaEval's boards. An item's id is its
    place in the file.

    Fields:
        rate: which of the two rates is the score. Both are in the score's notes where the
            length-controlled one can be had; it needs ``df_gamed.csv``.
        df_gamed: path of that file; null looks for alpaca_eval/df_gamed.csv below ``suite.data``,
            and on the hub if that is where the data comes from.
    """

    name: ClassVar[str] = "alpaca_eval"
    metric: ClassVar[str] = "win_rate"
    needs_judge: ClassVar[bool] = True

    hub: str = "tatsu-lab/alpaca_eval"
    file: str = Field("alpaca_eval.json", description="the file of instructions and references")
    shots: int = Field(0, ge=0, le=0)
    n_queries: int = Field(50, ge=0)
    max_new_tokens: int = Field(8192, ge=1)
    rate: Literal["win_rate", "length_controlled"] = "win_rate"
    df_gamed: str | None = None

    @property
    def metric_name(self) -> str:
        """``win_rate`` or ``length_controlled_win_rate``."""
        return self.metric if self.rate == "win_rate" else "length_controlled_win_rate"

    def identity(self) -> dict[str, Any]:
        """No path: the file's bytes are part of the data's digest."""
        return {key: value for key, value in super().identity().items() if key != "df_gamed"}

    def files(self, source: Source) -> dict[str, Path]:
        """The file of instructions and references, and ``df_gamed.csv`` where it is."""
        found = {f"alpaca_eval/{self.file}": self._path(source)}
        gamed = self._gamed(source)
        if isinstance(gamed, Path):
            found["alpaca_eval/df_gamed.csv"] = gamed
        return found

    def items(self, source: Source) -> list[Item]:
        """Instructions that are no queries; ``target`` is the reference answer."""
        return [
            Item(
                id=f"{place}",
                prompt=row["instruction"],
                target=row["output"],
                text=row["instruction"],
                group=row.get("dataset", ""),
            )
            for place, row in self._split(source)[1]
        ]

    def queries(self, source: Source) -> list[Query]:
        """Instructions with the reference answer as the label."""
        return [
            Query(id=f"{place}", task=self.name, prompt=row["instruction"], label=row["output"])
            for place, row in self._split(source)[0]
        ]

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """Preferences of the judge, 0.5 a tie, NaN no verdict; or the length-controlled ones."""
        from evaluation.alpaca_eval.annotate import verdicts
        from evaluation.alpaca_eval.length_control import Judged, length_controlled

        if how.judge is None:
            raise ValueError("AlpacaEval needs a judge, e.g. judge=reference_rule")
        answers = [texts[0] for texts in outputs]
        found = verdicts(items, answers, how, how.judge)
        notes = {**found.notes, "alpaca_eval": found.board}
        values = found.preferences
        gamed = self._gamed(how.source)
        if isinstance(gamed, Path):
            rows = [
                Judged(int(item.id), preference, str(item.target), answer)
                for item, preference, answer in zip(items, found.preferences, answers, strict=True)
            ]
            controlled = length_controlled(rows, gamed)
            notes["length_controlled"] = _rate(controlled)
            if self.rate == "length_controlled":
                values = controlled
        else:
            notes["length_controlled"] = {"missing": gamed}
        return Grades(values, notes)

    def _path(self, source: Source) -> Path:
        """The file of instructions and references."""
        if source.is_hub:
            return _download(self.hub, self.file, self.revision)
        return source.file(f"alpaca_eval/{self.file}", _REMEDY)

    def _rows(self, source: Source) -> list[dict[str, Any]]:
        """The file's rows in their order."""
        path = self._path(source)
        rows = read_json(path)
        for place, row in enumerate(rows):
            if not isinstance(row, dict) or not {"instruction", "output"} <= row.keys():
                raise DataError(f"{path}, row {place}: no fields instruction and output; {_REMEDY}")
        return list(rows)

    def _split(self, source: Source) -> tuple[list[Any], list[Any]]:
        rows = list(enumerate(self._rows(source)))
        if len(rows) <= self.n_queries:
            raise DataError(
                f"{self.name}: {len(rows)} instructions, of which {self.n_queries} are to be "
                f"queries; lower suite.benchmarks.{self.name}.n_queries"
            )
        if self.n_queries == 0:
            return [], rows
        rows.sort(key=lambda row: seeded_key("alpaca_eval queries", row[1]["instruction"]))
        return rows[: self.n_queries], rows[self.n_queries :]

    def _gamed(self, source: Source | None) -> Path | str:
        """``df_gamed.csv``, or why there is no length-controlled rate.

        Raises:
            DataError: the settings ask for that rate, or name a file that is not there.
        """
        from evaluation.alpaca_eval.length_control import FILE, REMEDY, check_instructions

        found = self._gamed_file(source)
        problem = ""
        if found is None:
            setting = f"suite.benchmarks.{self.name}.df_gamed"
            problem = f"no {FILE} ({setting}, or alpaca_eval/{FILE} in suite.data): {REMEDY}"
        elif source is not None:
            try:
                check_instructions([row["instruction"] for row in self._rows(source)])
            except DataError as error:
                problem = str(error)
        if problem and (self.rate == "length_controlled" or self.df_gamed):
            raise DataError(f"{self.name}: {problem}")
        return problem if problem or found is None else found

    def _gamed_file(self, source: Source | None) -> Path | None:
        if self.df_gamed:
            path = Path(self.df_gamed).expanduser()
            return path if path.is_file() else None
        if source is None:
            return None
        if not source.is_hub:
            assert source.folder is not None
            path = source.folder / "alpaca_eval" / "df_gamed.csv"
            return path if path.is_file() else None
        try:
            path = _download(self.hub, "df_gamed.csv", self.revision)
        except DataError:
            return None
        return path if path.is_file() else None


class AlpacaEval2(AlpacaEval):
    """The same instructions with gpt4_1106_preview's answers as references.

    From a folder, the references may also be its ``model_outputs/gpt4_1106_preview.json.gz``.
    """

    name: ClassVar[str] = "alpaca_eval_2"

    file: str = "alpaca_eval_gpt4_baseline.json"

    def _path(self, source: Source) -> Path:
        spare = "alpaca_eval/model_outputs/gpt4_1106_preview.json.gz"
        folder = source.folder
        if folder is None or (folder / "alpaca_eval" / self.file).is_file():
            return super()._path(source)
        return folder / spare if (folder / spare).is_file() else super()._path(source)


def _rate(values: Sequence[float]) -> dict[str, Any]:
    from evaluation.statistics import mean_and_error

    score, error = mean_and_error(values, ["" for _ in values], "items")
    return {"win_rate": score, "standard_error": error, "n": len(values)}


def _download(hub: str, file: str, revision: str | None) -> Path:
    """The plain file: the data set's loading script is refused by today's ``datasets``."""
    if Path(hub).is_dir():
        return Path(hub) / file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub, file, repo_type="dataset", revision=revision))
    except Exception as error:  # network, cache and permission errors alike
        raise DataError(f"{hub}/{file}: {error}. {_REMEDY}") from error
