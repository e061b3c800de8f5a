"""The paper's experiments: they compose on every scale; single-task runs score their own task."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from harness import paper
from harness.board_rows import BENCHMARKS
from harness.check import check
from harness.record import read_record
from harness.report import build_report
from harness.settings import Settings, build

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
ABLATIONS = [name for name in EXPERIMENTS if name.startswith("ablation_")]
TASKS = ("gsm8k", "squad")
SCALES = sorted(path.stem for path in (ROOT / "conf" / "scale").glob("*.yaml"))


def real(scale: str) -> list[str]:
    """What a user has to say on a real scale."""
    return [] if scale == "micro" else ["pool.path=somewhere", "suite.data=somewhere"]


def composed(*words: str):
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", overrides=list(words), return_hydra_config=True)
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create(), resolve=True)
    plain = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.create(plain), params


def settings(*words: str) -> Settings:
    return build(composed(*words)[0])


def test_the_four_ablations_are_there() -> None:
    assert set(ABLATIONS) == {
        "ablation_pooling", "ablation_span", "ablation_selector", "ablation_proxy",
    }  # fmt: skip


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", [*ABLATIONS, "single_task"])
def test_every_experiment_composes_on_every_scale(experiment: str, scale: str) -> None:
    """The first cell is built; test_check.py builds every value of the sweeps on micro."""
    config, params = composed(f"experiment={experiment}", f"scale={scale}", *real(scale))
    assert all(name in paper.names() for name in config.report.compare)
    assert config.report.compare
    assert str(config.out) == f"outputs/{experiment}"
    if experiment in ABLATIONS:
        assert params["seed"] == "0,1,2"
    models = params.get("model", "").split(",")
    assert len(models) != 1 or models == [""]
    for name in filter(None, models):
        assert (ROOT / "conf" / "model" / f"{name}.yaml").is_file()
    build(config)


def test_a_sweep_is_checked_whole_on_a_real_scale() -> None:
    words = ["experiment=ablation_selector", "scale=llama2_7b", *real("llama2_7b")]
    request = check(words)
    assert request.multirun and request.out == Path("outputs/ablation_selector")


def test_sizes_are_the_papers_on_its_scale_and_small_on_micro() -> None:
    words = ["scale=llama2_7b", *real("llama2_7b")]
    span = composed("experiment=ablation_span", *words)[0]
    assert (span.pool.size, span.budget, span.recipe.name) == (200_000, 10_000, "paper")
    selector = composed("experiment=ablation_selector", *words)[0]
    assert (selector.pool.size, selector.budget) == (None, 326_000)
    proxy, params = composed("experiment=ablation_proxy", *words)
    assert (proxy.pool.size, proxy.pool.order, proxy.budget) == (100_000, "balanced", 10_000)
    assert params["model"] == params["model@selector_model"] != "micro,micro_proxy"
    assert composed("experiment=ablation_span")[0].pool.size <= 8000
    assert composed("experiment=ablation_span", "study.budget=7")[0].budget == 7


def test_single_task_takes_every_benchmark_of_the_suite() -> None:
    config, params = composed("experiment=ablation_pooling")
    assert params["target"].split(",") == list(config.suite.benchmarks) == list(BENCHMARKS)
    assert config.evaluate == "target"


def test_only_the_targets_benchmark_is_scored_if_asked_for() -> None:
    def scored(*words: str) -> list[str]:
        return list(settings(*words).scored.benchmarks)

    assert scored("method=rds_plus", "target=gsm8k", "evaluate=target") == ["gsm8k"]
    whole = list(BENCHMARKS)
    assert scored("method=rds_plus", "target=gsm8k") == whole
    assert scored("method=rds_plus", "target=multi_task", "evaluate=target") == whole
    # No queries, no task: one model for all benchmarks, one run for all targets.
    assert scored("method=random", "target=gsm8k", "evaluate=target") == whole


def test_a_swept_selector_model_is_another_key_than_the_model() -> None:
    words = ["-m", "method=rds_plus", "model=micro"]
    check([*words, "model@selector_model=micro,micro_proxy"])
    with pytest.raises(ValueError, match="model@selector_model=mikro: no such model"):
        check([*words, "model@selector_model=micro,mikro"])


def test_the_balanced_order_gives_balanced_prefixes(make_pool) -> None:
    sizes = {"a": 1, "b": 4, "c": 9}
    rows = [
        {"id": f"{name}{at}", "dataset": name,
         "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
        for name, size in sizes.items()
        for at in range(size)
    ]  # fmt: skip
    for size, counts in ((3, (1, 1, 1)), (7, (1, 3, 3)), (9, (1, 4, 4)), (14, (1, 4, 9))):
        pool = make_pool(rows, order="balanced", size=size)
        assert tuple(pool.count_sources().values()) == counts
    plain, turns = make_pool(rows), make_pool(rows, order="balanced")
    assert plain.digest != turns.digest
    assert sorted(plain.ids(np.arange(14))) == sorted(turns.ids(np.arange(14)))
    for name in sizes:  # within a source, the rows stand as they do in the usual order
        ids = [[i for i in pool.ids(np.arange(14)) if i[0] == name] for pool in (plain, turns)]
        assert ids[0] == ids[1]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sweep: two of the seven benchmarks make the suite, one method without queries."""
    folder = tmp_path_factory.mktemp("single_task")
    left_out = [f"~suite.benchmarks.{name}" for name in BENCHMARKS if name not in TASKS]
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", "experiment=single_task", "method=rds_plus,random",
            f"target={','.join(TASKS)}", *left_out, "pool.size=200", "budget=16",
            "suite.limit=3", "recipe.epochs=1", "progress=false", "features.rows_per_range=64",
            f"out={folder / 'out'}", f"store={folder / 'store'}",
        ],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


