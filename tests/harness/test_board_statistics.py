"""What the board says of chance: from records and item files on disk to CSV and tables."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest

from evaluation.statistics import mean_and_error
from harness.board import read_board
from harness.record import Record, Score, StageCost, write_record
from harness.report.paper_table import latex, markdown
from harness.statistics import items as item_files
from harness.statistics.columns import BENCHMARK_COLUMNS, MEAN_COLUMNS

SHARED = np.random.default_rng(0).normal(0, 1, (2, 60))  # how hard the items of each benchmark are


def run(folder, method, seed=0, skill=0.0, cost=1e12, with_items=True, **changes) -> Record:
    """A run on two benchmarks of 60 items, in ten groups in the first."""
    random = np.random.default_rng([seed, *map(ord, method)])
    name = f"{method}-{changes.get('pool_size', 100)}-{changes.get('budget', 10)}-s{seed}"
    scores = {}
    for at, benchmark in enumerate(("mmlu", "gsm8k")):
        values = (SHARED[at] + random.normal(skill, 0.3, 60) > 0).astype(float).tolist()
        groups = [f"g{n % 10}" if at == 0 else "" for n in range(60)]
        mean, error = mean_and_error(values, groups, "items")
        path = f"runs/{name}/items/{benchmark}.jsonl.gz"
        scores[benchmark] = Score(score=mean, stderr=error, n=60, metric="em", items=path)
        if with_items:
            rows = [
                {"item_id": str(n), "subject": g, "prompt_hash": "0", "outputs": [""],
                 "target": "", "score": v}
                for n, (v, g) in enumerate(zip(values, groups, strict=True))
            ]  # fmt: skip
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / path).write_bytes(gzip.compress(text.encode(), mtime=0))
    cell = {
        "run_id": name, "status": "done", "pool": "p", "pool_size": 100, "budget": 10,
        "target": "any", "model": "m", "selector_model": "none", "recipe": "r", "suite": "s",
        "judge": "j", "scores": scores, "ledger": [StageCost(stage="train", flops=cost)],
    }  # fmt: skip
    record = Record(**{"method": method, "seed": seed, **cell, **changes})
    write_record(record, folder / "records")
    return record


def sweep(folder, **changes):
    for seed in range(3):
        run(folder, "random", seed, 0.0, 1e12, **changes)
        run(folder, "good", seed, 1.0, 2e12, **changes)
        run(folder, "same", seed, 0.02, 3e12, **changes)
    return folder


def rows_of(board):
    return board.leaderboard.set_index("method")


def test_a_difference_and_a_tie(tmp_path):
    board = read_board([sweep(tmp_path)])
    rows = rows_of(board)
    good, same, random = rows.loc["good"], rows.loc["same"], rows.loc["random"]
    assert good.difference == pytest.approx(good["mean"] - random["mean"], abs=1e-4)
    assert good.difference_low > 0 and good.p_holm >= good.p and good.tie is False
    assert same.difference_low < 0 < same.difference_high and same.tie is True
    assert good.noise == "items + seeds" and good.reference == "random"
    assert good.mean_low < good["mean"] < good.mean_high
    assert random[["difference", "p", "tie"]].isna().all()
    assert (good.tied_with_best, random.tied_with_best) == (True, False)
    assert (good.rank_low, good.rank_high, good.mean_rank) == (1, 1, 1)
    # The cheapest is on the frontier for sure, the dearest behind a better one never.
    assert rows.frontier_probability.to_dict() == {"random": 1, "good": 1, "same": 0}
    assert good.gsm8k_difference == pytest.approx(good.gsm8k - random.gsm8k, abs=1e-4)
    assert not board.statistics.notes and not board.warnings


def test_the_chance_of_the_frontier_goes_by_the_costs_that_are_asked_for(tmp_path):
    """Scores far apart, so that chances are 0 or 1; each way to count has an order of its own."""
    # method: score's skill, then FLOPs to select and to train, measured and by the paper.
    table = {"free": (0, 0, 5, 0, 1), "mid": (1, 2, 1, 9, 1), "best": (3, 2, 9, 3, 1)}
    for method, (skill, select, train, paper_select, paper_train) in table.items():
        ledger = [
            StageCost(stage="score", flops=select, flops_paper=paper_select),
            StageCost(stage="train", flops=train, flops_paper=paper_train),
        ]
        run(tmp_path, method, skill=skill, ledger=ledger)
    run(tmp_path, "unpriced", skill=5, ledger=[])
    run(tmp_path, "floor", skill=9, floor=True)
    rows = rows_of(read_board([tmp_path]))
    wanted = {
        "": {"free": 0, "mid": 1, "best": 1},  # 5, 3, 11: the free one is dearer than mid
        "_select": {"free": 1, "mid": 0, "best": 1},  # 0, 2, 2
        "_paper": {"free": 1, "mid": 0, "best": 1},  # 1, 10, 4
        "_paper_select": {"free": 1, "mid": 0, "best": 1},  # 0, 9, 3
    }
    for kind, chances in wanted.items():
        assert rows[f"frontier_probability{kind}"].dropna().to_dict() == chances, kind
    assert rows.flops_paper_select[list(table)].to_list() == [0, 9, 3]


def test_the_reference_is_a_choice(tmp_path):
    rows = rows_of(read_board([sweep(tmp_path)], "good"))
    assert rows.loc["random", "difference_high"] < 0 and rows.loc["random", "reference"] == "good"
    none = read_board([tmp_path], "nobody").leaderboard
    assert none.difference.isna().all() and none.mean_rank.notna().all()


def note(folder, reference):
    return " ".join(read_board([folder], reference).statistics.notes)


def test_a_reference_that_is_not_there_is_said_with_what_is(tmp_path):
    sweep(tmp_path)
    run(tmp_path, "all_rows", 0, 0.5, 9e12, floor=True)
    run(tmp_path, "broken", 0, 0.0, 1e12, status="failed", scores={})
    assert "no such method here" in note(tmp_path, "goood")
    assert "nearest: good; there are good, random, same." in note(tmp_path, "goood")
    assert "it is a floor or a ceiling" in note(tmp_path, "all_rows")
    assert "it has no finished run" in note(tmp_path, "broken")
    assert note(tmp_path, "good") == ""
    run(tmp_path, "good", 0, 1.0, 2e12, budget=20)
    assert note(tmp_path, "random") == ""  # a method alone has nobody to be held against
    assert "1 of 2 settings have no finished run of same" in note(tmp_path, "same")  # but asked for
    run(tmp_path, "same", 0, 0.0, 2e12, budget=20)
    assert "1 of 2 settings have no finished run of random" in note(tmp_path, "random")


def test_the_records_say_what_is_held_against_what(tmp_path):
    """Most of them, so that runs of before keep no other reference up."""
    run(tmp_path, "good", 0, 1.0, 2e12)  # an earlier record says nothing
    assert read_board([tmp_path]).statistics.reference == "random"
    for seed, asked in enumerate(
        ({"reference": "same"}, {"reference": "good"}, {}, "no such form")
    ):
        run(tmp_path, "same", seed, 1.0, 2e12, config={"report": asked})
    assert read_board([tmp_path]).statistics.reference == "good"  # one each: the first by name
    run(tmp_path, "random", 0, 1.0, 2e12, config={"report": {"reference": "same"}})
    assert read_board([tmp_path]).statistics.reference == "same"
    assert read_board([tmp_path], "random").statistics.reference == "random"


def test_identical_runs_differ_by_nothing(tmp_path):
    for seed in range(3):
        record = run(tmp_path, "random", seed)
        twin = record.model_copy(update={"method": "twin", "run_id": f"twin{seed}"})
        write_record(twin, tmp_path / "records")
    row = rows_of(read_board([tmp_path])).loc["twin"]
    assert tuple(row[["difference", "difference_low", "difference_high", "p", "p_holm"]]) == (
        0, 0, 0, 1, 1,
    )  # fmt: skip
    assert row.tie is True and row.minimum_detectable == 0


def test_without_item_files_it_says_so(tmp_path):
    board = read_board([sweep(tmp_path, with_items=False)])
    good = rows_of(board).loc["good"]
    assert good.noise == "standard errors + seeds" and good.difference_low < good.difference
    assert "3 of 3 cells have no usable per-item results" in " ".join(board.statistics.notes)
    assert "18 per-item files cannot be used" in " ".join(board.statistics.notes)
    paired = rows_of(read_board([sweep(tmp_path / "with")])).loc["good"]
    assert paired.minimum_detectable < good.minimum_detectable  # pairing sees more


def test_an_item_file_outside_the_sweep_is_not_read(tmp_path):
    sweep(tmp_path / "a")
    path = tmp_path / "a" / "records" / "good-100-10-s0.json"
    path.write_text(path.read_text().replace("runs/good-100-10-s0", "../b/runs/good"))
    board = read_board([tmp_path / "a"])
    assert any("is no path inside" in note for note in board.statistics.notes)


def test_one_seed_knows_of_items_alone(tmp_path):
    run(tmp_path, "random")
    run(tmp_path, "good", skill=1.0)
    run(tmp_path, "good", 1, skill=1.0)
    assert rows_of(read_board([tmp_path])).loc["good", "noise"] == "items + seeds of one"


def test_a_method_is_held_against_its_own_contest(tmp_path):
    for budget, skill in ((10, 0.0), (20, 2.0)):
        run(tmp_path, "random", skill=skill, budget=budget)
        run(tmp_path, "good", skill=skill, budget=budget)
    board = read_board([tmp_path])
    rows = board.leaderboard[board.leaderboard.method == "good"]
    assert (rows.difference.abs() < 15).all()
    (decision,) = board.statistics.decisions
    assert (decision["by"], decision["small"], decision["large"]) == ("budget", 10, 20)
    assert (decision["methods"], decision["pairs"], decision["at_pool_size"]) == (2, 1, 100)
    assert board.write(tmp_path / "out")["decisions"].read_text().count("\n") == 2


def test_same_records_same_bytes_with_and_without_the_cache(tmp_path, monkeypatch):
    folder = sweep(tmp_path / "a")
    first = read_board([folder]).write(tmp_path / "x")["leaderboard"].read_bytes()
    assert not (folder / item_files.CACHE).exists()  # a few hundred items are read faster
    monkeypatch.setattr(item_files, "CACHE_FROM", 1)
    read_board([folder])
    assert (folder / item_files.CACHE).is_file()
    monkeypatch.setattr(item_files, "read_item_scores", None)  # nothing is read again
    again = read_board([folder]).write(tmp_path / "y")["leaderboard"].read_bytes()
    assert first == again


def test_a_changed_file_is_read_again_and_a_broken_cache_is_no_harm(tmp_path, monkeypatch):
    folder = sweep(tmp_path)
    monkeypatch.setattr(item_files, "CACHE_FROM", 1)
    read_board([folder])
    path = folder / "runs/good-100-10-s0/items/gsm8k.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}"))
    assert any("cannot be used" in note for note in read_board([folder]).statistics.notes)
    (folder / item_files.CACHE).write_bytes(b"PK\x03\x04 nonsense")
    assert rows_of(read_board([folder])).loc["same", "noise"] == "items + seeds"


def test_items_without_a_verdict_are_left_out(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    rows = [{"item_id": str(n), "subject": "", "score": s} for n, s in enumerate([1, None, 0.5])]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert item_files.read_item_scores(path).values.tolist() == [1, 0.5]


def test_the_columns_are_there_and_in_one_form(tmp_path):
    board = read_board([sweep(tmp_path)])
    text = board.write(tmp_path / "out")["leaderboard"].read_text()
    head, *lines = text.splitlines()
    names = head.split(",")
    assert set(MEAN_COLUMNS) <= set(names) and len(set(names)) == len(names)
    assert {f"mmlu_{kind}" for kind in BENCHMARK_COLUMNS} <= set(names)
    good = dict(zip(names, lines[0].split(","), strict=True))
    assert good["tie"] == "False" and good["rank_low"] == "1"
    assert float(good["p"]) == pytest.approx(rows_of(board).loc["good", "p"], rel=1e-3)


def test_the_papers_layout(tmp_path):
    run(tmp_path, "base_model", pool="none", recipe="none", pool_size=0, budget=0, floor=True)
    board = read_board([sweep(tmp_path)])
    text = markdown(board)
    assert "| Method | MMLU | GSM8k | BBH | TydiQA | Codex | Squad | AlpacaEval | Average |" in text
    good = next(line for line in text.splitlines() if line.startswith("| good"))
    same = next(line for line in text.splitlines() if line.startswith("| same"))
    assert "≈" not in good and same.count("≈") == 3  # two benchmarks and the average
    assert re.search(r"\*\*\d+\.\d\*\* \| \+\d+\.\d \[\+\d+\.\d, \+\d+\.\d\] \|$", good)
    assert "found in 80 % of cases" in text and "Intervals know of: items + seeds." in text
    tex = latex(board)
    assert r"\textcolor{gray}" in tex and r"base\_model (floor)" in tex and r"\toprule" in tex
    assert tex.count("{") == tex.count("}") and "≈" not in tex


def test_hostile_names_stay_text(tmp_path):
    run(tmp_path, "random")
    record = run(tmp_path, "evil", skill=1.0)
    name = r"\input{x}$&#|<b>*`_^~"
    write_record(record.model_copy(update={"method": name}), tmp_path / "records")
    board = read_board([tmp_path])
    assert r"\textbackslash{}input\{x\}\$\&\#" in latex(board)
    row = next(line for line in markdown(board).splitlines() if "input" in line)
    assert r"\|\<b\>\*\`\_" in row and re.sub(r"\\.", "", row).count("|") == 11
