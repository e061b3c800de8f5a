"""The command line: mistakes are named at once, with what is legal and what is nearest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from harness.check import check, describe
from harness.overrides import UsageError, flags_first

ROOT = Path(__file__).parents[2]


def error(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        check(list(words))
    return str(caught.value)


def test_a_plain_command_passes() -> None:
    request = check(["method=rds_plus", "pool.size=2000", "budget=128", "target=multi_task"])
    assert (str(request.out), request.until, request.multirun) == ("outputs/runs", "record", False)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["method=rds_pluss"], ["method=rds_pluss", "Nearest: rds_plus", "balanced"]),
        (["methd=random"], ["methd", "Nearest: method"]),
        (["budgett=3"], ["budgett", "Nearest: budget", "seed"]),
        (["method=rds_plus", "method.poling=mean"], ["Nearest: method.pooling", "method.span"]),
        (
            ["method=rds_plus", "method.pooling=meen"],
            ["method.pooling='meen'", "'weighted_mean', 'mean' or 'eos'"],
        ),
        (["method=rds_plus", "method.selector=tops"], ["no selector 'tops'", "round_robin"]),
        (["target=mmmlu"], ["Nearest: mmlu"]),
        (["suite=papr"], ["Nearest: paper"]),
        (["experiment=dmo"], ["Nearest: demo"]),
        (["budget=-1"], ["budget=-1", "greater than 0"]),
        (["budget=1.5"], ["budget=1.5", "whole number of rows, or a share"]),
        (["recipe.epochs=many"], ["recipe.epochs='many'"]),
        (["until=tomorrow"], ["until='tomorrow'", "'pool', 'order', 'train'"]),
        (["pool=jsonl"], ["pool.path has to be given"]),
        (["+colour=blue"], ["colour is no setting"]),
        (["+recipe.colour=blue"], ["recipe.colour is not a setting here"]),
        (["method=random,length"], ["is a sweep: add -m"]),
        (["compare=paper"], ["compare: no such setting", "Nearest: report.compare"]),
        (["+compare=paper"], ["compare is no setting", "nearest: report.compare"]),
        (["report.referense=x"], ["Nearest: report.reference", "report.refresh"]),
        (["report.compare=papr"], ["no published table 'papr'", "table_2"]),
        (["report.refresh=-1"], ["report.refresh=-1", "greater than or equal to 0"]),
        (["report.refresh=soon"], ["report.refresh='soon'"]),
        (["report.reference=null"], ["report.reference=None"]),
        (
            ["-m", "report.compare=table_2,table_3"],
            ["a sweep has one report", "report.compare=[table_2,table_3]"],
        ),
        (["-m", "report.reference=random,length"], ["one report", "report.reference=random"]),
    ],
)
def test_mistakes_are_named_with_remedies(words: list[str], parts: list[str]) -> None:
    message = error(*words)
    for part in parts:
        assert part in message


def test_what_the_report_is_to_be_like_is_known_before_the_first_run() -> None:
    asked = check(["report.compare=paper", "report.reference='rds_plus[span=label]'"]).report
    assert (asked.compare, asked.reference) == (["paper"], "rds_plus[span=label]")
    assert check(["experiment=paper_figure4"]).report.compare == ["figure_4"]
    assert check(["report.compare=[table_2,figure_4]"]).report.compare == ["table_2", "figure_4"]


def test_every_value_of_a_sweep_is_checked_before_the_first_runs() -> None:
    assert "recipe.epochs=-1" in error("-m", "seed=0,1", "recipe.epochs=1,2,-1")
    assert "no such method" in error("-m", "method=random,length,rds_pluss")
    message = error("-m", "method=rds_plus,random", "method.pooling=mean")
    assert "method.pooling: no such setting with method=random" in message


def test_all_problems_are_listed_together() -> None:
    message = error("budget=0", "seed=-1", "until=x")
    assert message.count("\n") == 2


def test_torch_is_not_imported_for_any_of_this() -> None:
    code = (
        "import sys; from harness.check import check, describe\n"
        "check(['experiment=demo']); describe()\n"
        "heavy = {'torch', 'transformers', 'datasets', 'lm_eval', 'pandas', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_itself_ends_with_code_2_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "method=rds_pluss"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: method=rds_pluss") and "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_yaml_starts_with_the_line_that_runs_it_and_it_composes(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    found = re.fullmatch(r"# (?:[A-Z_]+=\S+ )?python -m harness (.*)", lines[0])
    assert found, lines[0]
    words = [
        re.sub(r"=(DIR|POOL_DIR|BENCHMARKS_DIR|COMMIT|A|NAME)$", "=some_value", word)
        for word in found[1].split()
    ]
    if path.parent.name == "scale" and path.stem not in ("micro",):
        words += [f"{key}=x" for key in ("pool.path", "suite.data") if key not in found[1]]
    try:
        check(words)
    except UsageError as problem:
        # what is left open (a path of the user's) may be asked for, nothing else may be wrong
        assert "has to be given" in str(problem), problem
    if path.parent.name not in ("conf",):
        assert f"{path.parent.name}={path.stem}" in found[1]


def test_help_lists_groups_and_settings() -> None:
    groups, settings = describe()
    assert "rds_plus" in groups and "multi_task" in groups
    assert "budget" in settings and not GlobalHydra.instance().is_initialized()


def test_flags_may_stand_anywhere() -> None:
    words = ["seed=0,1", "-m", "--config-dir", "x", "method=random"]
    assert flags_first(words) == ["-m", "--config-dir", "x", "seed=0,1", "method=random"]
    assert check(["method=random,length", "-m"]).multirun


def test_a_users_own_configuration_folder_adds_choices(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: methods.random.Random\nname: mine\n")
    check(["--config-dir", str(tmp_path), "method=mine"])
    assert "mine" in error("--config-dir", str(tmp_path), "method=mien")


def test_a_chat_template_that_is_none_is_refused_before_any_tokenizer() -> None:
    text = error("+model.chat_template=Tulu")
    assert "chat_template='Tulu' is no template; it is tulu, null" in text
    check(["+model.chat_template=tulu"])
