"""Notebooks read records and compute nothing: run on a real small sweep and on made-up ones."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from harness.board_rows import BENCHMARKS
from harness.record import Record, Score, Selection, StageCost, read_record, write_record

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def execute(name: str, **environment: str) -> str:
    """Run a notebook as it lies there and return the text of all outputs, (picture) for one."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    wide = "import pandas; pandas.set_option('display.width', 400)"  # a table row, a line of text
    notebook.cells.insert(0, nbformat.v4.new_code_cell(wide))
    kernel = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    client = NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": ROOT / "notebooks"}}
    )
    client.execute(env=kernel)
    return "\n".join(
        part
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for part in (output.get("text", ""), output.get("data", {}).get("text/markdown", ""),
                     output.get("data", {}).get("text/plain", ""),
                     "(picture)" if "image/png" in output.get("data", {}) else "")
    )  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_with_their_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs and not any(output.output_type == "error" for output in outputs)
    assert "no evidence" in notebook.cells[0].source  # the kept figures are the embedded scale's
    assert not re.search(r"/(root|home|work|tmp)/", path.read_text())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's command as it is written, made small by words at its end."""
    folder = tmp_path_factory.mktemp("own")
    text = (ROOT / "examples" / "own_method" / "README.md").read_text()
    (block,) = [part for part in text.split("```") if "python -m harness" in part]
    command = block[block.index("PYTHONPATH") :].replace("\\\n", " ").split()
    assignment, python, *words = command
    assert python == ".venv/bin/python" and assignment == "PYTHONPATH=examples/own_method"
    small = {
        "pool.size": "500", "budget": "16", "seed": "0", "method": "random,trigrams",
        "suite.limit": "5", "recipe.epochs": "1", "progress": "false",
        "out": str(folder / "out"), "store": str(folder / "store"),
    }  # fmt: skip
    words = [word for word in words if word.partition("=")[0] not in small]
    words += [f"{key}={value}" for key, value in small.items()]
    environment = {**os.environ, "PYTHONPATH": "examples/own_method"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


def test_a_method_from_a_users_own_package_runs_like_any_other(own: Path) -> None:
    (path,) = (own / "records").glob("trigrams*.json")
    record = read_record(path)
    assert (record.status, record.method, record.target) == ("done", "trigrams", "multi_task")
    assert record.selection.rows == 16 and len(record.scores) == 7
    assert record.flops_select == record.cost("order") > 0  # no model runs: products alone
    assert record.cost("score", column="seconds") > 0
    assert record.config["method"]["_target_"] == "my_methods.trigrams.Trigrams"


def test_the_notebook_reads_a_users_own_records(own: Path) -> None:
    text = execute("your_own_method", WINNOW_OWN_METHOD=str(own))
    assert "2 runs, 0 not done" in text and "trigrams" in text and "flops_select" in text
    assert "difference_low" in text


def test_trigrams_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_method"))
    from my_methods.trigrams import Trigrams

    method = Trigrams(name="trigrams", width=4096)
    same, other, half, none = method.count(["Park  park", "park park", "park", "xy"])
    assert (same == other).all()  # case and white space do not count
    assert same.astype(float) @ same == pytest.approx(1, abs=1e-3)
    # "park park": par ark "rk " "k p" " pa" par ark, so counts 2, 2, 1, 1, 1; "park": par, ark.
    assert same.astype(float) @ half == pytest.approx(4 / (11 * 2) ** 0.5, abs=2e-3)
    assert not none.any()


def cell(method: str, level: float, table: str, **changes) -> Record:
    fields = {
        "run_id": f"{method}-{level}", "status": "done", "pool": "micro", "pool_size": 100,
        "budget": 10, "target": "multi_task", "model": "micro", "selector_model": "micro",
        "recipe": "micro", "suite": "micro", "judge": "rule", "seed": 0,
        "config": {"compare": [table]},
        "scores": {name: Score(score=level, n=9, metric="em") for name in BENCHMARKS},
    }  # fmt: skip
    return Record(**{"method": method, **fields, **changes})


def test_the_ablations_notebook_shows_the_four_tables(tmp_path: Path) -> None:
    single = {"target": "single_task"}
    made_up = {
        "pooling": [cell("rds_plus", 40, "table_9", **single),
                    cell("rds_plus[pooling=eos]", 31, "table_9", **single)],
        "span": [cell("rds_plus[span=label]", 35, "table_9", **single)],
        "selector": [cell("rds_plus", 40, "table_7"),
                     cell("rds_plus[selector=mean_max]", 22, "table_7")],
        "proxy": [cell("rds_plus", 12, "table_8", selector_model="micro_proxy")],
    }  # fmt: skip
    for name, records in made_up.items():
        for record in records:
            write_record(record, tmp_path / f"ablation_{name}" / "records")
    text = execute("ablations", WINNOW_OUTPUTS=str(tmp_path))
    assert "| EOS token only (rds_plus[pooling=eos]) | 45.4 | 31.0 |" in text
    assert "| Label only (rds_plus[span=label]) | 45.1 | 35.0 |" in text
    assert re.search(r"rds_plus\[pooling=eos\] +-9\.0", text)  # 31 less 40, by the board
    assert re.search(r"rds_plus\[selector=mean_max\] +-18\.0", text)
    assert "| RDS+ | 50.9 | 40.0 | 47.9 | 22.0 |" in text
    assert "| Qwen2.5-1.5B (micro_proxy) | 56.5 |  | 43.5 | 12.0 |" in text
    assert "not run yet" not in text


ANSWERS = {  # on which of 40 items a method is right, by the seed
    "good": lambda item, seed: item % 4 != 1,
    "random": lambda item, seed: item % 4 == 0 or (item == 1 and seed == 1),
    "mirror": lambda item, seed: item % 4 == 0 or (item == 1 and seed == 1),  # as random
}
SELECT = {"good": 3e9, "random": 0.0, "mirror": 5e9}  # measured FLOPs; by the paper ten times that


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, two seeds, two benchmarks of 40 items, two budgets."""
    folder = tmp_path_factory.mktemp("sweep")
    for method, right in ANSWERS.items():
        for seed, budget in ((seed, budget) for seed in (0, 1) for budget in (10, 20)):
            scores = {}
            for name in ("mmlu", "gsm8k"):
                found = [float(right(item, seed)) for item in range(40)]
                path = folder / "runs" / f"{method}-{budget}-{seed}" / f"{name}.jsonl.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = [
                    {"item_id": f"test/{at}", "subject": "", "prompt_hash": "0", "target": "wanted",
                     "outputs": [f"{method} says {at}"], "score": value}
                    for at, value in enumerate(found)
                ]  # fmt: skip
                path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
                scores[name] = Score(score=100 * sum(found) / 40, stderr=7, n=40, metric="em",
                                     items=str(path.relative_to(folder)))  # fmt: skip
            ledger = [
                StageCost(stage="score", flops=SELECT[method], flops_paper=10 * SELECT[method]),
                StageCost(stage="train", flops=1e8 * budget, flops_paper=1e9 * budget),
            ]
            taken = Selection(rows=budget, sources={method: budget}, pool_sources={"some": 100})
            run = cell(method, 0, "", run_id=path.parent.name, seed=seed, budget=budget,
                       scores=scores, ledger=ledger, selection=taken)  # fmt: skip
            write_record(run, folder / "records")
    return folder


@pytest.fixture(scope="module")
def leaderboard(sweep: Path) -> str:
    return execute("leaderboard", WINNOW_SWEEP=str(sweep))


def test_the_leaderboard_notebook_tells_differences_from_ties(leaderboard: str) -> None:
    text = leaderboard
    assert "12 runs, 0 not done" in text and text.count("(picture)") == 1
    # good has 75 %; random (25 + 27.5) / 2 = 26.25; mirror answers as random does.
    assert re.search(
        r"\| good \| \*\*75\.0\*\* \| \*\*75\.0\*\* \|.* \*\*75\.0\*\* \| \+48\.8 ", text
    )
    assert re.search(r"\| mirror \| 26\.2 ≈ \| 26\.2 ≈ \|.*\| \+0\.0 \[\+0\.0, \+0\.0\]", text)
    assert re.search(r"good +75\.0 +0\.0 +48\.8 .* <0\.001 .* 1\.0 +1\.0 +True\n", text)
    assert re.search(r"mirror +26\.2 +1\.8 +0\.0 +0\.0 +0\.0 +1\.00 .* False\n", text)
    assert re.search(r"mirror +\+0\.0 ≈ +\+0\.0 ≈\n", text)
    assert re.search(r"20 +good +75\.0 +75\.0\n +mirror +25\.0 +27\.5\n", text)  # single seeds
    assert "budget 10 orders 83 % of 3 pairs" in text  # a tie of two counts half


def test_the_leaderboard_notebook_finds_where_answers_differ(leaderboard: str) -> None:
    text = leaderboard
    # good alone is right on items 2 and 3 of each 4, both seeds; random alone on item 1, seed 1.
    assert re.search(r"good better +random better +clear +two seeds of good\n", text)
    assert re.search(r"mmlu +40\.0 +50\.0 +1\.2 +20\.0 +0\.0\n", text)
    assert (
        "mmlu test/2, wanted: wanted\n  100 %  good: good says 2\n    0 %  random: random" in text
    )


def test_the_pareto_notebook_weighs_scores_against_both_costs(sweep: Path) -> None:
    text = execute("pareto", WINNOW_SWEEP=str(sweep))
    assert "12 runs, 0 not done" in text and text.count("(picture)") == 3
    # Largest budget: training 2e9, by the paper 2e10; good's selection 3e9 of 5e9.
    assert re.search(r"random +- +2\.0e9 +2\.0e9 +2\.0e10 +0% +10\.0", text)
    assert re.search(r"good +3\.0e9 +2\.0e9 +5\.0e9 +5\.0e10 +60% +10\.0", text)
    # random at 10 rows is the cheapest; nothing cheaper comes near good; mirror only costs more.
    assert re.search(r"random +100 +10 +2 +1\.0e9 +26\.2 .* 1\.00?\n", text)
    assert re.search(r"good +100 +10 +2 +4\.0e9 +75\.0 .* 1\.00?\n", text)
    assert not re.search(r"mirror +100 +\d+ +2", text)


@pytest.mark.parametrize(
    ("name", "words"), [("leaderboard", "experiment=methods makes it"), ("pareto", "no records")]
)
def test_a_notebook_without_records_says_so(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match=words):
        execute(name, WINNOW_SWEEP=str(tmp_path / "absent"))


def test_the_leaderboard_notebook_does_without_items(sweep: Path, tmp_path: Path) -> None:
    for path in (sweep / "records").glob("*.json"):
        record = read_record(path)
        for score in record.scores.values():
            score.items = None
        write_record(record, tmp_path / "records")
    text = execute("leaderboard", WINNOW_SWEEP=str(tmp_path))
    assert "compared by recorded standard errors" in text
    assert "No second method has per-item results." in text
