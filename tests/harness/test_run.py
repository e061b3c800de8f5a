"""Whole runs on the embedded world: done once, continued, failed in the open."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.record import read_record

ROOT = Path(__file__).parents[2]
# What may differ between two goes at the same work: times, and a commit made in between.
TIMES = {"seconds", "peak_memory_mb", "git_commit"}
SMALL = [
    "suite.limit=4", "pool.size=300", "budget=16", "recipe.epochs=1", "progress=false",
    "features.rows_per_range=64",
]  # fmt: skip


def command(folder: Path, *words: str) -> list[str]:
    plain = [*SMALL, f"out={folder / 'out'}", f"store={folder / 'store'}"]
    given = {word.partition("=")[0] for word in words}
    plain = [word for word in plain if word.partition("=")[0] not in given]
    return [sys.executable, "-m", "harness", *plain, *words]


def harness(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(command(folder, *words), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


def board(folder: Path) -> list[dict[str, str]]:
    """runs.csv without times; paths and the order of columns stay."""
    with (folder / "out" / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return [
        {key: value for key, value in row.items() if not any(time in key for time in TIMES)}
        for row in rows
    ]


def items(folder: Path) -> dict[str, bytes]:
    """Every per-item file and selection of the runs."""
    root = folder / "out" / "runs"
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with a cell that cannot work (the pool is smaller), and two methods that can."""
    folder = tmp_path_factory.mktemp("sweep")
    words = ["-m", "method=base_model,random,rds_plus", "pool.size=300,999999"]
    text = harness(folder, *words, code=1)
    assert "pool.size=999999" in text
    return folder


def test_a_sweep_leaves_records_tables_plots_and_a_page(done: Path) -> None:
    out = done / "out"
    for name in ("runs.csv", "leaderboard.csv", "report.html"):
        assert (out / name).stat().st_size > 0
    assert list((out / "plots").glob("*.png")) and list((out / "plots").glob("*.svg"))
    with (out / "runs.csv").open() as stream:
        header = next(csv.reader(stream))
    assert " ".join(header[:27]) == (
        "run_id status method pool pool_size budget target model selector_model recipe seed mmlu "
        "gsm8k bbh tydiqa codex squad alpaca_eval mean flops_select flops_train flops_total "
        "flops_paper tokens_train seconds peak_memory_mb error"
    )


def test_a_failed_cell_is_a_row_and_the_others_go_on(done: Path) -> None:
    rows = board(done)
    assert [row["status"] for row in rows].count("done") == 3
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 3
    assert all("the pool has" in row["error"] for row in failed)


def test_a_record_says_all_that_went_into_a_run(done: Path) -> None:
    (path,) = (done / "out" / "records").glob("rds_plus-p300*.json")
    record = read_record(path)
    assert record.status == "done" and len(record.scores) == 7
    assert record.selection.rows == 16 == sum(record.selection.sources.values())
    assert record.training.rows == 16 and record.training.label_tokens > 0
    stages = [entry.stage for entry in record.ledger]
    assert sorted(stages) == sorted(["score", "queries", "order", "train", "evaluate"])
    assert all(entry.flops > 0 and entry.seconds > 0 for entry in record.ledger)
    assert all((entry.tokens > 0) == (entry.stage != "order") for entry in record.ledger)
    assert record.flops_total == record.flops_select + record.flops_train
    assert record.versions["torch"] and record.digests["pool"] and record.chat_template_hash
    for score in record.scores.values():
        assert score.n > 0 and 0 <= score.score <= 100
        assert (done / "out" / str(score.items)).is_file()


def test_the_base_model_is_one_run_whatever_the_pool(done: Path) -> None:
    (path,) = [
        p for p in (done / "out" / "records").glob("base_model*.json")
        if read_record(p).status == "done"
    ]  # fmt: skip
    record = read_record(path)
    assert (record.budget, record.pool_size, record.flops_total) == (0, 0, 0)
    assert record.floor


def test_doing_it_again_finds_everything_and_changes_nothing(done: Path) -> None:
    before = {p.name: p.read_bytes() for p in (done / "out" / "records").glob("*p300*.json")}
    text = harness(done, "-m", "method=random,rds_plus")
    assert text.count("done already") == 2
    after = {p.name: p.read_bytes() for p in (done / "out" / "records").glob("*p300*.json")}
    assert before == after


