"""lm-eval's files beside the per-item results, against what its own tracker writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")

from evaluation.judges import ReferenceRule
from evaluation.source import read_jsonl

NAMES = ["mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval"]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def evaluated(world: Path, micro_model: Any, tmp_path_factory: Any) -> Any:
    """The micro model on a few items: (suite, result, folder, what lm-eval gave, its run)."""
    from hydra.utils import instantiate

    import evaluation.suite as module

    kept: list[Any] = []
    original = module.write_lm_eval

    def keep(folder: Path, raw: Any, run: Any, suffix: str) -> Any:
        kept.extend([raw, run])
        return original(folder, raw, run, suffix)

    config = yaml.safe_load((REPOSITORY / "conf/suite/micro.yaml").read_text("utf-8"))
    config.update(data=str(world / "benchmarks"), limit=6)
    suite = instantiate(config, _convert_="all")
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_lm_eval", keep)
        result = suite.evaluate(
            micro_model.load(), micro_model.load_chat().tokenizer, judge=ReferenceRule(),
            out_dir=folder, seed=0, progress=False,
        )  # fmt: skip
    return suite, result, folder / "items", *kept


def own_files(evaluated: Any) -> tuple[dict[str, Any], dict[str, Path]]:
    folder = evaluated[2]
    (results,) = folder.glob("results_*.json")
    samples = {
        path.name.removeprefix("samples_").rpartition("_")[0]: path
        for path in folder.glob("samples_*.jsonl")
    }
    return json.loads(results.read_text("utf-8")), samples


def test_files_are_those_of_lm_evals_tracker(evaluated: Any, tmp_path: Path) -> None:
    """Its tracker writes the same samples, and results of the same entries."""
    import copy

    from lm_eval.loggers import EvaluationTracker
    from lm_eval.result_schema import EvalResults, SampleResult

    _, _, _, raw, run = evaluated
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.log_experiment_args("winnow", "pretrained=m", None, "t", False)
    shown = copy.deepcopy({k: v for k, v in raw.items() if k != "samples"})
    simple = ("config", "git_hash", "date", "pretty_env_info", "transformers_version",
              "lm_eval_version", "upper_git_hash", "tokenizer_pad_token", "tokenizer_eos_token",
              "tokenizer_bos_token", "eot_token_id", "max_length")  # fmt: skip
    shown |= {key: run[key] for key in simple}  # what simple_evaluate adds to evaluate
    samples = copy.deepcopy(raw["samples"])
    tracker.save_results_aggregated(shown, samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task, rows)
    (theirs,) = tmp_path.glob("m/results_*.json")
    results, files = own_files(evaluated)
    wanted = json.loads(theirs.read_text("utf-8"))
    timed = {"start_time", "end_time"}
    assert set(results) == set(wanted) - timed
    known = set(EvalResults.__annotations__)
    assert set(results) <= known and set(results) >= {
        "results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes"
    }  # fmt: skip
    for key in ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples",
                "group_subtasks", "task_hashes"):  # fmt: skip
        assert results[key] == wanted[key], key
    assert {type(v) for v in results["config"].values()} <= {str, int, list, dict, type(None)}
    assert set(files) == set(NAMES)
    fixed = set(SampleResult.__annotations__)
    for task, path in files.items():
        (stock,) = tmp_path.glob(f"m/samples_{task}_*.jsonl")
        assert path.read_bytes() == stock.read_bytes(), task
        assert set(read_jsonl(path)[0]) >= fixed


def test_readers_find_their_way(evaluated: Any) -> None:
    """lm-eval's own helpers, pandas and datasets read what is there."""
    import datasets
    import pandas as pd
    from lm_eval.utils import (
        get_file_task_name,
        get_latest_filename,
        get_results_filenames,
        get_sample_results_filenames,
        make_table,
    )

    suite, result, folder, *_ = evaluated
    paths = [str(path) for path in folder.iterdir()]
    assert Path(get_latest_filename(get_results_filenames(paths))).name.startswith("results_")
    found = {get_file_task_name(Path(p).name) for p in get_sample_results_filenames(paths)}
    assert found == set(NAMES)
    results, files = own_files(evaluated)
    assert "gsm8k" in make_table(results)
    assert len(datasets.load_dataset("json", data_files=str(files["squad"]), split="train")) == 6
    for name in NAMES:
        frame = pd.read_json(folder / f"{name}.jsonl.gz", lines=True)
        assert {"item_id", "subject", "prompt_hash", "outputs", "target", "score"} <= set(frame)
        assert len(frame) == 6 == len(pd.read_json(files[name], lines=True))
        table = results["results"][name]
        score = result.scores[name]
        metric = suite.benchmarks[name].metric_name
        assert 100 * table[f"{metric},none"] == pytest.approx(score.score)
        assert 100 * table[f"{metric}_stderr,none"] == pytest.approx(score.stderr)
        assert results["n-samples"][name] == {"original": 6, "effective": 6}


def test_lines_of_both_kinds_speak_of_the_same(evaluated: Any) -> None:
    suite, _, folder, *_ = evaluated
    _, files = own_files(evaluated)
    for name in NAMES:
        items, samples = read_jsonl(folder / f"{name}.jsonl.gz"), read_jsonl(files[name])
        metric = suite.benchmarks[name].metric_name
        for item, sample in zip(items, samples, strict=True):
            assert sample["doc"]["id"] == item["item_id"]
            assert sample["prompt_hash"].startswith(item["prompt_hash"])
            assert sample[metric] == item["score"]
            assert sample["target"] == str(item["target"])
        assert len(items[0]["outputs"]) == (5 if name == "codex" else 1)


def test_every_score_names_its_protocol(evaluated: Any) -> None:
    suite, result, *_ = evaluated
    for name, score in result.scores.items():
        protocol = score.notes["protocol"]
        assert (protocol["name"], protocol["shots"]) == ("micro", 0), name
        assert protocol["prompt_version"] == suite.benchmarks[name].prompt_version


def test_no_path_of_this_machine_is_written(evaluated: Any, world: Path) -> None:
    results, _ = own_files(evaluated)
    text = json.dumps(results)
    assert str(world) not in text and str(REPOSITORY) not in text


def test_items_without_a_verdict_are_null(tmp_path: Path) -> None:
    from evaluation.base import Item
    from evaluation.results import write_items

    path = tmp_path / "items.jsonl.gz"
    items = [Item("a", "", "t", ""), Item("b", "", "t", "")]
    write_items(path, items, ["0", "1"], [["x"], ["y\ud800"]], [float("nan"), 0.5],
                [{"passed": [True]}, {"passed": [False]}])  # fmt: skip
    first, second = read_jsonl(path)
    assert first["score"] is None and second["score"] == 0.5
    assert [first["passed"], second["passed"]] == [[True], [False]]
