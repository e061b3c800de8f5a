"""Contamination: benchmark texts in a pool are found, nothing else is, and rows can be left out."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.contamination.found as scanning
from evaluation.suite import Suite
from harness.artifacts import Store
from harness.contamination import Detector, Index, Text, remove, scan, texts_of
from harness.contamination.__main__ import _suite, main
from harness.contamination.index import RULES
from harness.contamination.texts import outside_texts, parts, shared_passages
from harness.contamination.words import words
from harness.pool import PoolConfig, PoolError
from harness.record import Contamination, read_record
from tests.conftest import MakePool, conversation

SUM = "Ada has 3 apples and buys 4 more. How many apples does she have now?"
LONG = " ".join(f"word{i}" for i in range(22))  # ten 13-grams


def found(texts: Sequence[str], *rows: list[str], **settings: Any) -> list[tuple[Any, ...]]:
    """(row, text, rule, share, turn) of what is found in rows of turns."""
    given = [Text("bench", "test", str(i), text) for i, text in enumerate(texts)]
    index = Index(given, Detector(**settings))
    turns = [turn for row in rows for turn in row]
    hits = index.search(turns, np.repeat(np.arange(len(rows)), [len(row) for row in rows]))
    return [
        (int(row), int(text), RULES[rule], round(float(share), 4), int(turn))
        for row, text, rule, share, turn in zip(
            hits.row, hits.text, hits.rule, hits.share, hits.turn, strict=True
        )
    ]


# -- words ---------------------------------------------------------------------------------------


def test_case_punctuation_and_blanks_do_not_count() -> None:
    assert words("  What's 3_000 + \n4?") == ["what", "s", "3", "000", "4"]
    assert words("Ünï-CODE № x²") == ["ünï", "code", "no", "x2"]  # NFKC
    assert words("!?") == []


def test_scripts_without_blanks_give_a_word_a_character() -> None:
    assert words("GPT是什么?") == ["gpt", "是", "什", "么"]
    assert words("Что такое GPT?") == ["что", "такое", "gpt"]


# -- the rules -----------------------------------------------------------------------------------


def test_a_turn_that_is_the_text_is_found_whatever_its_marks() -> None:
    rows = [["hello there", "no"], ["ADA has 3 apples, and buys 4 more!\nhow many apples does she "
            "have now", "7"], ["What is it?", SUM]]  # fmt: skip
    assert found([SUM], *rows) == [(1, 0, "exact", 1.0, 0), (2, 0, "exact", 1.0, 1)]


def test_a_turn_that_holds_the_text_is_found() -> None:
    assert found([SUM], ["x", f"Solve: {SUM} Think first."]) == [(0, 0, "whole", 1.0, 1)]
    assert found([SUM], ["x", f"Solve: {SUM.replace('buys', 'sells')}"]) == []


def test_a_short_text_in_a_longer_turn_is_found_from_thirty_characters_on() -> None:
    long, short = "name the capital of new zealand", "why is the sky so blue"  # 31 and 22
    row = [f"Please: {long}; and {short}?"]
    assert found([long, short], row) == [(0, 0, "whole", 1.0, 0)]
    assert found([long, short], [short]) == [(0, 1, "exact", 1.0, 0)]
    assert found([long, short], row, min_chars=22) == [
        (0, 0, "whole", 1.0, 0), (0, 1, "whole", 1.0, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["Yes", "Why now?", "A. B.", "", "Is it true"])
def test_a_text_of_few_words_flags_nothing(text: str) -> None:
    assert found([text], [text or "x", f"{text} {text} {text}"]) == []


def test_a_word_is_found_whole_or_not_at_all() -> None:
    assert found(["name the capital of new zealand"], ["Name the capital of New Zealanders"]) == []


def test_the_share_of_n_grams_is_that_of_the_text() -> None:
    some = LONG.split()
    eight, seven = " ".join(some[:20]), " ".join(some[:19])  # 8 and 7 of the ten 13-grams
    assert found([LONG], [eight], [seven]) == [(0, 0, "ngram", 0.8, 0)]
    assert found([LONG], [eight], [seven], threshold=0.7) == [
        (0, 0, "ngram", 0.8, 0), (1, 0, "ngram", 0.7, 0)
    ]  # fmt: skip
    assert found([LONG], [eight], threshold=1.0) == []


def test_an_n_gram_counts_once_however_often_it_stands_there() -> None:
    eight = " ".join(LONG.split()[:13])
    assert found([LONG], [f"{eight}. " * 20], threshold=0.2) == []


def test_turns_add_up_but_no_n_gram_reaches_over_their_border() -> None:
    some = LONG.split()
    row = [" ".join(some[:17]), " ".join(some[5:])]  # n-grams 0-4 in one turn, 5-9 in the other
    assert found([LONG], ["x"], row) == [(1, 0, "ngram", 1.0, 0)]
    cut = [" ".join(some[:11]), " ".join(some[11:])]
    assert found([LONG], cut, threshold=0.01) == []
    assert found([SUM], [SUM[:30], SUM[30:]]) == []


def test_rows_without_words_and_no_texts_at_all_do_no_harm() -> None:
    assert found([SUM], ["!!", "..."], ["?"]) == []
    assert found([], [SUM]) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_found_as_by_looking_at_every_n_gram(seed: int) -> None:
    """Against sets of tuples: few words, so that n-grams repeat within and between texts."""
    rng = random.Random(seed)
    alphabet = [f"w{i}" for i in range(4)]

    def some(low: int, high: int) -> list[str]:
        return [rng.choice(alphabet) for _ in range(rng.randint(low, high))]

    detector = Detector(ngram=5, threshold=0.5, min_words=3, min_chars=9)
    texts = [some(1, 12) for _ in range(60)]
    rows = [[some(0, 25) for _ in range(rng.randint(1, 3))] for _ in range(80)]
    rows += [[some(0, 9), rng.choice(texts)] for _ in range(20)]

    def grams(text: list[str], n: int) -> set[tuple[str, ...]]:
        return {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}

    expected = {}
    for r, row in enumerate(rows):
        for t, text in enumerate(texts):
            if len(text) < 3 or texts.index(text) != t:  # equal texts: the first
                continue
            n = min(5, len(text))
            wanted = grams(text, n)
            long = len(text) >= 5 or len(" ".join(text)) >= 9
            share = len(wanted & set().union(*(grams(turn, n) for turn in row))) / len(wanted)
            if text in row:
                expected[r, t] = ("exact", 1.0)
            elif long and any(wanted <= grams(turn, n) for turn in row):
                expected[r, t] = ("whole", 1.0)
            elif long and share >= 0.5:
                expected[r, t] = ("ngram", round(share, 4))
    plain = [[" ".join(turn) for turn in row] for row in rows]
    got = found([" ".join(text) for text in texts], *plain, **detector.model_dump())
    assert {(r, t): (rule, share) for r, t, rule, share, _ in got} == expected
    assert {rule for rule, _ in expected.values()} == set(RULES)


# -- which texts ---------------------------------------------------------------------------------


def test_an_item_gives_its_parts() -> None:
    choices = "ABCD"
    question = "Which gas do\nplants take in?\nA. Oxygen\nB. Carbon dioxide\nC. Argon\nD. Neon"
    assert list(parts(question, choices=choices)) == [question, "Which gas do\nplants take in?"]
    code = 'def inc(x):\n    """ Return x plus one.\n    >>> inc(1)\n    2\n    """\n'
    assert list(parts(code)) == [code, " Return x plus one."]
    assert list(parts("a passage\n\nits end\n\nq?", passages=True)) == [
        "a passage\n\nits end", "q?"
    ]  # fmt: skip
    assert list(parts("a letter\n\nits end")) == ["a letter\n\nits end"]


def test_passages_are_told_by_being_shared() -> None:
    assert shared_passages(["p\n\na", "p\n\nb", "q\n\nc", "q\n\nd", "alone\n\ne"])
    assert not shared_passages(["Dear Sir\n\nBye", "Dear Sir\n\nYours", "Hi", "Ho", "Hu"])
    assert not shared_passages(["What?", "Who?"])
    assert not shared_passages([])


def test_sets_that_no_suite_scores_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "arena_hard").mkdir()
    line = json.dumps({"uid": "u1", "prompt": "Write a sonnet on rust."})
    (tmp_path / "arena_hard/question.jsonl").write_text(line + "\n")
    (tmp_path / "xquad").mkdir()
    question = {"id": "7", "question": "Who?", "answers": []}
    data = {"data": [{"paragraphs": [{"context": "Ana did.", "qas": [question]}]}]}
    with gzip.open(tmp_path / "xquad/xquad.es.json.gz", "wt") as stream:
        json.dump(data, stream)
    assert [(text.benchmark, text.text) for text in outside_texts(tmp_path)] == [
        ("arena_hard", "Write a sonnet on rust."), ("xquad", "Who?"), ("xquad", "Ana did.")
    ]  # fmt: skip


# -- a pool --------------------------------------------------------------------------------------


@pytest.fixture
def suite(world: Path) -> Suite:
    """The embedded world's, scored on two items a benchmark."""
    return _suite("micro", world / "benchmarks").model_copy(update={"limit": 2})


