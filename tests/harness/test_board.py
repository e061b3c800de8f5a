"""The board against sums done by hand."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import time

import pandas as pd
import pytest

from harness.board import read_board, spending
from harness.board_rows import BENCHMARKS, scored_on
from harness.record import Record, Score, StageCost, write_record
from harness.single_task import SINGLE_TASK

FIRST = [
    *("run_id", "status", "method", "pool", "pool_size", "budget", "target", "model"),
    *("selector_model", "recipe", "seed", "mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad"),
    *("alpaca_eval", "mean", "flops_select", "flops_train", "flops_total", "flops_paper"),
    *("tokens_train", "seconds", "peak_memory_mb", "error"),
]


def record(method="random", seed=0, scores=None, **changes) -> Record:
    scores = {} if scores is None else scores
    cell = {
        "run_id": f"{method}-p100-b10-s{seed}",
        "status": "done",
        "pool": "micro",
        "pool_size": 100,
        "budget": 10,
        "target": "any",
        "model": "micro",
        "selector_model": "none",
        "recipe": "micro",
        "suite": "micro",
        "judge": "rule",
        "scores": {
            name: Score(score=value, stderr=error, n=60, metric="em")
            for name, (value, error) in scores.items()
        },
    }
    return Record(**{"method": method, "seed": seed, **cell, **changes})


def board(folder, *records):
    for item in records:
        write_record(item, folder / "records")
    return read_board([folder])


def test_columns_come_in_the_promised_order(tmp_path):
    found = board(
        tmp_path, record(scores={"gsm8k": (1, None), "zebra": (3, 1), "error": (5, None)})
    )
    columns = list(found.runs.columns)
    assert columns[: len(FIRST)] == FIRST
    assert columns[len(FIRST) :][:7] == [f"{name}_stderr" for name in BENCHMARKS]
    assert columns[len(FIRST) + 7 :][:4] == [
        "error_score",  # a benchmark by that name hides no column
        "error_score_stderr",
        "zebra",
        "zebra_stderr",
    ]
    assert len(columns) == len(set(columns))
    assert found.runs.loc[0, "mean"] == 3


def test_aggregates_by_hand(tmp_path):
    found = board(
        tmp_path,
        record(seed=0, scores={"mmlu": (10, 3), "gsm8k": (30, 4)}),
        record(seed=1, scores={"mmlu": (20, 5), "gsm8k": (50, 12)}),
        record(seed=2, status="failed", error="no memory"),
        record(method="rds_plus", scores={"mmlu": (40, None), "gsm8k": (60, 1)}),
    )
    best, random = (row for _, row in found.leaderboard.iterrows())
    assert (best.method, best["rank"], best.n_seeds, best.n_failed) == ("rds_plus", 1, 1, 0)
    assert (random.method, random["rank"], random.n_seeds, random.n_failed) == ("random", 2, 2, 1)
    assert (random.mmlu, random.gsm8k, random["mean"]) == (15, 40, 27.5)
    assert random.mmlu_sd == pytest.approx(math.sqrt(50))
    assert random.gsm8k_sd == pytest.approx(math.sqrt(200))
    assert random.mean_sd == pytest.approx(math.sqrt(112.5))  # of 20 and 35
    assert random.mmlu_stderr == pytest.approx(math.sqrt((9 + 25) / 2))
    # A run's mean: sqrt(3² + 4²) / 2 = 2.5 and sqrt(5² + 12²) / 2 = 6.5.
    assert random.mean_stderr == pytest.approx(math.sqrt((2.5**2 + 6.5**2) / 2))
    assert pd.isna(best.mmlu_sd) and pd.isna(best.mean_stderr) and best.gsm8k_stderr == 1


def test_order_puts_the_best_first_and_floors_last(tmp_path):
    found = board(
        tmp_path,
        *(
            record(method, scores={"mmlu": (score, None)}, budget=budget, floor=method == "full",
                   run_id=f"{method}{budget}")
            for budget in (10, 5)
            for method, score in (("a", 1), ("b", 2), ("c", 2), ("full", 9))
        ),
        record("d", status="failed"),
    )  # fmt: skip
    rows = [(r.budget, r.method, r["rank"]) for _, r in found.leaderboard.iterrows()]
    assert [row[:2] for row in rows] == [
        *((5, name) for name in ("b", "c", "a", "full")),
        *((10, name) for name in ("b", "c", "a", "d", "full")),
    ]
    assert [row[2] for row in rows[:3]] == [1, 2, 3]
    assert pd.isna(rows[3][2])


def test_failures_and_damaged_records_are_rows(tmp_path):
    write_record(record(), tmp_path / "records")
    (tmp_path / "records" / "torn.json").write_text('{"schema_version": 1, "run')
    (tmp_path / "records" / "newer.json").write_text('{"schema_version": 7}')
    (tmp_path / "records" / "folder.json").mkdir()
    found = board(tmp_path, record("rds_plus", status="failed", error="line one\nline two"))
    failures = found.failures.set_index("run_id")
    assert failures.loc["rds_plus-p100-b10-s0", "error"] == "line one line two"
    assert set(failures.status) == {"failed", "unreadable"}
    assert "schema_version 7" in failures.loc["newer", "error"]
    assert "torn.json" in failures.loc["torn", "error"]
    assert "directory" in failures.loc["folder", "error"]
    assert len(found.runs) == 5 and len(found.leaderboard) == 2
    lines = (found.write(tmp_path)["runs"]).read_text().splitlines()
    assert len(lines) == 6


def test_numbers_are_written_in_one_form(tmp_path):
    ledger = [
        StageCost(stage="score", flops=123_456_789_012_345.0, seconds=1.23456, tokens=5),
        StageCost(stage="train", flops=1e13, flops_paper=2e13, tokens=12, seconds=2),
    ]
    found = board(
        tmp_path,
        record(scores={"mmlu": (100 / 3, 1)}, ledger=ledger, seconds=4, peak_memory_mb=812.345),
        record("odd", scores={"mmlu": (12345, None)}, seed=2**60),
    )
    odd = tmp_path / "records" / f"odd-p100-b10-s{2**60}.json"
    odd.write_text(odd.read_text().replace("12345.0", "NaN"))
    (tmp_path / "records" / "torn.json").write_text("{")
    found = read_board([tmp_path])
    text = found.write(tmp_path)["runs"].read_text()
    rows = {one["run_id"]: one for one in csv.DictReader(text.splitlines())}
    row = next(one for one in rows.values() if one["status"] == "done")
    torn = rows["torn"]
    odd = next(one for name, one in rows.items() if name.startswith("odd"))
    assert (row["mmlu"], row["mean"], row["gsm8k"]) == ("33.3333", "33.3333", "")
    assert row["flops_select"] == "1.23457e+14" and row["flops_paper"] == "2e+13"
    assert (row["tokens_train"], row["seconds"], row["pool_size"]) == ("12", "4.000", "100")
    assert (row["peak_memory_mb"], row["seconds_select"]) == ("812.3", "1.235")
    assert (odd["status"], odd["mean"]) == ("unreadable", "") and "finite" in odd["error"]
    assert (torn["run_id"], torn["status"], torn["method"]) == ("torn", "unreadable", "")


def test_two_builds_give_the_same_bytes(tmp_path):
    runs = [record(m, s, {"mmlu": (s + 1 / 3, 1)}) for m in "ba" for s in (1, 0)]
    first = board(tmp_path / "one", *runs).write(tmp_path / "x")
    second = board(tmp_path / "two", *reversed(runs)).write(tmp_path / "y")
    for name in ("runs", "leaderboard"):
        assert first[name].read_bytes() == second[name].read_bytes()


def test_what_was_really_spent(tmp_path):
    passes = [{"stage": "score", "flops": 100.0, "seconds": 10.0, "tokens": 7}]
    train = [{"stage": "train", "flops": 5.0, "seconds": 1.0}]
    table = spending(
        [
            record(ledger=[*passes, *train]),
            record(seed=1, ledger=[{**passes[0], "reused": True}, *train]),
        ]
    )
    assert tuple(table.loc["score", ["flops", "flops_spent", "tokens_spent"]]) == (200, 100, 7)
    assert tuple(table.loc["total", ["flops", "flops_spent", "seconds_spent"]]) == (210, 110, 12)


def test_one_run_in_two_folders_counts_once(tmp_path):
    scores = {"mmlu": (10, 1)}
    write_record(record(status="failed"), tmp_path / "a" / "records")
    found = board(tmp_path, record(scores=scores))
    assert list(found.runs.status) == ["done"]
    assert "taken once" in found.warnings[0]


def test_averages_over_unlike_data_are_pointed_out(tmp_path):
    runs = [record(seed=seed, digests={"pool": f"v{seed}"}) for seed in (0, 1)]
    assert "pool differs" in board(tmp_path, *runs).warnings[0]


THREE = ("mmlu", "gsm8k", "bbh")


def single(task, seed=0, scores=None, method="rds_plus", part=True, **changes) -> Record:
    """A run made for one benchmark, scored on it alone (``part``) or on a suite of three."""
    scores = scores or {task: (50.0, 3.0)}
    config = {
        "evaluate": "target" if part else "suite",
        "target": {"name": task, "tasks": [task]},
        "suite": {"benchmarks": {name: {} for name in THREE}},
    }
    name = f"{method}-{task}-s{seed}-{part}"
    fixed = {"target": task, "selector_model": "micro", "run_id": name, "config": config}
    return record(method, seed, scores, **{**fixed, **changes})


def row_of(found, target, method="rds_plus"):
    table = found.leaderboard
    rows = table[(table.method == method) & (table.target == target)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_single_task_row_takes_each_score_from_the_run_made_for_it(tmp_path):
    def ledger(select, train):
        return [
            {"stage": "score", "flops": select, "flops_paper": 2 * select},
            {"stage": "train", "flops": train, "tokens": 30},
        ]

    found = board(
        tmp_path,
        single("mmlu", 0, {"mmlu": (40, 3), "gsm8k": (1, 1), "bbh": (1, 1)}, part=False,
               ledger=ledger(10, 2), seconds=9),
        single("gsm8k", 0, {"gsm8k": (20, 4)}, ledger=ledger(10, 5), seconds=3),
        single("bbh", 0, {"bbh": (30, 12)}, ledger=ledger(40, 5), seconds=3),
        single("mmlu", 1, {"mmlu": (50, 3)}),
        single("gsm8k", 1, {"gsm8k": (40, 4)}),
        single("bbh", 1, {"bbh": (60, 12)}),
    )  # fmt: skip
    row = row_of(found, SINGLE_TASK)
    assert (row.mmlu, row.gsm8k, row.bbh) == (45, 30, 45)
    assert (row["mean"], row.n_seeds, row["rank"], row.scored) == (40, 2, 1, "suite")
    assert row.mean_sd == pytest.approx(math.sqrt(200))  # of 30 and 50
    assert row.mean_stderr == pytest.approx(13 / 3)  # sqrt(3² + 4² + 12²) / 3, twice
    assert row.gsm8k_stderr == 4 and not found.warnings
    # Seed 0's costs: the mean of one model's; seed 1 cost nothing.
    assert (row.flops_select, row.flops_train, row.flops_paper) == (10, 2, 20)
    assert (row.flops_total, row.seconds) == (12, 2.5)
    assert set(found.leaderboard[found.leaderboard.part_of == SINGLE_TASK].target) == set(THREE)


def test_an_incomplete_set_is_no_row_and_says_what_is_missing(tmp_path):
    found = board(
        tmp_path,
        *(single(task, seed) for task in THREE for seed in (0, 1) if (task, seed) != ("bbh", 1)),
        single("bbh", 1, status="failed", scores={}, error="no memory"),
    )
    row = row_of(found, SINGLE_TASK)
    assert row.n_seeds == 1
    (warning,) = found.warnings
    assert "seed 1: no finished run for bbh." in warning and "rds_plus" in warning
    other = board(tmp_path / "other", single("mmlu"), single("bbh"))
    assert SINGLE_TASK not in set(other.leaderboard.target) and "gsm8k" in other.warnings[0]
    alone = board(tmp_path / "alone", single("mmlu"))
    assert not alone.warnings  # one benchmark is no attempt at a set


def test_unlike_cells_make_no_set_together(tmp_path):
    found = board(
        tmp_path,
        single("mmlu"), single("gsm8k", budget=99), single("bbh", selector_model="other"),
    )  # fmt: skip
    assert SINGLE_TASK not in set(found.leaderboard.target)


def test_a_run_scored_on_a_part_is_in_no_mean_and_no_ranking(tmp_path):
    whole = single("mmlu", 0, dict.fromkeys(THREE, (60, 1)), part=False)
    part = single("mmlu", 1, {"mmlu": (99, 1)})
    found = board(tmp_path, whole, part, single("gsm8k", 2, status="failed", scores={}))
    assert scored_on(whole) == "suite" and scored_on(part) == "mmlu"
    runs = found.runs.set_index("run_id")
    assert runs.loc[whole.run_id, "mean"] == 60 and pd.isna(runs.loc[part.run_id, "mean"])
    table = found.leaderboard.set_index(["target", "scored"])
    assert table.loc[("mmlu", "suite"), "mean"] == 60 and table.loc[("mmlu", "suite"), "rank"] == 1
    assert pd.isna(table.loc[("mmlu", "mmlu"), "mean"])
    assert pd.isna(table.loc[("mmlu", "mmlu"), "rank"])
    assert table.loc[("mmlu", "mmlu"), "mmlu"] == 99
    assert table.loc[("gsm8k", "gsm8k"), "n_failed"] == 1  # what it would have been scored on


def test_methods_without_queries_compete_with_both_kinds_of_targets(tmp_path):
    scores = dict.fromkeys(THREE, (30, 1))
    found = board(
        tmp_path,
        record("random", scores=scores),
        record("top_ppl", scores=dict.fromkeys(THREE, (55, 1))),
        record("rds_plus", scores=dict.fromkeys(THREE, (40, 1)), target="multi_task",
               selector_model="micro"),
        *(single(task) for task in THREE),
    )  # fmt: skip
    ranked = found.leaderboard[found.leaderboard["rank"].notna()].sort_values("rank")
    assert list(zip(ranked.method, ranked.target, strict=True)) == [
        ("top_ppl", "any"),
        ("rds_plus", SINGLE_TASK),
        ("rds_plus", "multi_task"),
        ("random", "any"),
    ]
    assert list(ranked["rank"]) == [1, 2, 3, 4]


def test_suites_that_differ_are_pointed_out(tmp_path):
    found = board(
        tmp_path,
        record("random", scores={"mmlu": (1, 1), "bbh": (1, 1)}),
        record("length", scores={"mmlu": (1, 1)}),
    )
    assert "not all runs have bbh" in found.warnings[0]


def test_no_records_at_all(tmp_path):
    found = read_board([tmp_path])
    assert found.runs.empty and found.leaderboard.empty and found.failures.empty
    assert spending([]).loc["total", "flops"] == 0
    found.write(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_board([tmp_path / "nowhere"])


def test_a_thousand_records_take_a_second_or_two(tmp_path):
    scores = {name: (50.0, 1.0) for name in BENCHMARKS}
    ledger = [StageCost(stage=s, flops=1e12) for s in ("score", "queries", "train", "evaluate")]
    for seed in range(1000):
        run = record(seed=seed, scores=scores, ledger=ledger, config={"a": {"b": [1] * 50}})
        (tmp_path / "records").mkdir(exist_ok=True)
        (tmp_path / "records" / f"{seed}.json").write_text(run.model_dump_json())
    start = time.process_time()
    read_board([tmp_path]).write(tmp_path)
    assert time.process_time() - start < 3


def test_importing_costs_no_torch():
    code = (
        "import sys, harness.board, harness.report; "
        "sys.exit(bool({'torch', 'transformers', 'matplotlib'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
