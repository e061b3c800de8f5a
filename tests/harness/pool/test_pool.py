"""The pool: nothing dropped in silence, every smaller pool a prefix, all formats alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import Store
from harness.pool import PoolConfig, PoolError, prepare
from tests.conftest import MakePool, conversation


def rows(count: int, dataset: str = "a") -> list[dict[str, Any]]:
    return [
        {"id": f"{dataset}{i}", "dataset": dataset, "messages": conversation(f"q{i}", f"r{i}")}
        for i in range(count)
    ]


def rejects(folder: Path) -> list[dict[str, str]]:
    with gzip.open(folder / "rejects.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def test_unusable_rows_are_listed_with_place_and_reason(tmp_path: Path, store: Store) -> None:
    lines = [
        json.dumps(rows(1)[0]),
        "{broken",
        json.dumps({"id": "x", "messages": []}),
        json.dumps({"id": "y", "messages": [{"role": "user", "content": "alone"}]}),
        json.dumps({"id": "z", "messages": conversation("q", "  ")}),
        json.dumps({"id": "w", "messages": [{"role": "robot", "content": "hi"}]}),
        json.dumps(rows(1)[0]),  # the id again
        json.dumps([1, 2]),
        json.dumps({"text": "plain"}),
    ]
    path = tmp_path / "pool.jsonl"
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    pool = prepare(PoolConfig(name="p", path=str(path)), store, progress=False)
    assert (pool.size, pool.rejected) == (1, 9)
    found = {reject["where"]: reject["reason"] for reject in rejects(pool.path)}
    assert set(found) == {f"pool.jsonl:{n}" for n in range(2, 11)}
    assert "not a line of JSON" in found["pool.jsonl:2"]
    assert "at least one turn" in found["pool.jsonl:3"]
    assert "no assistant" in found["pool.jsonl:4"]
    assert "blank" in found["pool.jsonl:5"]
    assert "'robot'" in found["pool.jsonl:6"]
    assert "second time" in found["pool.jsonl:7"]
    assert "the fields are text" in found["pool.jsonl:9"]


@pytest.mark.parametrize(
    "raw",
    [
        {"messages": conversation("q", "r")},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]},
        {"prompt": "q", "completion": "r"},
        {"prompt": "q", "response": "r"},
        {"instruction": "q", "input": "", "output": "r"},
    ],
)
def test_common_forms_become_messages(make_pool: MakePool, raw: dict[str, Any]) -> None:
    (row,) = make_pool([raw]).rows([0])
    assert row.messages == conversation("q", "r")
    assert (row.id, row.dataset) == ("rows.jsonl:1", "rows")


def test_instruction_and_input_are_joined_by_a_blank_line(make_pool: MakePool) -> None:
    (row,) = make_pool([{"instruction": "Add", "input": "1 2", "output": "3"}]).rows([0])
    assert row.messages[0]["content"] == "Add\n\n1 2"


def test_smaller_pools_are_prefixes_and_files_do_not_matter(tmp_path: Path) -> None:
    data = rows(3000) + rows(50, "b")
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    (one / "all.jsonl").write_text("\n".join(json.dumps(row) for row in data))
    for part in range(5):  # spread over files, in another order
        with gzip.open(many / f"{9 - part}.jsonl.gz", "wt") as stream:
            stream.write("\n".join(json.dumps(row) for row in data[part::5]))
    orders = []
    for folder, size in ((one, 3050), (many, 3050), (one, 100)):
        config = PoolConfig(name="p", path=str(folder), size=size)
        pool = prepare(config, Store(tmp_path / "store"), progress=False)
        orders.append(pool.ids(range(size)))
    assert orders[0] == orders[1]
    assert orders[2] == orders[0][:100]
    assert orders[0] != sorted(orders[0])
    other = PoolConfig(name="p", path=str(one), seed=1)
    assert prepare(other, Store(tmp_path / "store"), progress=False).ids(range(9)) != orders[0][:9]


def test_rows_come_back_in_the_order_asked_for(make_pool: MakePool) -> None:
    pool = make_pool(rows(2100))
    everything = pool.ids(range(2100))
    asked = [2099, 0, 1024, 1023, 0]
    assert pool.ids(asked) == [everything[i] for i in asked]
    with pytest.raises(IndexError):
        pool.rows([2100])


def test_sources_are_counted_by_position(make_pool: MakePool) -> None:
    pool = make_pool(rows(30) + rows(5, "b"))
    assert pool.count_sources() == {"a": 30, "b": 5}
    names = [row.dataset for row in pool.rows(range(10))]
    assert pool.count_sources(np.arange(10)) == {
        name: names.count(name) for name in sorted(set(names))
    }


def test_ranges_are_fixed_by_the_pool_not_by_the_size(tmp_path: Path, make_pool: MakePool) -> None:
    whole = make_pool(rows(2500))
    part = make_pool(rows(2500), size=1100)
    assert part.ranges(1000) == [range(0, 1000), range(1000, 2000)]
    assert whole.ranges(1000)[:2] == part.ranges(1000)
    assert whole.ranges(1000)[-1] == range(2000, 2500)


def test_parquet_and_saved_datasets_read_like_jsonl(tmp_path: Path) -> None:
    import datasets

    data = rows(40)
    (tmp_path / "j").mkdir()
    (tmp_path / "p").mkdir()
    (tmp_path / "j" / "x.jsonl").write_text("\n".join(json.dumps(row) for row in data))
    table = datasets.Dataset.from_list(data)
    table.to_parquet(str(tmp_path / "p" / "x.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    hub_like = tmp_path / "owner" / "name" / "data"
    hub_like.mkdir(parents=True)
    table.to_parquet(str(hub_like / "train-00000-of-00001.parquet"))
    settings = [
        {"path": str(tmp_path / "j")},
        {"path": str(tmp_path / "p")},
        {"path": str(tmp_path / "saved"), "format": "hub"},
        {"path": str(tmp_path / "owner" / "name"), "format": "hub"},
    ]
    store = Store(tmp_path / "store")
    pools = [prepare(PoolConfig(name="p", **one), store, progress=False) for one in settings]
    expected = [(row.id, row.dataset, row.messages) for row in pools[0].rows(range(40))]
    for pool in pools[1:]:
        assert [(r.id, r.dataset, r.messages) for r in pool.rows(range(40))] == expected


def test_errors_say_what_was_looked_for(tmp_path: Path, make_pool: MakePool, store: Store) -> None:
    with pytest.raises(PoolError, match="does not exist"):
        PoolConfig(name="p", path=str(tmp_path / "nowhere")).check()
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoolError, match="holds no such file"):
        PoolConfig(name="p", path=str(tmp_path / "empty")).check()
    with pytest.raises(PoolError, match="the pool has 3 usable rows"):
        make_pool(rows(3), size=4)
    with pytest.raises(PoolError, match="no usable row"):
        make_pool([{"messages": []}])


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_real_pool_is_read_whole(shared_data: Path, store: Store) -> None:
    config = PoolConfig(name="real", path=str(shared_data / "pool"))
    pool = prepare(config, store, progress=False)
    assert (pool.size, pool.rejected, len(pool.sources)) == (304_989, 0, 29)
