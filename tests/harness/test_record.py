"""Records: written whole, validated when read, old ones still readable, wrong ones named."""

from __future__ import annotations

import json

import pytest

import harness.record
from harness.record import (
    Record,
    RecordError,
    Score,
    StageCost,
    find_records,
    read_record,
    write_record,
)


def record(**changes) -> Record:
    cell = {
        "run_id": "random-1",
        "status": "done",
        "method": "random",
        "pool": "micro",
        "pool_size": 100,
        "budget": 10,
        "target": "any",
        "model": "micro",
        "selector_model": "none",
        "recipe": "micro",
        "suite": "micro",
        "judge": "rule",
        "seed": 0,
    }
    return Record(**{**cell, **changes})


def test_a_record_comes_back_as_it_was_written(tmp_path):
    before = record(
        scores={"mmlu": Score(score=25.5, stderr=1.25, n=60, metric="acc", notes={"a": [1]})},
        ledger=[StageCost(stage="train", flops=1.5e20, tokens=7, reused=True)],
        digests={"pool": "ab"},
    )
    path = write_record(before, tmp_path)
    assert path.name == "random-1.json"
    assert read_record(path) == before
    assert list(tmp_path.iterdir()) == [path]  # no part left behind


def test_what_a_record_adds_up():
    select = {"warmup": 1, "score": 10, "queries": 100, "order": 200}
    costs = {**select, "train": 1_000, "evaluate": 10_000}
    run = record(
        ledger=[StageCost(stage=s, flops=f, flops_paper=2 * f, seconds=f) for s, f in costs.items()]
    )
    assert (run.flops_select, run.flops_train, run.flops_total) == (311, 1_000, 1_311)
    assert run.flops_paper == 2_622  # evaluation is no part of a method's cost
    assert run.cost("evaluate", "train", column="seconds") == 11_000
    assert run.mean is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting property name"),
        ("[]", "no schema_version"),
        ('{"schema_version": "1"}', "no schema_version"),
        ('{"schema_version": 99}', "schema_version 99.*reads up to 1; update winnow"),
        ('{"schema_version": 1, "run_id": "x"}', "status"),
        ('"torn', "Unterminated"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, text, says):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=says) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_and_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="decode"):
        read_record(path)
    path.write_text(json.dumps(record().model_dump() | {"scroes": {}}))
    with pytest.raises(RecordError, match="scroes"):
        read_record(path)


def test_an_older_schema_is_brought_up_to_date(tmp_path, monkeypatch):
    """Version 0 stands for any older one: it called the method a strategy."""

    def migrate(data):
        data["method"] = data.pop("strategy")
        data["schema_version"] = 1
        return data

    monkeypatch.setitem(harness.record._MIGRATIONS, 0, migrate)
    old = record().model_dump() | {"schema_version": 0, "strategy": "random"}
    del old["method"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    assert read_record(path) == record()


def test_records_are_found_below_and_once(tmp_path):
    for folder in ("records", "a/records", "b/c/records"):
        write_record(record(), tmp_path / folder)
    (tmp_path / "a" / "other.json").write_text("{}")
    found = list(find_records(tmp_path, tmp_path / "a"))
    assert len(found) == len(set(found)) == 3
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(find_records(tmp_path / "nowhere"))