def leaky(suite: Suite, count: int) -> tuple[list[dict[str, Any]], set[str]]:
    """Rows of which some hold a sum's test item, one a query; and the ids of those."""
    gsm8k = suite.benchmarks["gsm8k"]
    tests = [item.text for item in gsm8k.items(suite.source())]
    query = gsm8k.query_text(gsm8k.queries(suite.source())[0])
    rows = [
        {"id": f"r{i}", "dataset": f"s{i % 2}", "messages": conversation(f"Tell me of {i}.", "No.")}
        for i in range(count)
    ]
    rows[1]["messages"] = conversation(tests[0], "1")
    rows[2]["messages"] = conversation("Give me a riddle.", f"Gladly! {tests[1]}")
    rows[count - 1]["messages"] = conversation("Hi.", "Hello.", query.upper(), "2")
    return rows, {"r1", "r2", f"r{count - 1}"}


def test_turns_are_those_of_the_rows(make_pool: MakePool) -> None:
    rows = [
        {"id": str(i), "messages": conversation(*(f"{i}.{j}" for j in range(2 + i % 3)))}
        for i in range(2100)
    ]
    pool = make_pool(rows)
    for some in (range(0, 2100), range(1000, 1030), range(1024, 2048), range(2099, 2100)):
        texts, row = pool.turns(some)
        expected = [
            (turn["content"], i) for i, one in enumerate(pool.rows(some)) for turn in one.messages
        ]
        assert list(zip(texts, row.tolist(), strict=True)) == expected
    assert pool.turns(range(5, 5))[0] == []


