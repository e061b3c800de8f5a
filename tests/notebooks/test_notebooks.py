"""Notebooks read records and compute nothing: run on a real small sweep and on made-up ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from harness.board_rows import BENCHMARKS
from harness.record import Record, Score, read_record, write_record

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def execute(name: str, **environment: str) -> str:
    """Run a notebook as it lies there and return the text of all outputs."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
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
                     output.get("data", {}).get("text/plain", ""))
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
    assert record.flops_select == 0 and record.cost("score", column="seconds") > 0
    assert record.config["method"]["_target_"] == "my_methods.trigrams.Trigrams"


def test_the_notebook_reads_a_users_own_records(own: Path) -> None:
    text = execute("your_own_method", WINNOW_OWN_METHOD=str(own))
    assert "2 runs, 0 not done" in text and "trigrams" in text and "flops_select" in text


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
    assert re.search(r"EOS token only +-1\.0 +-9\.0", text)
    assert "| RDS+ | 50.9 | 40.0 | 47.9 | 22.0 |" in text
    assert "| Qwen2.5-1.5B (micro_proxy) | 56.5 |  | 43.5 | 12.0 |" in text
    assert "not run yet" not in text