def test_another_report_is_made_of_the_same_runs(done: Path) -> None:
    before = {p.name: p.read_bytes() for p in (done / "out" / "records").glob("*p300*.json")}
    names = {p.name for p in (done / "out" / "records").iterdir()}
    words = ["report.reference=rds_plus", "report.compare=table_9", "report.refresh=0"]
    text = harness(done, "-m", "method=random,rds_plus", *words)
    assert text.count("done already") == 2 and "not told from rds_plus" in text
    assert (done / "out" / "compared" / "table_9.csv").is_file()  # though no record asks for it
    with (done / "out" / "leaderboard.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["pool_size"] == "300"]
    held = {row["method"]: row["reference"] for row in rows}
    assert held["random"] == "rds_plus > multi_task" and held["rds_plus"] == ""
    # What failed before it had a name keeps the one of its settings.
    harness(done, "method=random", "pool.size=999999", *words, code=1)
    after = {p.name: p.read_bytes() for p in (done / "out" / "records").glob("*p300*.json")}
    assert before == after and names == {p.name for p in (done / "out" / "records").iterdir()}
    text = harness(done, "method=random", "report.reference=nosuch")
    assert "Nothing is held against nosuch: there is no such method here" in " ".join(text.split())


def test_lost_records_come_back_from_the_store_without_computing(done: Path) -> None:
    before = board(done)
    for path in (done / "out" / "records").glob("rds_plus-p300*.json"):
        path.unlink()
    harness(done, "method=rds_plus")
    assert board(done) == before
    (path,) = (done / "out" / "records").glob("rds_plus-p300*.json")
    # The run itself had paid for all of it, so the bill is the same; only the time is not.
    assert not any(entry["reused"] for entry in json.loads(path.read_text())["ledger"])


def test_another_sweep_takes_from_the_store_and_says_so(done: Path, tmp_path: Path) -> None:
    harness(tmp_path, "method=rds_plus", f"store={done / 'store'}")
    (path,) = (tmp_path / "out" / "records").glob("*.json")
    record = read_record(path)
    assert record.flops_total > 0 and all(entry.reused for entry in record.ledger)


def test_stages_can_be_run_alone(tmp_path: Path, done: Path) -> None:
    for stage in ("pool", "order", "train"):
        text = harness(tmp_path, "method=random", f"until={stage}")
        assert str(tmp_path / "store") in text
    assert not (tmp_path / "out" / "records").exists()


def test_a_selection_can_be_had_without_a_training(tmp_path: Path, done: Path) -> None:
    text = harness(tmp_path, "method=balanced", "budget=16", "until=order")
    (path,) = (tmp_path / "out").glob("runs/*/selection.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["rank"] for row in rows] == list(range(16)) and str(path) in text
    for source, count in Counter(row["dataset"] for row in rows).items():
        assert f"{source} {count}" in text.split("selected: ")[1]
    assert not (tmp_path / "store" / "model").exists()
    assert "base_model selects nothing" in harness(tmp_path, "method=base_model", "until=order")


SWEEP = ["-m", "method=base_model,random,rds_plus,top_ppl", "budget=16,32"]


def kill_and_continue(folder: Path, moments: list[float]) -> int:
    """Start the sweep, kill it after so many seconds, again and again; then let it finish."""
    kills = 0
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for moment in moments:
        job = subprocess.Popen(
            command(folder, *SWEEP), cwd=ROOT, env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moment)
        if job.poll() is None:
            os.kill(job.pid, signal.SIGKILL)
            kills += 1
        job.wait()
    harness(folder, *SWEEP)
    return kills


@pytest.mark.slow
def test_a_sweep_killed_at_ten_moments_ends_with_the_same_board(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    start = time.monotonic()
    harness(whole, *SWEEP)
    length = time.monotonic() - start
    # Each go starts where the last was stopped, so the moments cover all stages.
    kills = kill_and_continue(killed, [4 + (length / 8) * (i % 4) / 3 for i in range(10)])
    assert kills >= 5
    assert board(killed) == board(whole)
    assert items(killed) == items(whole)
    assert not list((killed / "store").glob("*/*.part"))
