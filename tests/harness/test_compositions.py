"""What the paper's methods select, by source: its numbers, and ours laid beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness import paper
from harness.board import Board
from harness.pool.recipe import read_recipe
from harness.record import Record, Selection
from harness.report.__main__ import main
from harness.report.compared import compare, markdown, write_compared
from harness.report.compared_sources import Composition, distance
from harness.report.composition_figure import bars, drawn
from tests.harness.test_paper import board, run

RECIPE = {name: source.rows for name, source in read_recipe("tulu2_unfiltered").sources.items()}


def column(table: str, name: str) -> dict[str, int]:
    """The published rows by source, those of none left out."""
    cells = [c for c in paper.read_table(table).cells if c.column == name]
    return {c.row: int(c.published) for c in cells if c.published}


def selected(method: str, sources: dict[str, int], **changes) -> Record:
    """A run on the paper's pool that selected these."""
    fields = {
        "pool": "tulu2_unfiltered", "pool_size": 5_817_792, "budget": sum(sources.values()),
        "model": "llama2_7b", "suite": "paper", "recipe": "paper",
        "selection": Selection(rows=sum(sources.values()), sources=sources, pool_sources=RECIPE),
    }  # fmt: skip
    return run(method, 30, **{**fields, **changes})


def ours(found: Board, name: str = "table_10") -> Composition:
    (table,) = compare(found, [name])
    assert isinstance(table, Composition)
    return table


def line(table: Composition, name: str) -> pd.Series:
    return table.distances.set_index("column").loc[name]


# -- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table_10", "table_11"])
def test_every_column_is_a_whole_selection_and_the_pool_is_the_recipes(name: str) -> None:
    table = paper.read_table(name)
    for one in table.columns:
        total = 5_817_792 if one == "Pool" else 10_000 if one.endswith(" 10k") else 326_000
        assert sum(column(name, one).values()) == total, one
    assert column(name, table.pool) == RECIPE
    # A source of ours has one row, and every row is a source of ours.
    patterns = {c.row: c.value.split("|")[0] for c in table.cells}
    assert patterns == {source: source for source in RECIPE}


def test_what_the_tables_say_of_chance_and_choice() -> None:
    assert distance(column("table_10", "Random"), RECIPE) < 0.1  # a sample of the pool
    gsm8k = column("table_10", "GSM8k")
    assert distance(gsm8k, RECIPE) == pytest.approx(37.4, abs=0.05)
    assert max(gsm8k, key=lambda name: gsm8k[name] / RECIPE[name]) == "cot"


def test_a_distance_by_hand() -> None:
    # Shares 50, 50, 0 and 25, 25, 50: half of 25 + 25 + 50. Counts of unlike size do not matter.
    assert distance({"a": 1, "b": 1}, {"a": 5, "b": 5, "c": 10}) == 50
    assert distance({"a": 7}, {"a": 2}) == 0 and distance({"a": 7}, {"b": 2}) == 100
    with pytest.raises(ValueError, match="no rows"):
        distance({"a": 0}, {"a": 1})


# -- beside ours ---------------------------------------------------------------------------------


def test_the_papers_own_counts_lie_nowhere_else(tmp_path: Path) -> None:
    """What acceptance looks like: the published counts, from a pool of the published counts."""
    own = {"target": "multi_task", "selector_model": "llama2_7b"}
    sources = column("table_10", "Round-robin")
    split = dict(sources, **{"science.a": 4, "science.b": 5})
    del split["science"]  # the released pool names its parts
    random = column("table_10", "Random")
    moved = random | {"cot": random["cot"] + 3260, "open_orca": random["open_orca"] - 3260}
    table = ours(
        board(tmp_path, selected("rds_plus", split, **own), selected("random", random, seed=0),
              selected("random", moved, seed=1))
    )  # fmt: skip
    assert not table.others and "has the paper's rows of every source" in table.caption
    assert line(table, "Round-robin").distance == pytest.approx(0, abs=1e-9)
    assert line(table, "Pool").distance == pytest.approx(0, abs=1e-9)
    # 3,260 of 326,000 rows moved in one of two seeds: 0 and 1 %.
    drawn_twice = line(table, "Random")
    assert drawn_twice.distance == pytest.approx(0.5) and drawn_twice.n_seeds == 2
    assert drawn_twice.distance_sd == pytest.approx(0.5**0.5)
    assert drawn_twice.between_seeds == pytest.approx(1)
    assert pd.isna(line(table, "GSM8k").n_seeds)  # nobody ran it
    cells = table.cells.set_index(["row", "column"])
    cot = cells.loc[("cot", "Random")]
    assert cot.published_rows == 22396 and cot.published == pytest.approx(100 * 22396 / 326000)
    assert cot.difference == pytest.approx(0.5) and cot.ours_sd == pytest.approx(0.5**0.5)
    assert cells.loc[("science", "Round-robin"), "rows"] == 9
    assert table.pair("cot", "Random") == ("6.9", "7.4 ± 0.7")
    found = {name: texts for name, _, *texts in table.differences()}
    assert found["Random"][0] == "0.5 ± 0.7" and found["Round-robin"][0] == "0.0"
    assert table.label("column", "Round-robin") == "rds_plus, multi_task"


