"""AlpacaEval: what is asked, the two rates, and the published boards from recorded verdicts."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.alpaca_eval import AlpacaEval, AlpacaEval2
from evaluation.alpaca_eval.length_control import PLACES, Judged, length_controlled
from evaluation.alpaca_eval.replay import Replayed, replay
from evaluation.base import Grading
from evaluation.judges import ReferenceRule
from evaluation.source import DataError, Source
from evaluation.statistics import mean_and_error

# -- length control -------------------------------------------------------------------------------


def write_gamed(path: Path, **changes: Any) -> Path:
    """A made-up ``df_gamed.csv``: two baselines that differ from the judged one by length alone."""
    import pandas as pd

    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=PLACES)
    parts = []
    for model, shift in (("verbose", 1.0), ("concise", -1.0)):
        length = shift + rng.normal(scale=0.3, size=PLACES)
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "index": range(PLACES),
                    "preference": 1 / (1 + np.exp(1.5 * np.tanh(length))),
                    "std_delta_len": length,
                    "instruction_difficulty": difficulty,
                    "not_gamed_baseline": False,
                }
            )
        )
    table = pd.concat(parts).assign(**changes)
    table.to_csv(path, index=False)
    return path


def judged(bias: float, quality: float) -> list[Judged]:
    """Answers of all lengths, judged by a judge who looks at length (``bias``) and at quality."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(150, 900, size=PLACES)
    delta = (200 - lengths) / np.std(lengths, ddof=1)
    chance = 1 / (1 + np.exp(-(quality + bias * np.tanh(delta))))
    return [
        Judged(place, float(chance[place]), "r" * 200, "a" * int(lengths[place]))
        for place in range(PLACES)
    ]


def rate(rows: Sequence[Judged], gamed: Path) -> float:
    return 100 * float(np.mean(length_controlled(rows, gamed)))


def test_length_control_takes_out_what_length_did_and_nothing_else(tmp_path: Path) -> None:
    import sklearn
    from alpaca_eval.metrics import glm_winrate

    gamed = write_gamed(tmp_path / "df_gamed.csv")
    before = (sklearn.get_config(), glm_winrate.hf_hub_download)
    # The answers are long, and the judge likes long ones: what it says at equal lengths is known.
    for quality in (0.0, 1.0):
        rows = judged(-1.5, quality)
        fair = 100 / (1 + np.exp(-quality))
        assert 100 * np.mean([row.preference for row in rows]) > fair + 10
        assert rate(rows, gamed) == pytest.approx(fair, abs=3)
    assert (sklearn.get_config(), glm_winrate.hf_hub_download) == before


def test_rows_keep_their_place_whatever_their_order_and_number(tmp_path: Path) -> None:
    gamed = write_gamed(tmp_path / "df_gamed.csv")
    rows = judged(-1.0, 0.5)
    some = [row for row in rows if row.place % 16]
    values = dict(zip([r.place for r in some], length_controlled(some, gamed), strict=True))
    back = length_controlled(some[::-1], gamed)
    assert [values[r.place] for r in some[::-1]] == pytest.approx(back, abs=0.02)
    unread = [Judged(r.place, float("nan"), r.reference, r.answer) for r in rows[:9]]
    assert rate([*unread, *rows[9:]], gamed) == pytest.approx(rate(rows, gamed), abs=1)
    with pytest.raises(DataError, match="place 805 is none of 0 to 804"):
        length_controlled([Judged(805, 1.0, "a", "b")], gamed)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    rows = judged(0, 0)
    with pytest.raises(DataError, match="not readable"):
        length_controlled(rows, tmp_path / "none.csv")
    other = tmp_path / "other.csv"
    other.write_text("model,index\na,0\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column preference, std_delta_len"):
        length_controlled(rows, other)
    wrong = write_gamed(tmp_path / "wrong.csv", index=np.r_[1 : PLACES + 1, 1 : PLACES + 1])
    with pytest.raises(DataError, match="not places 0 to 804"):
        length_controlled(rows, wrong)