def test_rows_are_counted_by_benchmark_and_part(
    make_pool: MakePool, store: Store, suite: Suite
) -> None:
    rows, flagged = leaky(suite, 50)
    pool = make_pool(rows)
    got = scan(pool, texts_of(suite, store), store, progress=False)
    assert set(pool.ids(got.rows)) == flagged
    summary = got.summary("report")
    assert summary.benchmarks["gsm8k"] == {"test": 2, "query": 1}
    assert summary.benchmarks["mmlu"] == {"test": 0, "query": 0}
    assert set(summary.benchmarks) == set(suite.benchmarks)
    assert summary.rules == {"exact": 2, "whole": 1, "ngram": 0}
    assert (summary.rows, summary.flagged, summary.removed) == (50, 3, 0)
    lines = {line["id"]: line for line in got.lines()}
    assert (lines["r2"]["rule"], lines["r2"]["turn"], lines["r2"]["role"]) == (
        "whole", 1, "assistant",
    )  # fmt: skip
    assert (lines["r49"]["part"], lines["r49"]["turn"]) == ("query", 2)


def test_only_rows_in_use_count_and_ranges_do_not_matter(
    make_pool: MakePool, store: Store, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = leaky(suite, 50)
    pool, texts = make_pool(rows), texts_of(suite, store)
    every = scan(pool, texts, store, progress=False)
    monkeypatch.setattr(scanning, "ROWS", 7)
    monkeypatch.setattr(scanning, "BLOCK_ROWS", 3)
    again = scan(pool, texts, store, progress=False)
    assert again.row.tolist() == every.row.tolist()
    assert again.text.tolist() == every.text.tolist()
    last = int(every.rows[-1])
    fewer = scan(make_pool(rows, size=last), texts, store, progress=False)
    assert fewer.rows.tolist() == [row for row in every.rows.tolist() if row < last]


def test_what_was_found_is_kept_and_needs_no_texts(
    make_pool: MakePool, store: Store, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = leaky(suite, 50)
    pool = make_pool(rows)
    once = scan(pool, texts_of(suite, store), store, progress=False)

    def refuse(*_: Any) -> None:
        raise AssertionError("texts were read again")

    monkeypatch.setattr(scanning, "suite_texts", refuse)
    monkeypatch.setattr(scanning, "Index", refuse)
    later = Store(store.root)
    again = scan(pool, texts_of(suite, later), later, progress=False)
    assert again.summary("report") == once.summary("report")
    with pytest.raises(AssertionError):  # another threshold is another question
        scan(pool, texts_of(suite, later), later, detector=Detector(threshold=0.5), progress=False)


def test_a_pool_without_the_rows_keeps_order_and_gives_full_sizes(
    make_pool: MakePool, store: Store, suite: Suite
) -> None:
    rows, flagged = leaky(suite, 50)
    pool, texts = make_pool(rows), texts_of(suite, store)
    clean = remove(pool, texts, store, progress=False)
    left = [id for id in pool.ids(range(50)) if id not in flagged]
    assert clean.ids(range(clean.size)) == left
    assert clean.digest != pool.digest
    assert clean.count_sources() == {"s0": 24, "s1": 23}
    assert [row.messages for row in clean.rows(range(47))] == [
        row.messages for row in pool.rows(range(50)) if row.id not in flagged
    ]
    # A size counts rows that are left, and a smaller pool is a prefix of the larger.
    small = remove(make_pool(rows, size=40), texts, store, size=40, progress=False)
    assert (small.size, small.digest, small.ids(range(40))) == (40, clean.digest, left[:40])
    with gzip.open(clean.path / "contaminated.jsonl.gz", "rt") as stream:
        assert {json.loads(line)["id"] for line in stream} == flagged
    assert clean.contamination is not None
    assert (clean.contamination["rows"], clean.contamination["removed"]) == (50, 3)
    assert clean.contamination["benchmarks"]["gsm8k"] == {"test": 2, "query": 1}
    with pytest.raises(PoolError, match="47 usable rows"):
        remove(pool, texts, store, size=48, progress=False)


def test_a_pool_of_nothing_else_is_refused(make_pool: MakePool, store: Store, suite: Suite) -> None:
    rows, _ = leaky(suite, 50)
    with pytest.raises(PoolError, match=r"each of the pool's 2 rows"):
        remove(make_pool(rows[1:3]), texts_of(suite, store), store, progress=False)


def test_the_switch_is_part_of_a_pools_name_only_where_it_removes() -> None:
    labels = {
        mode: PoolConfig(name="p", path="x", contamination=mode).label
        for mode in ("off", "report", "remove")
    }
    assert labels == {"off": "p", "report": "p", "remove": "p[contamination=remove]"}
    assert PoolConfig(name="p", path="x", contamination=False).contamination == "off"  # YAML's off
    both = PoolConfig(name="p", path="x", contamination="remove", order="balanced")
    assert both.label == "p[order=balanced,contamination=remove]"


def test_runs_record_what_was_found_and_what_was_left_out(tmp_path: Path, suite: Suite) -> None:
    from hydra import compose, initialize_config_module

    from harness.run import run
    from harness.settings import build

    rows, _ = leaky(suite, 40)
    pool = tmp_path / "rows.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "method=random", "pool=jsonl", f"pool.path={pool}", "pool.size=30", "budget=8",
        "recipe.epochs=1", "suite.limit=2", "progress=false", f"suite.data={suite.data}",
        "~suite.benchmarks.codex", "~suite.benchmarks.alpaca_eval", "~suite.benchmarks.bbh",
        f"out={tmp_path / 'out'}", f"store={tmp_path / 'store'}",
    ]  # fmt: skip
    records = {}
    with initialize_config_module("conf", version_base="1.3"):
        for mode in ("off", "report", "remove"):
            over = [*words, f"pool.contamination={mode}", "overwrite=always"]
            records[mode] = run(build(compose("config", overrides=over)))
    assert all(record is not None and record.pool_size == 30 for record in records.values())
    off, report, removed = (record.contamination for record in records.values() if record)
    assert off == Contamination()
    assert (report.mode, report.rows, report.removed) == ("report", 30, 0)
    assert (removed.mode, removed.rows, removed.flagged, removed.removed) == ("remove", 40, 3, 3)
    assert removed.benchmarks["gsm8k"] == {"test": 2, "query": 1}
    assert removed.detector["threshold"] == 0.8
    assert removed.texts_digest == report.texts_digest
    names = [record.run_id for record in records.values() if record]
    assert names[0] == names[1] != names[2]  # the same run, unless rows are left out
    assert read_record(tmp_path / f"out/records/{names[2]}.json").contamination == removed


def test_a_record_from_before_is_read(tmp_path: Path) -> None:
    cell = dict.fromkeys(
        ("run_id", "method", "pool", "target", "model", "selector_model", "recipe", "suite",
         "judge"), "x",
    )  # fmt: skip
    old = {**cell, "schema_version": 1, "status": "done", "pool_size": 1, "budget": 1, "seed": 0}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(old))
    assert read_record(path).contamination == Contamination()


