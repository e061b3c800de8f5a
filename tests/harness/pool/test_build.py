"""Building a pool: no duplicate stays, counts are compared, and a build that stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.artifacts import Store
from harness.check import check
from harness.pool import PoolConfig, PoolError, prepare
from harness.pool import build as build_module
from harness.pool.__main__ import main
from harness.pool.build import build
from harness.pool.duplicates import Seen, as_array, key
from harness.pool.recipe import Recipe, read_recipe
from tests.conftest import conversation
from tests.harness.pool.samples import write, write_hub


def recipe(**rows: int) -> Recipe:
    """One source a keyword, FLAN's form, with the count that is expected of it."""
    sources = {
        name: {
            "rows": count,
            "origin": {"repo": f"owner/{name}", "files": ["*.jsonl"]},
            "form": {"form": "flan"},
        }
        for name, count in rows.items()
    }
    return Recipe.model_validate({"name": "own", "rows": sum(rows.values()), "sources": sources})


def flan(*questions: Any) -> list[dict[str, str]]:
    return [{"inputs": f"{question}:", "targets": "yes"} for question in questions]


def put(hub: Path, source: str, *questions: Any) -> None:
    write(hub / "owner" / source / "data.jsonl", flan(*questions))


def read(out: Path) -> dict[str, str]:
    """Every row's first turn by its id."""
    rows = [row for p in sorted(out.rglob("*.parquet")) for row in pq.read_table(p).to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["messages"][0]["content"] for row in rows}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_the_first_of_equal_rows_stays_over_all_sources(tmp_path: Path) -> None:
    put(tmp_path, "a", 1, 2, 1, 3)
    put(tmp_path, "b", 3, 4, 4, 5)
    one, two = build(recipe(a=3, b=2), tmp_path / "out", local=tmp_path, progress=False)
    assert read(tmp_path / "out") == {
        "a_0": "1:", "a_1": "2:", "a_3": "3:", "b_1": "4:", "b_3": "5:",
    }  # fmt: skip
    assert (one.counts.duplicates, two.counts.duplicates) == (1, 2)
    assert (one.difference, two.difference) == (0, 0)


def test_equal_is_what_the_reference_calls_equal() -> None:
    plain = conversation("q", "a")
    assert key(plain) == key(conversation(" q\n", "a "))
    assert key(plain) != key(conversation("Q", "a"))
    assert key(plain) != key([plain[0], {"role": "system", "content": "a"}])
    assert key(plain) != key([*plain, *conversation("q", "a")])
    # As in the reference, a text that looks like two turns equals the two turns.
    assert key([{"role": "user", "content": "q\nassistant: a"}]) == key(plain)


def test_a_set_of_keys_agrees_with_pythons() -> None:
    rng = np.random.default_rng(0)
    seen, known = Seen(), set()
    for size in (0, 1, 700, 3, 2000, 1, 1, 500, 4096, 0, 60):
        # Numbers up to 3,000 recur; the hashes with zero bytes at the end are the hard ones.
        batch = [int(n).to_bytes(2, "big") + bytes(14) for n in rng.integers(0, 3000, size)]
        expected = []
        for one in batch:
            expected.append(one not in known)
            known.add(one)
        assert seen.add(as_array(batch)).tolist() == expected
    assert len(seen) == len(known)


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("after", [0, 1, 25, 30, 31, 59, 60, 99])
def test_a_build_that_was_stopped_anywhere_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    put(tmp_path, "a", *[n % 41 for n in range(70)])
    put(tmp_path, "b", *range(35, 75))
    sizes = {"shard_rows": 10, "local": tmp_path, "progress": False}
    monkeypatch.setattr(build_module, "GROUP_ROWS", 4)
    whole = build(recipe(a=41, b=34), tmp_path / "whole", **sizes)
    real = build_module.records
    left = [after]

    def stopping(path: Path) -> Iterator[dict[str, Any]]:
        for record in real(path):
            if left[0] == 0:
                raise Stop
            left[0] -= 1
            yield record

    monkeypatch.setattr(build_module, "records", stopping)
    with pytest.raises(Stop):
        build(recipe(a=41, b=34), tmp_path / "out", **sizes)
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.json")}
    left[0] = -1
    assert build(recipe(a=41, b=34), tmp_path / "out", **sizes) == whole
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for path, moment in finished.items():  # what was finished was not written again
        assert path.stat().st_mtime_ns == moment
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_changed_source_is_built_anew_with_all_that_follow(tmp_path: Path) -> None:
    put(tmp_path, "a", 1, 2)
    put(tmp_path, "b", 2, 3)
    put(tmp_path, "c", 9)
    own = recipe(a=2, b=1, c=1)
    build(own, tmp_path / "out", local=tmp_path, progress=False)
    put(tmp_path, "b", 1, 9)
    build(own, tmp_path / "out", local=tmp_path, progress=False)
    assert read(tmp_path / "out") == {"a_0": "1:", "a_1": "2:", "b_1": "9:"}