def test_without_its_file_the_rate_is_missing_and_said_to_be(
    small_data: Path, tmp_path: Path
) -> None:
    source = Source(small_data)
    plain = AlpacaEval(n_queries=1)
    items, texts = plain.items(source), [["I say."]] * 3
    how = Grading(ReferenceRule(), tmp_path, source=source)
    note = plain.grade(items, texts, how).notes["length_controlled"]
    assert list(note) == ["missing"] and "no df_gamed.csv" in note["missing"]
    assert "suite.benchmarks.alpaca_eval.df_gamed" in note["missing"]
    wanted = AlpacaEval(n_queries=1, rate="length_controlled")
    with pytest.raises(DataError, match=r"no df_gamed\.csv .* hub data set tatsu-lab/alpaca_eval"):
        wanted.files(source)
    named = AlpacaEval(n_queries=1, df_gamed=str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"no df_gamed\.csv"):
        named.files(source)
    # Other instructions than AlpacaEval's have no difficulties.
    gamed = write_gamed(tmp_path / "df_gamed.csv")
    there = AlpacaEval(n_queries=1, df_gamed=str(gamed))
    with pytest.raises(DataError, match="805 instructions in their order, and these 4 are others"):
        there.files(source)
    assert str(tmp_path) not in json.dumps(there.identity())


@pytest.mark.shared_data
def test_the_rate_by_length_control_on_the_real_instructions(
    shared_data: Path, tmp_path: Path
) -> None:
    source = Source(shared_data / "benchmarks")
    gamed = write_gamed(tmp_path / "df_gamed.csv")
    benchmark = AlpacaEval(n_queries=0, rate="length_controlled", df_gamed=str(gamed))
    assert benchmark.metric_name == "length_controlled_win_rate"
    assert "alpaca_eval/df_gamed.csv" in benchmark.files(source)
    items = benchmark.items(source)
    assert [item.id for item in items] == [str(place) for place in range(805)]
    outputs = [[" ".join(item.target.split()[: 1 + int(item.id) % 50])] for item in items]
    grades = benchmark.grade(items, outputs, Grading(ReferenceRule(), tmp_path, source=source))
    score, error = mean_and_error(grades.values, ["" for _ in items], "items")
    note = grades.notes["length_controlled"]
    assert (note["win_rate"], note["standard_error"], note["n"]) == (score, error, 805)
    assert grades.notes["alpaca_eval"]["win_rate"] != pytest.approx(score, abs=0.1)


# -- what is asked --------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_both_boards_have_50_queries_and_755_items_or_all_805(shared_data: Path) -> None:
    source = Source(shared_data / "benchmarks")
    one, two = AlpacaEval(), AlpacaEval2()
    for benchmark in (one, two):
        items, left_out = benchmark.test_items(source)
        assert (len(benchmark.queries(source)), len(items), left_out) == (50, 755, [])
        whole = benchmark.model_copy(update={"n_queries": 0})
        assert (len(whole.queries(source)), len(whole.test_items(source)[0])) == (0, 805)
    # The same split, other references.
    assert [i.id for i in one.items(source)] == [i.id for i in two.items(source)]
    assert [i.prompt for i in one.items(source)] == [i.prompt for i in two.items(source)]
    assert sum(a.target == b.target for a, b in zip(one.items(source), two.items(source))) < 9  # noqa: B905


def test_a_suite_of_each_board_is_at_hand(small_data: Path) -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    conf = Path(__file__).parents[2] / "conf" / "suite"
    for name in ("alpaca_eval", "alpaca_eval_2"):
        config = OmegaConf.load(conf / f"{name}.yaml")
        assert isinstance(config, type(OmegaConf.create({})))
        config.data = str(small_data)
        suite = instantiate(config, _convert_="all")
        if name == "alpaca_eval":
            suite.check()
            assert suite.queries() == {"alpaca_eval": []}
        else:
            with pytest.raises(DataError, match=r"no file alpaca_eval/alpaca_eval_gpt4_baseline"):
                suite.check()


