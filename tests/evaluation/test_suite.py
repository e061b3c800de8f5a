"""From settings to scores: checks, identity, queries, per-item results, judges, hub folders."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evaluation.gsm8k import GSM8K
from evaluation.judges import ReferenceRule
from evaluation.mmlu import MMLU
from evaluation.source import DataError, read_jsonl
from evaluation.suite import Suite

NAMES = ["mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval"]
MakeSuite = Callable[..., Any]


def test_the_shipped_suites_hold_the_seven(micro_suite: MakeSuite, paper_suite: MakeSuite) -> None:
    for suite in (micro_suite("micro"), paper_suite("hub")):
        assert list(suite.benchmarks) == NAMES
        suite.check()  # neither reads data: one is not generated yet, the other is on the hub
    codex = paper_suite("hub").benchmarks["codex"]
    assert (codex.n, codex.temperature, codex.top_p, codex.top_k) == (10, 0.8, 0.95, 0)


def test_code_needs_leave(paper_suite: MakeSuite, small_data: Path) -> None:
    suite = paper_suite(small_data, allow_code_execution=False)
    with pytest.raises(DataError, match=r"suite\.allow_code_execution is false; set it to true"):
        suite.check()


def test_missing_data_are_named(small_suite: Any, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(small_suite.data, folder)
    suite = small_suite.model_copy(update={"data": str(folder)})
    suite.check()
    (folder / "humaneval/HumanEval.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"no file humaneval/HumanEval.*openai/human-eval"):
        suite.check()
    nowhere = small_suite.model_copy(update={"data": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match=r"nowhere: no such folder .*suite\.data=hub"):
        nowhere.check()
    with pytest.raises(DataError, match=r"suite\.data is not set"):
        small_suite.model_copy(update={"data": None}).queries()


def test_damaged_data_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl, line 3: no JSON"):
        read_jsonl(path)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}\n")[:-4])
    with pytest.raises(DataError, match="fetch the file again"):
        read_jsonl(packed)


def test_illegal_settings_are_refused(small_data: Path) -> None:
    with pytest.raises(ValidationError, match="'wei' or 'train'"):
        GSM8K(exemplars="other")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="Extra inputs"):
        MMLU(shot=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Suite(name="x", data=str(small_data), limit=0, benchmarks={"mmlu": MMLU()})


def test_check_finds_leaked_queries(small_suite: Any, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(small_suite.data, folder)
    suite = small_suite.model_copy(update={"data": str(folder)})
    shots = json.loads((folder / "bbh/bbh-three-shot.json").read_text("utf-8"))
    tasks = json.loads((folder / "bbh/dyck_languages.json").read_text("utf-8"))
    leaked = "\n\nQ: " + tasks["examples"][0]["input"] + "\nA: Hm. So the answer is ] )."
    shots["dyck_languages"] += leaked
    (folder / "bbh/bbh-three-shot.json").write_text(json.dumps(shots), "utf-8")
    with pytest.raises(DataError, match=r"bbh: 1 test item.* are also queries"):
        suite.check()


def test_check_and_queries_load_nothing_heavy(small_suite: Any) -> None:
    root = Path(__file__).parents[2]
    code = (
        "import sys, yaml\nfrom hydra.utils import instantiate\n"
        "config = yaml.safe_load(open('conf/suite/paper.yaml'))\n"
        f"config.update(data={small_suite.data!r}, allow_code_execution=True)\n"
        "for name, n in (('codex', 1), ('alpaca_eval', 1), ('squad', 4)):\n"
        "    config['benchmarks'][name]['n_queries'] = n\n"
        "config['benchmarks']['tydiqa']['stand_in'] = None\n"
        "suite = instantiate(config, _convert_='all')\n"
        "suite.check(); suite.identity(); suite.queries()\n"
        "print(sorted({'torch', 'lm_eval', 'transformers', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_identity_follows_settings_and_data_and_holds_no_paths(
    small_suite: Any, tmp_path: Path
) -> None:
    import shutil

    identity = json.dumps(small_suite.identity(), sort_keys=True)
    assert small_suite.data not in identity
    folder = tmp_path / "elsewhere"
    shutil.copytree(small_suite.data, folder)
    moved = small_suite.model_copy(update={"data": str(folder)})
    assert json.dumps(moved.identity(), sort_keys=True) == identity
    path = folder / "gsm8k/test.jsonl"
    path.write_text(path.read_text("utf-8").replace("pens", "cups"), "utf-8")
    assert json.dumps(moved.identity(), sort_keys=True) != identity
    limited = small_suite.model_copy(update={"limit": 2})
    assert limited.identity() != small_suite.identity()


def test_queries_by_name(small_suite: Any) -> None:
    queries = small_suite.queries()
    assert {name: len(found) for name, found in queries.items()} == {
        "mmlu": 4, "gsm8k": 8, "bbh": 6, "tydiqa": 2, "codex": 1, "squad": 4, "alpaca_eval": 1
    }  # fmt: skip
    assert list(small_suite.queries(["squad", "mmlu"])) == ["squad", "mmlu"]
    assert all(q.task == name for name, found in queries.items() for q in found)
    assert all(len({q.id for q in found}) == len(found) for found in queries.values())
    with pytest.raises(DataError, match=r"no benchmark 'mmmlu'.*mmlu, gsm8k"):
        small_suite.queries(["mmmlu"])


@pytest.fixture(scope="module")
def evaluated(world: Path, micro_model: Any, tmp_path_factory: Any) -> Any:
    """The micro model on the micro world, twice in one process: (suite, results, folders)."""
    import yaml
    from hydra.utils import instantiate

    root = Path(__file__).parents[2]
    config = yaml.safe_load((root / "conf/suite/micro.yaml").read_text("utf-8"))
    suite = instantiate({**config, "data": str(world / "benchmarks"), "limit": 8}, _convert_="all")
    suite.check()
    model, chat = micro_model.load(), micro_model.load_chat()
    level = logging.getLogger().level
    results, folders = [], []
    for name in ("first", "second"):
        folder = tmp_path_factory.mktemp(name)
        model.train()
        results.append(
            suite.evaluate(
                model, chat.tokenizer, judge=ReferenceRule(), out_dir=folder, seed=3, progress=False
            )
        )
        folders.append(folder)
    assert model.training and logging.getLogger().level == level
    return suite, results, folders


def test_the_micro_model_goes_through_all_seven(evaluated: Any) -> None:
    suite, (result, _), _ = evaluated
    assert list(result.scores) == NAMES == list(result.lengths)
    for name, score in result.scores.items():
        assert 0 <= score.score <= 100 and score.n == 8, name
        assert score.items == f"items/{name}.jsonl.gz"
    assert result.scores["codex"].metric == "pass@1"
    assert result.scores["codex"].notes["sandbox"] in ("bubblewrap", "namespaces", "rlimits")
    assert result.lengths["codex"].shape == (40, 2)
    prompts = sum(int(pairs[:, 0].sum()) for pairs in result.lengths.values())
    assert 0 < result.reads[:, 1].sum() < 0.8 * prompts  # samples and beginnings share passes
    assert result.lengths["mmlu"].shape == (8, 2) and not result.lengths["mmlu"][:, 1].any()
    longest = suite.benchmarks["gsm8k"].max_new_tokens
    assert 1 <= result.lengths["gsm8k"][:, 1].max() <= longest


def test_item_results(evaluated: Any) -> None:
    suite, (result, _), (folder, _) = evaluated
    for name, score in result.scores.items():
        rows = read_jsonl(folder / score.items)
        common = {"item_id", "subject", "prompt_hash", "outputs", "target", "score"}
        assert len(rows) == 8 and all(set(row) >= common for row in rows)
        mean = 100 * sum(row["score"] for row in rows) / 8
        if suite.benchmarks[name].average == "items":
            assert mean == pytest.approx(score.score), name
        assert len(rows[0]["outputs"]) == (5 if name == "codex" else 1)
    assert len({row["prompt_hash"] for row in rows}) == 8


def test_the_same_again_gives_the_same_bytes(evaluated: Any) -> None:
    _, (first, second), folders = evaluated
    assert first.scores == second.scores
    for name in NAMES:
        one, two = ((folder / f"items/{name}.jsonl.gz").read_bytes() for folder in folders)
        assert one == two, name


def test_tasks_are_built_once(evaluated: Any) -> None:
    suite, _, _ = evaluated
    assert suite._task("mmlu") is suite._task("mmlu")


def test_the_readmes_benchmark_works(
    tmp_path: Path, micro_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    import yaml
    from hydra.utils import instantiate

    readme = (Path(__file__).parents[2] / "evaluation/README.md").read_text("utf-8")
    code, config = (
        re.search(rf"```{kind}\n(.*?)```", readme, re.S).group(1)  # type: ignore[union-attr]
        for kind in ("python", "yaml")
    )
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "capitals.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    data = tmp_path / "data/capitals"
    data.mkdir(parents=True)
    for name, rows in (("queries", ["Norway,Oslo"]), ("test", ["Italy,Rome", "Chile,Santiago"])):
        pairs = [dict(zip(("country", "capital"), row.split(","), strict=True)) for row in rows]
        (data / f"{name}.jsonl").write_text("\n".join(map(json.dumps, pairs)), "utf-8")
    suite = instantiate({**yaml.safe_load(config), "data": str(tmp_path / "data")}, _convert_="all")
    suite.check()
    assert suite.queries()["capitals"][0].answer == "It is Oslo"
    result = suite.evaluate(
        micro_model.load(), micro_model.load_chat().tokenizer, judge=None, out_dir=tmp_path / "out",
        seed=0, progress=False,
    )  # fmt: skip
    assert result.scores["capitals"].n == 2
    benchmark = suite.benchmarks["capitals"]
    items = benchmark.items(suite.source())
    assert [benchmark.score(item, f" {item.target}.") for item in items] == [1, 1]
