"""Every public source's format is read as the paper's scripts read it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.pool import PoolError
from harness.pool.build import build
from harness.pool.recipe import names, read_recipe
from harness.pool.sources.records import CHUNK, records
from harness.pool.sources.sharegpt import pieces
from harness.pool.sources.trees import Trees
from tests.harness.pool.samples import HARD_CODED, JAILBREAK, write, write_hub

Rows = dict[str, list[list[tuple[str, str]]]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """Both pools from the samples: by recipe and source, the (role, content) of every row."""
    hub = write_hub(tmp_path_factory.mktemp("hub"))
    found: dict[str, Rows] = {}
    for name in names():
        out = tmp_path_factory.mktemp(name)
        build(read_recipe(name), out, local=hub, progress=False)
        found[name] = {}
        for path in sorted(out.rglob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                assert row["dataset"] == path.parent.name
                turns = [(m["role"], m["content"]) for m in row["messages"]]
                found[name].setdefault(row["dataset"], []).append(turns)
    return found


def ask(question: str, answer: str) -> list[tuple[str, str]]:
    return [("user", question), ("assistant", answer)]


def test_every_source_of_the_recipes_has_a_sample_that_gives_rows(built: dict[str, Rows]) -> None:
    for name, rows in built.items():
        assert set(rows) == set(read_recipe(name).sources)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("flan_v2", [ask("Is 3 odd?\n", "yes"), ask("Q: 2 + 2\nA:", "4")]),
        (
            "cot",
            [ask("Think. 1 + 1?\n", "1 and 1 make 2."), ask("Q: 0?\nA: 0\nQ: 5?\nA:", "5")],
        ),
        ("oasst1", [[*ask("Hello?", "Hello!"), *ask("Thanks", "Welcome.")]]),
        ("dolly", [ask("Name a colour.", "Blue"), ask("Who?\n\nAnn ran.", "Ann")]),
        ("code_alpaca", [ask("Loop.\n\nn", "for"), ask("Import.", "import")]),
        ("gpt4_alpaca", [ask("Add.\n\n1 2", "3"), ask("Say hi.", "hi")]),
        ("sharegpt", [ask("one", "two")]),
        ("lima", [ask("Ask", "Answer"), [*ask("a", "b"), *ask("c", "d")]]),
        ("wizardlm", [ask("Evolve", "Done")]),
        ("open_orca", [ask("1?", "one"), [("system", "Be brief."), *ask("2?", "two")]]),
        ("science", [ask("Abstract: none.", "none")]),
        ("hard_coded", [ask(*pair) for pair in HARD_CODED[1:]]),
    ],
)
def test_tulu_2(built: dict[str, Rows], source: str, expected: Any) -> None:
    assert built["tulu2_unfiltered"][source] == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("wildchat_gpt4", [ask("q", "four")]),
        ("sciriff", [ask("Paper?", "Yes.")]),
        ("table_gpt", [ask("|a|", "a")]),
        ("persona_algebra", [ask("x?", "1")]),
        ("open_math_2", [ask("gsm8k?", "1"), ask("augmented_gsm8k?", "1")]),
        ("wildjailbreak", [ask("plain", "no"), ask('with a "quote"\nand a line', "no\nreally")]),
        ("wildguardmix", [ask("bad?", "no")]),
        ("aya", [ask("Habari?", "Nzuri")]),
    ],
)
def test_tulu_3(built: dict[str, Rows], source: str, expected: Any) -> None:
    assert built["tulu3_unfiltered"][source] == expected


def test_parts_of_the_published_mixture_are_told_apart_by_its_source_column(
    built: dict[str, Rows],
) -> None:
    for source, word in [("hard_coded", "hard_coded"), ("coconot", "coconot"),
                         ("persona_math", "math_v5"), ("persona_gsm", "math-grade")]:  # fmt: skip
        rows = built["tulu3_unfiltered"][source]
        assert len(rows) == 3  # of four one is a duplicate
        assert all(word in turns[0][1] for turns in rows)


def test_counts_of_the_recipes_add_up_to_the_papers_totals() -> None:
    totals = {"tulu2_unfiltered": 5_817_792, "tulu3_unfiltered": 4_783_043}
    assert set(names()) == set(totals)
    for name, total in totals.items():
        recipe = read_recipe(name)
        assert recipe.rows == total == sum(source.rows for source in recipe.sources.values())


@pytest.mark.parametrize(
    ("exchanges", "expected"),
    [
        ([3, 3, 3], [(0, 3)]),
        ([6, 6, 3], [(0, 1), (1, 3)]),
        ([11, 3, 3], [(1, 3)]),  # too long by itself: left out
        ([3, 11, 3, 3], [(0, 1), (2, 4)]),
        ([6, 6], [(0, 1)]),  # as in the reference: a last exchange of its own is lost
        ([3, 11], [(0, 1)]),
        ([], []),
        ([10], [(0, 1)]),
    ],
)
def test_long_conversations_are_cut_between_exchanges(
    exchanges: list[int], expected: list[tuple[int, int]]
) -> None:
    assert list(pieces(exchanges, 10)) == expected


def test_a_tree_that_was_deleted_gives_nothing() -> None:
    root = {"role": "prompter", "text": "q", "deleted": True, "replies": []}
    assert Trees().conversations({"prompt": root}) == []


def test_a_long_array_is_read_record_by_record(tmp_path: Path) -> None:
    content = [{"text": "ä]}," * n} for n in (1, CHUNK, 0, 3 * CHUNK, 5)]
    path = tmp_path / "long.json"
    write(path, content)
    assert list(records(path)) == content
    (tmp_path / "empty.json").write_text(" [ ]")
    assert list(records(tmp_path / "empty.json")) == []


def test_a_damaged_file_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps([{"a": 1}, {"a": 2}])[:-6])
    with pytest.raises(PoolError, match=r"cut\.json, after record 1"):
        list(records(path))
    (tmp_path / "cut.jsonl").write_text('{"a": 1}\n{"a"')
    with pytest.raises(PoolError, match=r"cut\.jsonl, after record 1"):
        list(records(tmp_path / "cut.jsonl"))
    (tmp_path / "plain.xlsx").write_text("no archive")
    with pytest.raises(PoolError, match="after record 0"):
        list(records(tmp_path / "plain.xlsx"))
    with pytest.raises(PoolError, match=r"can be read are \.jsonl"):
        list(records(tmp_path / "data.csv"))


def test_fields_of_a_table_may_hold_quotes_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    write(path, JAILBREAK)
    assert list(records(path)) == JAILBREAK


def test_a_sheet_may_have_gaps_and_texts_of_its_own(tmp_path: Path) -> None:
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    text = '<c r="{}" t="inlineStr"><is><r><t>{}</t></r><r><t>!</t></r></is></c>'
    rows = [
        text.format("A1", "Prompt") + text.format("C1", "Output"),
        text.format("C2", "out"),
        "",
        text.format("A4", "in") + '<c r="C4"><v>7</v></c>',
    ]
    sheet = "".join(f'<row r="{i + 1}">{cells}</row>' for i, cells in enumerate(rows))
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {space}><sheetData>{sheet}</sheetData></worksheet>",
        )
    assert list(records(tmp_path / "x.xlsx")) == [
        {"Prompt!": None, "Output!": "out!"},
        {"Prompt!": "in!", "Output!": "7"},
    ]