# -- published boards -----------------------------------------------------------------------------


def some_of(shared_data: Path, folder: Path, models: dict[str, list[str]]) -> Source:
    """A folder with the verdicts on a few models, and all that they need."""
    real, here = shared_data / "benchmarks" / "alpaca_eval", folder / "alpaca_eval"
    here.mkdir(parents=True)
    for name in ("model_outputs", "alpaca_eval.json"):
        (here / name).symlink_to(real / name)
    for table in real.glob("*.csv"):
        (here / table.name).symlink_to(table)
    for kind, names in models.items():
        (here / kind).mkdir()
        for name in names:
            shutil.copy(real / kind / f"{name}.jsonl.gz", here / kind)
    return Source(folder)


def by_metric(found: list[Replayed]) -> dict[str, Replayed]:
    return {one.metric: one for one in found}


@pytest.mark.shared_data
def test_recorded_verdicts_give_the_published_boards(shared_data: Path, tmp_path: Path) -> None:
    """The models with a null verdict, with ties of both kinds, and with 803 answers."""
    source = some_of(
        shared_data,
        tmp_path,
        {
            "annotations_gpt4": ["gpt-3.5-turbo-0301", "text_davinci_001"],
            "annotations_weighted_gpt4_turbo": ["gpt4_1106_preview", "text_davinci_001"],
        },
    )
    found = replay(source)
    assert [one for one in found if not one.ok] == []
    one = by_metric([f for f in found if f.model == "gpt-3.5-turbo-0301"])
    assert one["win_rate"].ours == pytest.approx(89.36567164179104, rel=1e-15)
    counts = ("n_wins", "n_wins_base", "n_draws", "n_total", "avg_length")
    assert [one[metric].ours for metric in counts] == [716, 83, 5, 804, 827]
    assert one["length_controlled_winrate"].ours is None
    assert "not published" in one["length_controlled_winrate"].missing
    base = by_metric([f for f in found if f.model == "gpt4_1106_preview"])
    assert (base["win_rate"].ours, base["length_controlled_winrate"].ours) == (50, 50)
    fewer = by_metric([f for f in found if f.board.startswith("weighted") and "001" in f.model])
    assert fewer["n_total"].ours == 803
    assert "no df_gamed.csv" in fewer["length_controlled_winrate"].missing


@pytest.mark.shared_data
def test_one_verdict_changed_is_a_mismatch(shared_data: Path, tmp_path: Path) -> None:
    source = some_of(shared_data, tmp_path, {"annotations_gpt4": ["vicuna-13b"]})
    path = tmp_path / "alpaca_eval/annotations_gpt4/vicuna-13b.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    changed = next(row for row in rows if row["preference"] == 2)
    changed["preference"] = 1
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    wrong = {one.metric for one in replay(source) if not one.ok}
    assert wrong == {"win_rate", "standard_error", "n_wins", "n_wins_base", "discrete_win_rate"}


@pytest.mark.shared_data
@pytest.mark.slow
def test_all_recorded_models_give_the_published_boards(shared_data: Path) -> None:
    found = replay(Source(shared_data / "benchmarks"))
    rates = {(one.board, one.model) for one in found if one.metric == "win_rate"}
    assert len([one for one in rates if "(" not in one[0]]) == 30
    assert [one for one in found if not one.ok] == []


def test_a_folder_without_verdicts_says_so(small_data: Path) -> None:
    with pytest.raises(DataError, match="no recorded verdicts"):
        replay(Source(small_data))
    assert not Replayed("b", "m", "win_rate", 50.0, 50.0000001).ok
    assert Replayed("b", "m", "win_rate", 26.459627329192546, 26.459627329192543).ok
    assert Replayed("b", "m", "lc", None, 50.0, missing="no file").ok
    assert not Replayed("b", "m", "win_rate", None, 50.0).ok
