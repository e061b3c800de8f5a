"""Data sets of the hub, in local folders of that layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluation.gsm8k import GSM8K
from evaluation.mmlu import MMLU
from evaluation.source import DataError, Source, read_jsonl
from evaluation.squad import SQuAD


def hub_folder(folder: Path, config: str, splits: dict[str, list[dict[str, Any]]]) -> Path:
    """A local folder laid out like a data set repository: Parquet files and a card."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, rows in splits.items():
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
        lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), "utf-8")
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_hub_data_sets_give_what_files_give(
    small_data: Path, tmp_path: Path, hub_cache: None
) -> None:
    source, hub = Source(small_data), Source(None)
    gsm = {part: read_jsonl(small_data / f"gsm8k/{part}.jsonl") for part in ("train", "test")}
    folder = hub_folder(tmp_path / "gsm", "main", gsm)
    for exemplars in ("wei", "train"):
        benchmark = GSM8K(hub=str(folder), exemplars=exemplars)  # type: ignore[arg-type]
        assert benchmark.items(hub) == benchmark.items(source)
        assert benchmark.queries(hub) == benchmark.queries(source)

    rows = {
        part: [
            {
                "question": row["question"],
                "subject": row["subject"],
                "choices": row["choices"],
                "answer": "ABCD".index(row["answer"]),
            }
            for row in MMLU()._rows(source, part)
        ]
        for part in ("dev", "test")
    }
    mmlu = MMLU(hub=str(hub_folder(tmp_path / "mmlu", "all", rows)))
    assert mmlu.items(hub) == mmlu.items(source)
    assert mmlu.queries(hub) == mmlu.queries(source)

    squad = SQuAD(n_queries=4)
    parts = {}
    for part, split in (("train", "train"), ("dev", "validation")):
        parts[split] = [
            {**row, "answers": {"text": row["answers"], "answer_start": [0]}}
            for row in squad._rows(source, part)
        ]
    there = SQuAD(n_queries=4, hub=str(hub_folder(tmp_path / "squad", "default", parts)))
    assert there.items(hub) == squad.items(source)
    assert there.queries(hub) == squad.queries(source)


def test_a_hub_data_set_that_is_not_there(hub_cache: None) -> None:
    with pytest.raises(DataError, match=r"no/such.*split test.*suite\.data=DIR"):
        GSM8K(hub="no/such").items(Source(None))