def test_runs_that_differ_in_the_training_alone_are_one_selection(tmp_path: Path) -> None:
    random = column("table_10", "Random")
    table = ours(
        board(tmp_path, selected("random", random), selected("random", random, recipe="lora",
              run_id="again"), selected("rds_plus", random, selector_model="qwen25_1p5b"))
    )  # fmt: skip
    assert line(table, "Random").n_seeds == 1
    assert pd.isna(line(table, "Random").distance_sd)
    assert pd.isna(line(table, "Round-robin").n_seeds)  # the paper selects with the trained model


def test_a_selection_is_laid_beside_that_of_its_budget(tmp_path: Path) -> None:
    small, large = (column("table_11", f"IFD {size}") for size in ("10k", "326k"))
    table = ours(board(tmp_path, selected("ifd", large), selected("ifd", small)), "table_11")
    assert line(table, "IFD 10k").distance == pytest.approx(0, abs=1e-9)
    assert line(table, "IFD 326k").distance == pytest.approx(0, abs=1e-9)
    # The row that the paper leaves out is no selected row.
    assert distance(large, RECIPE) == pytest.approx(line(table, "IFD 326k").from_pool)


def test_a_pool_of_the_same_sources_in_other_numbers_says_so(tmp_path: Path) -> None:
    pool = {name: 100 for name in RECIPE}
    one = selected("random", {"cot": 5, "dolly": 5})
    one.selection.pool_sources = pool
    table = ours(board(tmp_path, one))
    apart = distance(pool, RECIPE)
    assert f"composition lies {apart:.1f} % from the paper's" in table.caption
    assert line(table, "Pool").distance == pytest.approx(apart)


def test_a_pool_of_other_sources_has_no_distance_to_the_papers(tmp_path: Path) -> None:
    mine = Selection(
        rows=4, sources={"puzzles": 3, "a|b": 1}, pool_sources={"puzzles": 5, "a|b": 5}
    )
    one = run("rds_plus", 30, target="multi_task", selector_model="micro", selection=mine)
    table = ours(board(tmp_path, one))
    assert table.others == ("a|b", "puzzles") and table.micro
    assert "no evidence" in table.caption
    assert pd.isna(line(table, "Round-robin").distance)
    assert line(table, "Round-robin").from_pool == pytest.approx(25)
    assert len(table.heads) == 3 and table.differences() == [
        ("Round-robin", "", "18.8", "25.0", "")
    ]
    assert table.pair("puzzles", "Round-robin") == ("", "75.0")
    assert table.pair("cot", "Round-robin") == ("15.5", "")  # there is none to select from
    assert r"| a\|b |" in markdown(table) and not drawn([table])
    elsewhere = board(tmp_path / "b", one.model_copy(update={"pool": "mine"}))
    assert "Our pool is not the paper's: 2 of its sources" in ours(elsewhere).caption


def test_paper_asks_for_it_when_more_than_random_was_run(tmp_path: Path) -> None:
    random = selected("random", column("table_10", "Random"))
    assert not compare(board(tmp_path / "a", random), ["paper"])
    mixed = board(tmp_path / "b", random, selected("top_ppl", column("table_11", "Top-PPL 326k")))
    assert "table_11" in {table.published.name for table in compare(mixed, ["paper"])}


def test_it_is_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {"target": "multi_task", "selector_model": "llama2_7b"}
    found = board(tmp_path, selected("rds_plus", column("table_10", "Round-robin"), **own))
    (table,) = compare(found, ["table_10"])
    assert set(write_compared([table], tmp_path / "x")) == {
        "table_10_csv", "table_10_distances_csv", "table_10_md",
    }  # fmt: skip
    data = bars(ours(found))
    assert list(dict.fromkeys(data.bar)) == [
        "Pool, paper", "Pool, ours", "Round-robin, paper", "Round-robin, ours",
    ]  # fmt: skip
    assert data.groupby("bar").share.sum().to_numpy() == pytest.approx(1)
    assert main([str(tmp_path), "--compare", "table_10"]) == 0
    assert "ours from the paper's" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="composition_table_10"' in page and "half the sum of the differences" in page
    assert (tmp_path / "plots" / "composition_table_10.png").is_file()
    written = pd.read_csv(tmp_path / "compared" / "table_10.csv")
    assert written.query("column == 'Round-robin'").published_rows.sum() == 326_000
