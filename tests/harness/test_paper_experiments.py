"""The paper's sweeps: composed on every scale, priced by the plan, run on the embedded one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from harness import paper
from harness.board_rows import BENCHMARKS
from harness.plan.cells import cells
from harness.plan.lengths import read_profile
from harness.plan.sweep import plan_sweep
from harness.record import read_record
from harness.settings import build

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("paper_*.yaml"))
SCALES = ("", "micro", "single_gpu", "llama2_7b", "llama31_8b")
OWN = ["pool.path=somewhere", "suite.data=somewhere"]  # what a user has to say

# By experiment: cells of the sweep and distinct runs, on the paper's scale and on the embedded one.
# Table 1: four (three without LESS) methods that look at queries have a run a task and seed, six
# others a run a seed. Figures: one whole pool, whatever the budget.
COUNTS = {
    "paper_table1": ((210, 4 * 21 + 18), (189, 3 * 21 + 18)),
    "paper_table1_whole": ((189, 3 * 21 + 18), (168, 2 * 21 + 18)),
    "paper_table2": ((27, 27), (24, 24)),
    "paper_table2_queries": ((6, 6), (3, 3)),
    "paper_table3": ((9, 9), (9, 9)),
    "paper_table3_queries": ((3, 3), (3, 3)),
    "paper_figure3": ((40, 31), (24, 19)),
    "paper_figure4": ((30, 21), (18, 13)),
    "paper_ablations": ((189, 189), (189, 189)),
}
# Small enough for a test, each a whole sweep of one seed all the same.
SMALL = [
    "study.pool=400", "study.whole_pool=500", "study.budget=16", "study.large_budget=24",
    'study.budgets="16,24"', "suite.limit=2", "recipe.epochs=1", "seed=0", "progress=false",
    "features.rows_per_range=256",
]  # fmt: skip


def composed(*words: str) -> tuple[DictConfig, dict[str, str]]:
    """The configuration of all cells, and what is swept."""
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", overrides=list(words), return_hydra_config=True)
    GlobalHydra.instance().clear()
    swept: Any = OmegaConf.to_container(config.hydra.sweeper.params, resolve=True)
    plain = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.create(plain), {key: str(value) for key, value in swept.items()}


def words(experiment: str, scale: str, *more: str) -> list[str]:
    chosen = [f"scale={scale}"] if scale else []
    return [f"experiment={experiment}", *chosen, *(OWN if scale != "micro" else []), *more]


def test_all_of_the_papers_experiments_are_there() -> None:
    assert set(EXPERIMENTS) == set(COUNTS)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_composes_on_every_scale(experiment: str, scale: str) -> None:
    config, swept = composed(*words(experiment, scale))
    for group in ("method", "target"):
        for name in filter(None, swept.get(group, "").split(",")):
            assert (CONF / group / f"{name}.yaml").is_file(), name
    assert config.report.compare and set(config.report.compare) <= set(paper.names())
    settings = build(config)
    assert settings.out.parts[0] == "outputs" and settings.out.name.startswith("paper_")
    if scale:
        assert settings.model.name == {"single_gpu": "qwen25_1p5b"}.get(scale, scale)


def test_the_scale_of_its_own_is_the_papers() -> None:
    def found(experiment: str):
        return composed(f"experiment={experiment}", "suite.data=x")

    table, swept = found("paper_table1")
    assert (table.pool.name, table.pool.size, table.budget) == ("tulu2_unfiltered", 200_000, 10_000)
    assert (table.model.path, table.recipe.name) == ("meta-llama/Llama-2-7b-hf", "paper")
    assert swept["method"].split(",")[6:9] == ["less", "embed_nv", "embed_gtr"]
    assert swept["target"].split(",") == list(BENCHMARKS) and table.evaluate == "target"
    whole, swept = found("paper_table1_whole")
    assert whole.pool.size is None and "less" not in swept["method"].split(",")
    multi, swept = found("paper_table2")
    assert (multi.target.name, multi.budget, multi.pool.size) == ("multi_task", 326_000, None)
    assert found("paper_table2_queries")[1]["target"] == "wildchat,arena_hard"
    third, swept = found("paper_table3")
    assert (third.model.name, third.pool.name) == ("llama31_8b", "tulu3_unfiltered")
    assert (third.budget, third.recipe.learning_rate) == (939_344, 5e-6)
    assert swept["method"] == "random,balanced,rds_plus" and swept["seed"] == "0,1,2"
    _, swept = found("paper_figure4")
    rows = {int(cell.rows or 0) for cell in paper.read_table("figure_4").cells}
    assert {int(budget) for budget in swept["budget"].split(",")} == rows - {5_817_792}
    ablation, swept = found("paper_ablations")
    assert swept["method.pooling"] == "weighted_mean,mean,eos"
    assert swept["method.span"] == "full,prompt,label"
    assert list(ablation.report.compare) == ["table_9"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_can_be_planned_on_the_embedded_scale(experiment: str) -> None:
    planned(experiment, "micro", COUNTS[experiment][1])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_can_be_planned_on_the_papers_scale(experiment: str) -> None:
    sweep = planned(experiment, "", COUNTS[experiment][0])
    assert sum(sweep.spent.values()) > 1e18


def planned(experiment: str, scale: str, counts: tuple[int, int]):
    said = f"scale={scale}" if scale else "suite.data=somewhere"
    profile = read_profile(scale or "mixed")
    sweep = plan_sweep(cells([f"experiment={experiment}", said]), profile, 5_817_792)
    assert (sweep.asked, len(sweep.runs)) == counts
    return sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the small sweeps share."""
    return tmp_path_factory.mktemp("paper_store")


