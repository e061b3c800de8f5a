"""``python -m evaluation check``: what it shows, and that each of its proofs can fail."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evaluation.base import Benchmark, Item
from evaluation.bbh import BBH
from evaluation.check.command import main
from evaluation.check.proving import check
from evaluation.check.report import Report
from evaluation.gsm8k import GSM8K, _wei
from evaluation.mmlu import MMLU
from evaluation.source import DataError, Source, read_jsonl
from evaluation.suite import Suite
from evaluation.tydiqa import TyDiQA

NAMES = ["mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval"]
# Settings under which the files written by hand are enough.
FEW = [f"suite.benchmarks.{name}.n_queries={n}"
       for name, n in (("codex", 1), ("alpaca_eval", 1), ("squad", 4))]  # fmt: skip
FEW.append("suite.benchmarks.tydiqa.stand_in=null")


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the files written by hand, to spoil."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture
def over(small_suite: Any) -> Callable[..., Report]:
    """over(folder, names): the report on the paper's suite over a folder."""

    def run(folder: Path, *names: str, suite: Suite = small_suite, **how: Any) -> Report:
        suite = suite.model_copy(update={"data": str(folder)})
        return check(suite, names or None, **{"paper": False, **how})

    return run


def _append(path: Path, row: dict[str, Any]) -> None:
    path.write_text(path.read_text("utf-8") + json.dumps(row) + "\n", "utf-8")


def test_the_seven_are_right(small_data: Path, over: Callable[..., Report]) -> None:
    said: list[str] = []
    report = over(small_data, say=said.append)
    assert report.all("errors") == []
    assert [one.name for one in report.benchmarks] == NAMES
    for one in report.benchmarks:
        # AlpacaEval without recorded verdicts: the reference ties with itself.
        best = 50 if one.name == "alpaca_eval" else 100
        assert (one.gold, one.wrong, one.shared, one.left_out) == (best, 0, [], []), one.name
    counts = {one.name: (one.queries, one.items) for one in report.benchmarks}
    assert counts == {"mmlu": (4, 4), "gsm8k": (8, 3), "bbh": (6, 4), "tydiqa": (2, 4),
                      "codex": (1, 2), "squad": (4, 1), "alpaca_eval": (1, 3)}  # fmt: skip
    remarks = " ".join(report.all("remarks"))
    assert "all 3 canonical solutions" in remarks and "judge=reference_rule" in remarks
    assert any("no recorded verdicts" in gap for gap in report.all("gaps"))
    assert [text for text in said if text.startswith("bbh")] == [
        "bbh: reading", "bbh: 4 right answers", "bbh: 4 wrong answers"
    ]  # fmt: skip


def test_counts_that_nothing_explains_are_errors(
    small_data: Path, over: Callable[..., Report]
) -> None:
    report = over(small_data, "gsm8k", "tydiqa", "squad", paper=True)
    gsm8k, tydiqa, squad = report.benchmarks
    assert len(gsm8k.errors) == 1 and "3 test items, where the paper has 1,319" in gsm8k.errors[0]
    assert tydiqa.errors == ["2 queries, where the paper has 9"]
    missing, english, finnish = tydiqa.gaps
    assert "7 of 9 languages: arabic (921), bengali (113)" in missing
    assert f"<language>-dev.jsonl[.gz] in {small_data}/tydiqa" in missing
    assert "tydiqa-goldp-v1.1-dev.json from https://github.com/" in missing
    assert "2 questions, where the release has 440" in english + finnish
    assert "87,594 of the 87,599 training questions" in squad.gaps[0]
    assert "3 of the 3 shots are replaced" in squad.gaps[0]
    strict = over(small_data, "tydiqa", paper=True, strict=True)
    assert len(strict.all("errors")) == 4 and strict.all("gaps") == []


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("gsm8k", lambda data: _append(
            data / "gsm8k/test.jsonl",
            {"question": "  " + _wei()[2][0].upper().replace(" ", "  "), "answer": "#### 39"})),
        ("mmlu", lambda data: shutil.copy(
            data / "mmlu/dev/anatomy_dev.csv", data / "mmlu/test/anatomy_test.csv")),
        ("squad", lambda data: shutil.copy(
            data / "squad/train-v1.1.json.gz", data / "squad/dev-v1.1.json.gz")),
    ],
)  # fmt: skip
def test_a_planted_query_is_found(
    data: Path, over: Callable[..., Report], small_suite: Any, name: str, plant: Any
) -> None:
    plant(data)
    benchmark = small_suite.benchmarks[name]
    for setting in ("error", "keep"):
        other = benchmark.model_copy(update={"query_duplicates": setting})
        suite = small_suite.model_copy(update={"benchmarks": {name: other}})
        report = over(data, suite=suite)
        assert "test items are queries" in " ".join(report.all("errors"))
        assert report.benchmarks[0].shared
        assert report.benchmarks[0].gold == 100  # they are graded all the same
    lenient = benchmark.model_copy(update={"query_duplicates": "leave_out"})
    items = lenient.items(Source(data))
    report = over(data, suite=small_suite.model_copy(update={"benchmarks": {name: lenient}}))
    if len(report.benchmarks[0].left_out) < len(items):  # else nothing is left to ask
        assert report.all("errors") == [] and report.benchmarks[0].left_out
        assert "are queries too and are not asked" in report.all("remarks")[0]