def test_each_model_was_scored_on_its_own_benchmark_alone(swept: Path) -> None:
    records = [read_record(path) for path in (swept / "records").glob("*.json")]
    single = {r.target: r for r in records if r.method == "rds_plus"}
    assert {name: list(r.scores) for name, r in single.items()} == {name: [name] for name in TASKS}
    (random,) = [r for r in records if r.method == "random"]  # two targets, one run
    assert random.target == "any" and set(random.scores) == set(TASKS)


def test_the_real_sweeps_single_task_row(swept: Path) -> None:
    with (swept / "leaderboard.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    (row,) = [row for row in rows if row["target"] == "single_task"]
    own = {r["target"]: r for r in rows if r["part_of"] == "single_task"}
    assert set(own) == set(TASKS) and not any(r["rank"] or r["mean"] for r in own.values())
    assert all(row[name] == own[name][name] for name in TASKS)
    assert float(row["mean"]) == pytest.approx(sum(float(row[n]) for n in TASKS) / 2, abs=1e-3)
    assert float(row["flops_total"]) == pytest.approx(
        sum(float(r["flops_total"]) for r in own.values()) / 2, rel=1e-5
    )
    assert {r["rank"] for r in rows if r["rank"]} == {"1", "2"}  # with random's row
    page = (swept / "report.html").read_text()
    assert "single_task" in page and "(squad only)" not in page


@pytest.mark.slow
def test_a_whole_evaluation_is_another_run_with_the_same_score(swept: Path, tmp_path: Path) -> None:
    """The suite's artifacts differ by what was scored; the score of a benchmark does not."""
    (path,) = (swept / "records").glob("rds_plus*gsm8k*.json")
    part = read_record(path)
    config = {k: v for k, v in part.config.items() if k in ("pool", "suite", "recipe", "features")}
    words = [
        "method=rds_plus", "target=gsm8k", "evaluate=suite", "budget=16", "progress=false",
        "pool.size=200", "suite.limit=3", "recipe.epochs=1", "features.rows_per_range=64",
        *(f"~suite.benchmarks.{n}" for n in BENCHMARKS if n not in config["suite"]["benchmarks"]),
        f"out={tmp_path}", f"store={swept.parent / 'store'}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "harness", *words], cwd=ROOT, check=True,
                   capture_output=True)  # fmt: skip
    (other,) = (tmp_path / "records").glob("*.json")
    whole = read_record(other)
    assert whole.run_id != part.run_id and set(whole.scores) == set(TASKS)
    assert whole.scores["gsm8k"].score == part.scores["gsm8k"].score
    reused = {entry["stage"]: entry["reused"] for entry in json.loads(other.read_text())["ledger"]}
    assert reused["train"] and not reused["evaluate"]
    both = build_report([swept, tmp_path], tmp_path / "both")
    rows = list(csv.DictReader(both["leaderboard"].read_text().splitlines()))
    assert {r["scored"] for r in rows if r["target"] == "gsm8k"} == {"gsm8k", "suite"}