def test_a_shard_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    put(tmp_path, "a", *range(50))
    own, out = recipe(a=50), tmp_path / "out"
    build(own, out, local=tmp_path, shard_rows=20, progress=False)
    before = contents(out)
    path = out / "a" / "00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    build(own, out, local=tmp_path, shard_rows=20, progress=False)
    assert contents(out) == before


def test_records_of_another_form_are_counted_with_their_reason(tmp_path: Path) -> None:
    records = [*flan(1), {"input": "x"}, {"inputs": "half \ud83d", "targets": "y"}, *flan(2)]
    write(tmp_path / "owner" / "a" / "data.jsonl", records)
    (one,) = build(recipe(a=2), tmp_path / "out", local=tmp_path, progress=False)
    assert (one.counts.rows, one.counts.rejected, one.counts.records) == (2, 2, 4)
    assert one.counts.reasons[0].startswith(
        "record 2: the field inputs is no text; there are input"
    )
    assert "surrogates" in one.counts.reasons[1]


def test_the_command_compares_counts_and_says_why_they_may_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = write_hub(tmp_path / "hub")
    words = ["build", "tulu2_unfiltered", "--from", str(hub), "--out", str(tmp_path / "out")]
    only = [*words, "--sources", "hard_coded,open_orca"]
    assert main(only) == 1
    shown = capsys.readouterr()
    assert "open_orca: 4,111,856 rows fewer than the paper's 4,111,858 (the reference" in shown.err
    assert "hard_coded: 12 rows fewer than the paper's 14" in shown.err
    table = [line.split() for line in shown.out.splitlines()]
    assert ["hard_coded", "2", "0", "0", "2", "14", "-12"] in table
    assert main([*only, "--allow-count-differences"]) == 0
    assert main([*only, "--limit", "1"]) == 0
    assert "not compared" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["limit"] == 1
    assert manifest["sources"]["open_orca"]["rows"] == 1


def test_mistakes_are_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = write_hub(tmp_path / "hub")
    out = tmp_path / "out"
    (hub / "GAIR/lima/train.jsonl").unlink()
    base = ["build", "tulu2_unfiltered", "--from", str(hub), "--out", str(out)]
    assert main(base) == 2
    assert "has no train.jsonl (of GAIR/lima)" in capsys.readouterr().err
    assert not list(out.rglob("*.parquet"))
    assert main([*base, "--sources", "lime"]) == 2
    assert "no source lime. There are: flan_v2, cot" in capsys.readouterr().err
    assert main(["build", "tulu9", "--out", str(out)]) == 2
    assert "There are: tulu2_unfiltered, tulu3_unfiltered" in capsys.readouterr().err
    (out / "older_source").mkdir()
    assert main([*base, "--sources", "dolly"]) == 2
    assert "holds older_source besides" in capsys.readouterr().err


def test_without_a_network_a_gated_source_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"GAIR/lima could not be had.*accept its terms.*--from"):
        build(read_recipe("tulu2_unfiltered"), tmp_path, only=["lima"], progress=False)


def test_a_built_pool_is_used_like_any_other(tmp_path: Path) -> None:
    hub = write_hub(tmp_path / "hub")
    built = build(read_recipe("tulu2_unfiltered"), tmp_path / "out", local=hub, progress=False)
    config = PoolConfig(name="tulu2_unfiltered", path=str(tmp_path / "out"), format="parquet")
    pool = prepare(config, Store(tmp_path / "store"), progress=False)
    assert pool.rejected == 0
    assert pool.count_sources() == {one.name: one.counts.rows for one in built if one.counts.rows}


@pytest.mark.parametrize("name", ["tulu2_unfiltered", "tulu3_unfiltered"])
def test_the_pools_configuration_composes(name: str) -> None:
    assert check([f"pool={name}", "method=random"]).until == "record"


def test_a_pool_that_was_not_built_says_how(tmp_path: Path) -> None:
    config = PoolConfig(name="tulu2_unfiltered", path=str(tmp_path / "none"), format="parquet")
    with pytest.raises(PoolError, match=r"python -m harness\.pool build tulu2_unfiltered"):
        config.check()