def test_a_query_of_another_benchmark_is_found(data: Path, over: Callable[..., Report]) -> None:
    path = data / "alpaca_eval/alpaca_eval.json"
    rows = json.loads(path.read_text("utf-8"))
    rows += [{"instruction": question, "output": "?"} for question, _ in _wei()[:3]]
    path.write_text(json.dumps(rows), "utf-8")
    _, alpaca = over(data, "gsm8k", "alpaca_eval", boards=False).benchmarks
    assert sorted(alpaca.shared) == [f"item {4 + n} is query wei/{n} of gsm8k" for n in range(3)]
    assert over(data, "alpaca_eval", boards=False).benchmarks[0].shared == []


def test_a_scorer_that_is_wrong_is_found(
    small_data: Path, over: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    # lm-eval's stock filter, which cuts off an answer's last sign.
    monkeypatch.setattr("evaluation.bbh.extract", lambda text: text.partition("answer is ")[2][:-2])
    monkeypatch.setattr(GSM8K, "score", lambda self, item, output: float(item.target in output))
    monkeypatch.setattr(MMLU, "score", lambda self, item, output: 0.0)
    bbh, gsm8k, mmlu = over(small_data, "bbh", "gsm8k", "mmlu").benchmarks
    assert "right answers score 0.0000 where they must score 100: 4 items" in bbh.errors[0]
    assert "wrong answers score 100.0000 where they must score 0: 3 items" in gsm8k.errors[0]
    assert (mmlu.gold, mmlu.wrong) == (0, 0) and len(mmlu.errors) == 1


def test_a_missing_file_is_named_and_the_rest_is_checked(
    data: Path, over: Callable[..., Report]
) -> None:
    for name in ("mmlu/test/anatomy_test.csv", "mmlu/test/high_school_maths_test.csv",
                 "bbh/cot-prompts/dyck_languages.txt", "tydiqa/one-shot.json",
                 "squad/dev-v1.1.json.gz", "humaneval/HumanEval.jsonl.gz",
                 "alpaca_eval/alpaca_eval.json"):  # fmt: skip
        (data / name).unlink()
    report = over(data)
    for one in report.benchmarks:
        if one.name == "gsm8k":
            assert (one.errors, one.gold) == ([], 100)
            continue
        (error,) = one.errors
        assert str(data) in error and one.gold is None  # where it was looked for
        assert "github.com" in error or "release" in error or "data set" in error, error
    (data / "gsm8k/test.jsonl").write_text('{"question": "?"', "utf-8")
    assert "gsm8k/test.jsonl, line 1: no JSON" in over(data, "gsm8k").all("errors")[0]


class Capitals(Benchmark):
    """One without gold answers of its own; its metric is the plain comparison, or spoilt."""

    name: ClassVar[str] = "capitals"
    metric: ClassVar[str] = "exact_match"
    hub: str = ""
    spoilt: bool = False

    def files(self, source: Source) -> dict[str, Path]:
        return {}

    def items(self, source: Source) -> list[Item]:
        towns = (("Italy", ["Roma", "Rome"]), ("Chile", ["Santiago"]))
        return [Item(country, "?", names, country) for country, names in towns]

    def queries(self, source: Source) -> list[Any]:
        return []

    def score(self, item: Item, output: str) -> float:
        return 1.0 if self.spoilt else float(output.strip() in item.target)


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_benchmark_of_a_users_own(tmp_path: Path, spoilt: bool) -> None:
    suite = Suite(name="own", data=str(tmp_path), benchmarks={"capitals": Capitals(spoilt=spoilt)})
    report = check(suite)
    (one,) = report.benchmarks
    assert (one.gold, one.wrong, one.paper) == (100, 100 if spoilt else 0, None)
    assert bool(report.all("errors")) == spoilt and report.boards == []
    with pytest.raises(
        DataError, match=r"no benchmark 'towns' in the suite own; it holds capitals"
    ):
        check(suite, ["towns"])


def test_the_readmes_benchmark_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "evaluation/README.md").read_text("utf-8")
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", readme, re.S)
    assert [name for name, _ in blocks] == [
        "my_package/capitals/__init__.py", "my_conf/suite/capitals.yaml"
    ]  # fmt: skip
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, "utf-8")
    for name in ("my_package", "my_package.capitals"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    data = tmp_path / "my_data/capitals"
    data.mkdir(parents=True)
    (data / "queries.jsonl").write_text('{"country": "Norway", "capital": "Oslo"}\n', "utf-8")
    (data / "test.jsonl").write_text('{"country": "Italy", "capital": "Rome"}\n', "utf-8")
    monkeypatch.chdir(tmp_path / "my_conf")  # from where ../my_data is
    words = ["check", "--config-dir", str(tmp_path / "my_conf"), "--suite", "capitals", "--quiet"]
    assert main(words) == 0
    assert "capitals" in capsys.readouterr().out
    (data / "queries.jsonl").write_text('{"country": "ITALY ", "capital": "Rome"}\n', "utf-8")
    assert main(words) == 1
    assert "item Italy is query ITALY  of capitals" in capsys.readouterr().out.replace("\n", " ")


def test_a_board_that_differs_is_found(
    small_data: Path, over: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.alpaca_eval import replay
    from evaluation.alpaca_eval.replay import Replayed

    right = Replayed("board", "m", "win_rate", 12.5, 12.5)
    unknown = Replayed("board", "m", "lc", None, 3.0, "no inputs")
    rows = [right, unknown]
    monkeypatch.setattr(replay, "replay", lambda source: rows)
    report = over(small_data, "alpaca_eval")
    assert report.all("errors") == [] and report.boards == rows
    assert report.all("gaps") == ["leaderboards: 1 figure of board not comparable: no inputs"]
    rows.append(replace(right, ours=12.4))
    (error,) = over(small_data, "alpaca_eval").all("errors")
    assert "1 of 3 figures differ, e.g. win_rate of m on board: 12.4 here, 12.5 published" in error
    assert over(small_data, "alpaca_eval", boards=False).boards == []


def test_the_command(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.check import paper

    counts = {"gsm8k": paper.Counts(8, 3), "bbh": paper.Counts(6, 4)}
    monkeypatch.setattr("evaluation.check.proving.PAPER", counts)
    file = tmp_path / "report.json"
    words = ["check", "--data", str(data), "--benchmarks", "gsm8k,bbh", "--json", str(file), *FEW]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "gsm8k" in shown.out and "100.0" in shown.out and "all right" in shown.out
    assert "bbh: 4 right answers" in shown.err  # progress
    report = json.loads(file.read_text("utf-8"))
    assert report["ok"] and report["benchmarks"]["bbh"]["gold"] == 100
    assert report["benchmarks"]["bbh"]["paper"] == [6, 4]

    _append(data / "gsm8k/test.jsonl", {"question": "And 1 more?", "answer": "#### 1"})
    assert main([*words, "--quiet"]) == 1
    shown = capsys.readouterr()
    assert "4 test items, where the paper has 3" in shown.out.replace("\n", " ")
    assert shown.err == "" and not json.loads(file.read_text("utf-8"))["ok"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "/nowhere"], "no such folder"),
        ([], "suite.data is not set"),
        (["--suite", "papre"], "suite/papre"),
        (["--data", ".", "--benchmarks", "gsm9k"], "it holds mmlu, gsm8k"),
        (["--data", ".", "suite.benchmarks.gsm8k.shots=9"], "less than or equal to 8"),
        (["--data", ".", "suite.benchmarks.gsm8k.shot=9"], "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_command_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.shared_data
def test_the_real_files(shared_data: Path, tmp_path: Path) -> None:
    """The quick ones; the slow test below has all seven."""
    file = tmp_path / "report.json"
    data = str(shared_data / "benchmarks")
    words = ["check", "--data", data, "--benchmarks", "gsm8k,tydiqa", "--json", str(file)]
    assert main(words) == 0
    found = json.loads(file.read_text("utf-8"))["benchmarks"]
    assert {name: (one["gold"], one["wrong"]) for name, one in found.items()} == {
        "gsm8k": (100, 0), "tydiqa": (100, 0)
    }  # fmt: skip
    assert found["tydiqa"]["items"] == 917 + 2 * 1190
    assert len(found["tydiqa"]["gaps"]) == 2  # 8 of 9 languages are not there, and 4 questions


@pytest.mark.slow
@pytest.mark.shared_data
def test_all_of_the_real_files(shared_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert main(["check", "--data", str(shared_data / "benchmarks"), "--json", str(file)]) == 0
    report = json.loads(file.read_text("utf-8"))
    found = report["benchmarks"]
    assert {name: (one["queries"], one["items"]) for name, one in found.items()} == {
        "mmlu": (285, 14042), "gsm8k": (8, 1319), "bbh": (81, 6511), "tydiqa": (9, 3297),
        "codex": (16, 148), "squad": (500, 10570), "alpaca_eval": (50, 755),
    }  # fmt: skip
    assert all((one["gold"], one["wrong"]) == (100, 0) for one in found.values())
    assert len(found["mmlu"]["left_out"]) == 5
    rates = [row for row in report["leaderboards"] if row["metric"] == "win_rate"]
    assert sum(row["ours"] == pytest.approx(row["published"], rel=1e-15)
               for row in rates if not row["missing"]) == 29  # fmt: skip


def test_the_gaps_of_one_language(small_data: Path) -> None:
    """A stand-in is no question of the language."""
    rows = read_jsonl(small_data / "tydiqa/finnish-dev.jsonl.gz")
    assert len(rows) == 2
    assert any(
        text.startswith("finnish: 2 questions") for text in TyDiQA().gaps(Source(small_data))
    )
    assert BBH().gold(Item("1", "", "(A)", "")).endswith("So the answer is (A).")