def sweep(experiment: str, out: Path, store: Path, *more: str) -> pd.DataFrame:
    """Run it, and return the first published table that it asked for, with ours."""
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", f"experiment={experiment}", "scale=micro", *SMALL,
            *more, f"out={out}", f"store={store}",
        ],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_record(next((out / "records").glob("*.json")))
    for name in (asked := record.config["report"]["compare"]):
        assert (out / "compared" / f"{name}.md").is_file()
    assert "ours - paper" in done.stdout
    return pd.read_csv(out / "compared" / f"{asked[0]}.csv")


def test_table_3_is_run_and_laid_beside(tmp_path: Path, store: Path) -> None:
    left_out = [f"~suite.benchmarks.{name}" for name in BENCHMARKS if name not in ("gsm8k", "bbh")]
    cells = sweep("paper_table3", tmp_path, store, "method=random,rds_plus", *left_out)
    ours = cells[cells.ours.notna()]
    assert set(ours.row) == {"Random (unbal.)", "RDS+"}
    assert set(ours.column) == {"GSM8k", "BBH", "Avg"}
    assert (ours.difference - (ours.ours - ours.published)).abs().max() < 1e-3
    assert (tmp_path / "plots" / "published.svg").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_runs_on_the_embedded_scale(experiment: str, tmp_path: Path, store: Path) -> None:
    cells = sweep(experiment, tmp_path, store)
    records = [read_record(path) for path in (tmp_path / "records").glob("*.json")]
    assert records and {record.status for record in records} == {"done"}
    wanted, rows = ROWS[experiment]
    assert len(records) == wanted
    assert set(cells[cells.ours.notna()].row) == rows


# Of a sweep of one seed and two budgets: runs, and rows of the published table that are filled.
PLAIN = {"Random (unbal.)", "Random (bal.)", "Length", "Top-PPL", "Mid-PPL", "IFD", "RDS+"}
ROWS = {
    "paper_table1": (6 + 3 * 7, PLAIN | {"LESS"}),
    "paper_table1_whole": (6 + 2 * 7, PLAIN),
    "paper_table2": (8, {name.replace("Random", "Rand.") for name in PLAIN}),
    "paper_table2_queries": (1, {"RDS+ WildChat queries"}),
    "paper_table3": (3, {"Random (unbal.)", "Random (bal.)", "RDS+"}),
    "paper_table3_queries": (1, {"RDS+ Arena Hard"}),
    "paper_figure3": (7, {"5.8M (all)"}),
    "paper_figure4": (5, {"5.8M (all)"}),
    "paper_ablations": (
        9 * 7, {row for row in paper.read_table("table_9").rows},
    ),
}  # fmt: skip
