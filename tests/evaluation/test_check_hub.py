"""The check over data sets of the hub, all seven, in local folders of that layout."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.check.command import main
from evaluation.source import read_json, read_jsonl
from evaluation.squad.format import read_squad

Rows = list[dict[str, Any]]


def _hub_folder(folder: Path, configs: dict[str, dict[str, Rows]]) -> None:
    """A data set repository: JSON-lines files, and a card that names them."""
    listed = []
    for config, splits in configs.items():
        files = []
        for split, rows in splits.items():
            path = folder / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            files.append({"split": split, "path": f"{config}/{split}.jsonl"})
        listed.append({"config_name": config, "data_files": files})
    card = yaml.safe_dump({"configs": listed})
    (folder / "README.md").write_text(f"---\n{card}---\n", "utf-8")


def _answers(texts: list[str]) -> dict[str, list[Any]]:
    return {"text": texts, "answer_start": [0 for _ in texts]}


@pytest.fixture
def mirror(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The files written by hand as seven data sets, by benchmark."""
    import datasets

    from evaluation.mmlu import MMLU
    from evaluation.source import Source

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = ("mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval")
    found = {name: tmp_path / "hub" / name for name in names}
    rows = {part: MMLU()._rows(Source(small_data), part) for part in ("dev", "test")}
    _hub_folder(found["mmlu"], {"all": {
        part: [{**{k: row[k] for k in ("question", "subject", "choices")},
                "answer": "ABCD".index(row["answer"])} for row in some]
        for part, some in rows.items()}})  # fmt: skip
    gsm8k = {part: read_jsonl(small_data / f"gsm8k/{part}.jsonl") for part in ("train", "test")}
    _hub_folder(found["gsm8k"], {"main": gsm8k})
    package = importlib.util.find_spec("lm_eval")
    assert package is not None and package.origin
    tasks = (Path(package.origin).parent / "tasks/bbh/cot_fewshot").glob("[!_]*.yaml")
    _hub_folder(found["bbh"], {
        yaml.safe_load(path.read_text("utf-8"))["dataset_name"]:
        {"test": [{"input": f"{path.stem} {n}", "target": "(B)"} for n in range(2)]}
        for path in tasks})  # fmt: skip
    shown = read_json(small_data / "tydiqa/one-shot.json")
    tydiqa: dict[str, Rows] = {"train": [], "validation": []}
    for language, shots in shown.items():
        dev = read_jsonl(small_data / f"tydiqa/{language}-dev.jsonl.gz")
        for split, some in (("train", shots), ("validation", dev)):
            tydiqa[split] += [
                {"id": f"{language}-{row['id']}-0", "title": "t", "context": row["context"],
                 "question": row["question"], "answers": _answers(["Oulu", "Turku"])}
                for row in some
            ]  # fmt: skip
    _hub_folder(found["tydiqa"], {"secondary_task": tydiqa})
    _hub_folder(found["codex"], {"openai_humaneval": {
        "test": read_jsonl(small_data / "humaneval/HumanEval.jsonl.gz")}})  # fmt: skip
    _hub_folder(found["squad"], {"plain_text": {
        split: [{**row, "answers": _answers(row["answers"])} for row in
                read_squad(small_data / f"squad/{part}-v1.1.json.gz")]
        for split, part in (("train", "train"), ("validation", "dev"))}})  # fmt: skip
    found["alpaca_eval"].mkdir()
    shutil.copy(small_data / "alpaca_eval/alpaca_eval.json", found["alpaca_eval"])
    return found


def test_data_sets_of_the_hub_are_right(
    mirror: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("evaluation.check.proving.PAPER", {})
    file = tmp_path / "report.json"
    words = ["check", "--data", "hub", "--json", str(file), "--quiet"]
    words += [f"suite.benchmarks.{name}.hub={path}" for name, path in mirror.items()]
    words += [f"suite.benchmarks.{name}.n_queries={n}"
              for name, n in (("codex", 1), ("alpaca_eval", 1), ("squad", 4))]  # fmt: skip
    code = main(words)
    report = json.loads(file.read_text("utf-8"))
    assert code == 0, report["errors"]
    found = report["benchmarks"]
    assert {name: (one["queries"], one["items"]) for name, one in found.items()} == {
        "mmlu": (4, 4), "gsm8k": (8, 3), "bbh": (81, 54), "tydiqa": (2, 4), "codex": (1, 2),
        "squad": (4, 1), "alpaca_eval": (1, 3),
    }  # fmt: skip
    scores = {name: (one["gold"], one["wrong"]) for name, one in found.items()}
    assert scores.pop("alpaca_eval") == (50, 0)  # no recorded verdicts there
    assert set(scores.values()) == {(100, 0)}

    shutil.rmtree(mirror["squad"])
    assert main([*words, "--benchmarks", "squad"]) == 1
    shown = capsys.readouterr().out.replace("\n", " ")
    assert f"data set {mirror['squad']}, split train" in shown and "suite.data=DIR" in shown
