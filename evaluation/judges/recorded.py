"""Verdicts that were given before, read from files: annotations of alpaca-eval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.judges import SEPARATOR, Judge, completed, function_arguments
from evaluation.judges.neutral import neutralise
from evaluation.source import DataError, read_json, read_jsonl
from harness.files import digest, file_digest

# Answers by side and generator, and by instruction.
_Answers = dict[tuple[str, str], dict[str, str]]
_ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")


class RecordedJudge(Judge):
    """Says what the annotations say of the same instruction and the same two answers.

    Rows are alpaca-eval's: ``instruction``, ``output_1`` (the reference), ``output_2``,
    ``preference`` from 1 to 2, where 1.5 and 0 are ties and null is no verdict. Where a row leaves
    an answer out, it is its generator's in ``outputs``, at the place ``index``.
    """

    name: ClassVar[str] = "recorded"

    annotations: str | None = Field(None, description="a file of annotations, or a folder of them")
    outputs: str | None = Field(
        None,
        description="folder of <generator>.json[.gz] for rows without answers; null: model_outputs "
        "beside the folder of annotations",
    )

    def check(self) -> None:
        """The files are there and every row can be read."""
        self._table()

    def identity(self) -> dict[str, Any]:
        """Digest of the verdicts, no paths."""
        plain = {k: v for k, v in super().identity().items() if k not in ("annotations", "outputs")}
        return {**plain, "verdicts": digest(sorted(map(str, self._table().items())))}

    def arguments(self, folder: Path) -> dict[str, Any]:
        """A function that looks pairs up."""
        table = self._table()

        def look_up(prompts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
            unknown = [prompt for prompt in prompts if prompt not in table]
            if unknown:
                instruction = unknown[0].partition(SEPARATOR)[0]
                raise DataError(
                    f"judge.annotations={self.annotations}: no verdict recorded on {len(unknown)} "
                    f"of {len(prompts)} answers, the first one to {instruction[:80]!r}; the "
                    "answers must be those that were judged"
                )
            found = [table[prompt] for prompt in prompts]
            if any(len(verdicts) > 1 for verdicts in found):
                raise DataError(
                    f"judge.annotations={self.annotations}: different verdicts on the same two "
                    "answers; name one file"
                )
            return completed([next(iter(verdicts)) for verdicts in found])

        columns = ("instruction", "output_1", "output_2")
        return function_arguments(folder, self.name, columns, look_up)

    def _table(self) -> dict[str, set[float | None]]:
        if not self.annotations:
            raise DataError(
                "judge.annotations is not set; give alpaca-eval's annotations, a file or a folder "
                "of them (*.json, *.jsonl, packed or not)"
            )
        paths = _files(Path(self.annotations).expanduser())
        outputs = Path(self.outputs).expanduser() if self.outputs else None
        return _read(tuple((path, file_digest(path)) for path in paths), outputs)


def read_annotations(path: Path, outputs: Path | None = None) -> list[dict[str, Any]]:
    """The rows of one file, with ``output_1`` and ``output_2`` filled in.

    Raises:
        DataError: a row lacks a field, or its answer is in no file of ``outputs``.
    """
    outputs = outputs or path.parent.parent / "model_outputs"
    rows = read_jsonl(path) if ".jsonl" in path.name else read_json(path)
    known: _Answers = {}
    return [
        _filled(row, f"{path}, row {number}", outputs, known)
        for number, row in enumerate(rows, start=1)
    ]


def _is_preference(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return False
    return value is None or value != value or value == 0 or 1 <= value <= 2


def _filled(row: dict[str, Any], where: str, outputs: Path, known: _Answers) -> dict[str, Any]:
    for key in ("instruction", "preference"):
        if key not in row:
            raise DataError(f"{where}: no field {key!r}; rows are annotations of alpaca-eval")
    preference = row["preference"]
    if not _is_preference(preference):
        raise DataError(f"{where}: preference {preference!r}; allowed are 1 to 2, 0 and null")
    filled = dict(row)
    for side in ("1", "2"):
        if f"output_{side}" not in row:
            generator = str(row.get(f"generator_{side}"))
            if (side, generator) not in known:
                known[side, generator] = _answers(outputs, generator, side == "1")
            answers = known[side, generator]
            if row["instruction"] not in answers:
                raise DataError(f"{where}: no output_{side}, and none in {outputs} either")
            filled[f"output_{side}"] = answers[row["instruction"]]
    return filled


def _answers(outputs: Path, generator: str, is_reference: bool) -> dict[str, str]:
    """A generator's answers by instruction.

    AlpacaEval has two sets of answers by text_davinci_003: the references in ``alpaca_eval.json``,
    and those with which it is on the boards itself.
    """
    names = [outputs / f"{generator}.json", outputs / f"{generator}.json.gz"]
    reference = outputs.parent / "alpaca_eval.json"
    for path in [reference, *names] if is_reference else names:
        if path.is_file():
            rows = read_json(path)
            if path != reference or any(row.get("generator") == generator for row in rows):
                return {row["instruction"]: row["output"] for row in rows}
    return {}


@lru_cache(maxsize=4)
def _read(
    paths: tuple[tuple[Path, str], ...], outputs: Path | None
) -> dict[str, set[float | None]]:
    table: dict[str, set[float | None]] = {}
    for row in (row for path, _ in paths for row in read_annotations(path, outputs)):
        texts = (row["instruction"], row["output_1"], row["output_2"])
        value = row["preference"]
        value = None if value is None or value != value else float(value) or 1.5
        table.setdefault(SEPARATOR.join(map(neutralise, texts)), set()).add(value)
    return table


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = list(_below(path)) if path.is_dir() else []
    if not found:
        raise DataError(
            f"judge.annotations={path}: no annotations there (looked for {path.resolve()}; "
            f"{', '.join('*' + end for end in _ENDINGS)})"
        )
    return found


def _below(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.iterdir()) if path.name.endswith(_ENDINGS))
