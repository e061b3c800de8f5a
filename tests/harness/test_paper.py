"""Published numbers: held against each other and the paper's formulas, and laid beside runs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from harness import paper
from harness.board import read_board
from harness.board_rows import BENCHMARKS
from harness.flops.paper import paper_forward, paper_train
from harness.record import Record, Score, StageCost, write_record
from harness.report.__main__ import main
from harness.report.compared import compare, markdown
from harness.report.published import points, write_published

N = 8e9  # of the plotting code


def cell(name: str, row: str, column: str) -> paper.Cell:
    (found,) = [c for c in paper.read_table(name).cells if (c.row, c.column) == (row, column)]
    return found


def run(method: str, level: float, *, budget: int = 64, seed: int = 0, **changes) -> Record:
    """A run with the same score on every benchmark."""
    fields = {
        "run_id": f"{method}-{level}-{budget}-{seed}", "status": "done", "pool": "micro",
        "pool_size": 100, "budget": budget, "target": "any", "model": "micro",
        "selector_model": "none", "recipe": "micro", "suite": "micro", "judge": "rule",
        "seed": seed, "ledger": [StageCost(stage="train", flops=1e9, flops_paper=2e9 * budget)],
        "scores": {
            name: Score(score=level, stderr=2.0, n=400, metric="em") for name in BENCHMARKS
        },
    }  # fmt: skip
    return Record(**{"method": method, **fields, **changes})


def chosen(level: float, **changes) -> Record:
    """A run of rds_plus for all benchmarks."""
    return run("rds_plus", level, **{"target": "multi_task", "selector_model": "micro", **changes})


def board(folder: Path, *records: Record):
    for record in records:
        write_record(record, folder / "records")
    return read_board([folder])


# -- the numbers ---------------------------------------------------------------------------------


def test_figure_4_meets_table_2_where_both_are_printed() -> None:
    assert cell("figure_4", "326k", "RDS+").published == cell("table_2", "RDS+", "Avg").published
    balanced = cell("table_2", "Rand. (bal.)", "Avg").published
    assert cell("figure_4", "326k", "Random (bal.)").published == balanced
    figure = paper.read_table("figure_4")
    assert len(figure.rows) == 11 and figure.columns == ["RDS+", "Random (bal.)"]
    assert [c.rows for c in figure.cells] == sorted(c.rows for c in figure.cells)
    assert "about 0.1" in figure.source  # read off a plot, and it says so


@pytest.mark.parametrize(
    ("table", "pool", "rows", "embedders"),
    [
        ("table_1_200k", 200_000, 10_000, True),
        ("table_1_5800k", 5_800_000, 10_000, True),
        ("table_2", 5_800_000, 326_000, True),
        ("table_3", 4_783_043, 939_344, False),
    ],
)
def test_costs_of_points_follow_the_plotting_codes_formulas(
    table: str, pool: int, rows: int, embedders: bool
) -> None:
    train, scan = paper_train(N, rows, 2), paper_forward(N, pool)
    wanted = {"random": train, "balanced": train, "length": train, "rds_plus": train + scan}
    wanted |= {"top_ppl": train + scan, "mid_ppl": train + scan, "embed_nv": train + scan}
    wanted["embed_gtr"] = train + paper_forward(110e6, pool)
    wanted["ifd"] = train + scan + paper_forward(N, 200_000) + paper_train(N, 1000, 1)
    wanted["less"] = 3 * paper_train(N, pool, 1) + 2 * train  # as the code has it
    means = [c for c in paper.read_table(table).cells if c.value == "mean"]
    assert means and (len(means) > 5) == embedders
    for one in means:
        assert one.flops == pytest.approx(wanted[one.match["method"][0]], rel=5e-4), one.row


def test_costs_of_figure_3() -> None:
    for one in paper.read_table("figure_4").cells:
        assert one.rows is not None
        scan = paper_forward(N, 5_800_000) if one.match["method"] == ("rds_plus",) else 0
        rows = min(one.rows, 5_800_000)
        assert one.flops == pytest.approx(paper_train(N, int(rows), 2) + scan, rel=5e-4), one.row
    # Figures that the plotting code gives (reference, part F).
    assert f"{cell('figure_4', '326k', 'RDS+').flops:.3g}" == "2.54e+20"
    assert f"{cell('figure_4', '1.2M', 'Random (bal.)').flops:.3g}" == "2.36e+20"


def test_every_word_of_a_table_is_one_of_ours() -> None:
    """Methods, targets and models that the tables name are files of conf/."""
    conf = Path(paper.__file__).parents[2] / "conf"
    for name in paper.names():
        for one in paper.read_table(name).cells:
            for key, group in (("method", "method"), ("target", "target"), ("model", "model")):
                for word in one.match.get(key, ()):
                    plain = word.partition("[")[0]
                    assert (
                        plain in ("any", "single_task")
                        or (conf / group / f"{plain}.yaml").is_file()
                    ), (name, word)


# -- beside ours ---------------------------------------------------------------------------------


def test_differences_and_gains_by_hand(tmp_path: Path) -> None:
    ours = board(tmp_path, run("random", 30), run("balanced", 33), chosen(42.5))
    (table,) = [t for t in compare(ours, ["table_2"])]
    cells = table.cells.set_index(["row", "column"])
    best = cells.loc[("RDS+", "Avg")]
    # Published 50.9, and 44.5 of random; ours 42.5 and 30.
    assert best.difference == pytest.approx(42.5 - 50.9)
    assert best.published_gain == pytest.approx(50.9 - 44.5)
    assert best.gain == pytest.approx(12.5)
    # The interval is that of our mean, moved: 7 benchmarks with a standard error of 2 each.
    assert best.ours_low < 42.5 < best.ours_high
    assert best.difference_high - best.difference == pytest.approx(best.ours_high - 42.5)
    assert best.ours_high - 42.5 == pytest.approx(1.96 * 2 / 7**0.5, rel=0.12)
    assert best.gain_low < 12.5 < best.gain_high
    one = cells.loc[("RDS+", "GSM8k")]
    assert one.difference == pytest.approx(42.5 - 35.2)
    assert one.ours_high - 42.5 == pytest.approx(1.96 * 2, rel=0.12)
    assert pd.isna(cells.loc[("Rand. (unbal.)", "Avg")].published_gain)  # it is the reference
    assert pd.isna(cells.loc[("IFD", "Avg")].difference)  # nobody ran it
    lines = {row: words for row, _, *words in table.differences()}
    assert list(lines) == ["Rand. (unbal.)", "Rand. (bal.)", "RDS+"]
    assert lines["RDS+"][0] == "−8.4" and lines["RDS+"][2:4] == ["+6.4", "+12.5"]
    assert re.search(
        r"\| RDS\+ \| Avg \| −8\.4 \| −\d\.\d to −\d\.\d \| \+6\.4 \|", markdown(table)
    )


def test_paper_asks_for_all_tables_that_runs_belong_to(tmp_path: Path) -> None:
    records = [run("random", 30), run("balanced", 33), chosen(42.5), chosen(50, budget=256)]
    ours = board(tmp_path, *records, run("random", 31, budget=256), run("balanced", 34, budget=256))
    found = {table.published.name: table for table in compare(ours, ["paper"])}
    # No single-task run, one selector, one model: Tables 1, 7, 8 and 9 would be next to empty.
    assert set(found) == {"table_2", "table_3", "figure_4"}
    assert found["table_2"].setting["budget"] == 256  # once, where most is filled
    assert not compare(board(tmp_path / "b", run("random", 1), run("balanced", 2)), ["paper"])
    asked = board(tmp_path / "c", run("random", 1, config={"compare": "paper"}), chosen(2))
    assert {table.published.name for table in compare(asked)} == {"table_2", "table_3"}
    assert paper.check_name("paper") == "paper"
    with pytest.raises(ValueError, match="paper takes all that runs belong to"):
        paper.check_name("papers")
    with pytest.raises(ValueError, match="no one table"):
        paper.read_table("paper")


def test_gains_are_over_the_cell_that_ours_is_held_against(tmp_path: Path) -> None:
    """Never over another budget, selector or trained model."""
    records = [run("balanced", 33), run("balanced", 35, budget=256), chosen(42.5)]
    records.append(chosen(50, budget=256))
    for record in records:
        write_record(record, tmp_path / "records")
    (figure,) = compare(read_board([tmp_path], "balanced"), ["figure_4"])
    cells = figure.cells.set_index(["row", "column"])
    best = cells.loc[("326k", "RDS+")]
    assert best.published_gain == pytest.approx(50.9 - 47.5) and best.gain == pytest.approx(15)
    assert cells.loc[("10k", "RDS+"), "gain"] == pytest.approx(9.5)
    assert cells.loc[("10k", "RDS+"), "published_gain"] == pytest.approx(43.5 - 41.1)
    assert cells.loc[("25k", "RDS+"), "published_gain"] == pytest.approx(45.1 - 42.6)  # no run
    assert cells.loc["10k", "Random (bal.)"][["gain", "published_gain"]].isna().all()
    # Table 2 has RDS+ for three targets: ours was held against that for all tasks.
    (table,) = [
        t for t in compare(read_board([tmp_path], "rds_plus"), ["table_2"])
        if t.setting["budget"] == 64
    ]  # fmt: skip
    cells = table.cells.set_index(["row", "column"])
    assert cells.loc[("Rand. (bal.)", "Avg"), "published_gain"] == pytest.approx(47.5 - 50.9)
    assert pd.isna(cells.loc[("IFD", "Avg"), "published_gain"])  # no run: which one is not said


@pytest.mark.parametrize("reference", ["rds_plus", "random"])
def test_table_8_names_no_baseline_and_has_no_gains(tmp_path: Path, reference: str) -> None:
    for level, model, selector in (
        (12, "micro", "micro_proxy"),
        (15, "micro", "micro"),
        (9, "micro_proxy", "micro"),
        (8, "micro_proxy", "micro_proxy"),
    ):
        one = chosen(level, model=model, selector_model=selector, run_id=f"{model}-{selector}")
        write_record(one, tmp_path / "records")
    write_record(run("random", 3), tmp_path / "records")
    (table,) = compare(read_board([tmp_path], reference), ["table_8"])
    assert table.cells["ours"].notna().sum() == 4
    assert table.cells[["gain", "published_gain"]].isna().all().all()
    assert table.heads == ["ours − paper", "95 %"]
    assert all(len(line) == 4 for line in table.differences())
    assert f"no row of {reference} that the others could be held against" in markdown(table)
    assert f"over {reference}" not in markdown(table)


def test_budgets_of_figure_4_are_matched_as_numbers(tmp_path: Path) -> None:
    ours = board(tmp_path, run("balanced", 33), chosen(42.5), chosen(50, budget=256),
                 run("full_pool", 60, budget=100, floor=True))  # fmt: skip
    (table,) = compare(ours, ["figure_4"])
    cells = table.cells.set_index(["row", "column"])
    assert cells.loc[("10k", "RDS+"), "ours"] == 42.5  # budget 64 of the embedded scale
    assert cells.loc[("326k", "RDS+"), "ours"] == 50
    assert cells.loc[("10k", "Random (bal.)"), "ours"] == 33
    assert (cells.loc["5.8M (all)", "ours"] == 60).all()
    assert cells.loc[("25k", "RDS+"), ["ours"]].isna().all()


def test_points_are_the_papers_and_ours(tmp_path: Path) -> None:
    ours = board(tmp_path, run("balanced", 33), chosen(42.5), chosen(50, budget=256))
    data = points(compare(ours, ["figure_4", "table_2"]))
    figure = data[data.table == "figure_4"]
    assert set(figure.axis) == {"flops", "rows"} and set(figure.side) == {"paper", "ours"}
    assert len(figure[(figure.side == "paper") & (figure.axis == "rows")]) == 22
    mine = figure[(figure.side == "ours") & (figure.line == "RDS+")].set_index(["axis", "score"])
    assert mine.loc[("rows", 42.5), "x"] == 64 and mine.loc[("flops", 50), "x"] == 2e9 * 256
    assert (mine.low < mine.high).all() and mine.micro.all()
    table = data[data.table == "table_2"]
    assert len(table[table.side == "paper"]) == 11  # once, though ours has two settings
    assert set(write_published(compare(ours, ["table_2"]), tmp_path / "plots")) == {
        "published_png", "published_svg", "published_csv",
    }  # fmt: skip
    assert write_published(compare(ours, ["table_9"]), tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_the_report_draws_and_prints_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board(tmp_path, run("random", 30), run("balanced", 33), chosen(42.5))
    assert main([str(tmp_path), "--compare", "paper"]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"RDS\+ +50\.2 .* 50\.9 *\n *ours: rds_plus, multi_task +42\.5 .* 42\.5", shown
    )
    assert re.search(r"RDS\+ +−8\.4 +−\d\.\d to −\d\.\d +\+6\.4 +\+12\.5", shown)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="published"' in page and "Beside the paper's figures" in page.replace("&#39;", "'")
    assert "no evidence for or against" in page and "−8.4" in page
    assert (tmp_path / "plots" / "published.svg").is_file()