# -- the command ---------------------------------------------------------------------------------


def test_the_command_shows_a_table_and_writes_what_it_found(
    world: Path, tmp_path: Path, suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, flagged = leaky(suite, 30)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "flagged.jsonl"
    given = ["--suite", "micro", "--data", str(world / "benchmarks"), "--store", str(tmp_path)]
    assert main([*given, "--pool", str(tmp_path / "rows.jsonl"), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["gsm8k", "test", "60", "2", "1", "1", "0"] in lines
    assert "3 of 30 rows hold a text" in shown
    assert {json.loads(line)["id"] for line in out.read_text().splitlines()} == flagged
    assert main([*given, "--pool", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


# -- real data -----------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_the_rows_that_were_taken_out_of_the_real_pool_are_found(
    shared_data: Path, tmp_path: Path
) -> None:
    """2,981 of 2,986. Of the others four hold the name of a society, three words that are an MMLU
    question, and one the first 178 of 738 characters of a SQuAD passage."""
    if not (shared_data / "leaked").is_dir():
        pytest.skip("no leaked/ beside the real pool")
    (tmp_path / "pool").mkdir()
    others = [shared_data / f"pool/{name}.jsonl.gz" for name in ("self_instruct_seed", "oasst")]
    sources = [*(shared_data / "leaked").iterdir(), *others]
    for path in sources:
        (tmp_path / "pool" / f"{path.parent.name}_{path.name}").symlink_to(path)
    from harness.pool import prepare

    suite = _suite("paper", shared_data / "benchmarks")
    kept = {name: suite.benchmarks[name] for name in ("mmlu", "gsm8k", "squad", "alpaca_eval")}
    suite = suite.model_copy(update={"benchmarks": kept})
    store = Store(tmp_path / "store")
    pool = prepare(PoolConfig(name="real", path=str(tmp_path / "pool")), store, progress=False)
    got = scan(pool, texts_of(suite, store), store, progress=False)
    leaked = set()
    for path in (shared_data / "leaked").iterdir():
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            leaked |= {json.loads(line)["id"] for line in stream}
    flagged = set(pool.ids(got.rows))
    assert len(leaked) == 2986
    assert leaked - flagged == {
        "dolly_552", "dolly_1301", "super_ni_3129", "super_ni_44935", "dolly_3849"
    }  # fmt: skip
    assert got.summary("report").benchmarks["gsm8k"]["test"] == 1052
    # Of the others, those are flagged whose turn is an AlpacaEval prompt of few characters.
    rest = [line for line in got.lines() if line["id"] not in leaked]
    assert {(line["benchmark"], line["rule"]) for line in rest} == {("alpaca_eval", "exact")}
    assert all(len(" ".join(words(line["text"]))) < 30 for line in rest)
