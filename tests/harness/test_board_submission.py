"""Submissions: what holds passes, whatever is tampered with is named, and nothing is run."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.results import prompt_hash
from evaluation.source import Source
from evaluation.squad import SQuAD
from evaluation.statistics import mean_and_error
from evaluation.text_metrics import best_f1
from harness.board import submission
from harness.board.__main__ import main
from harness.board.pack import pack
from harness.board.paths import without_paths
from harness.board.submission import SubmissionError, describe
from harness.board.verify import verify
from harness.chat import TULU_TEMPLATE, template_hash
from harness.record import Record, Score, Selection, read_record, write_record

# Outputs with their scores, by the metrics' definitions.
ITEMS = {
    "gsm8k": [("So the answer is 12.", "12", 1.0), ("It is 1,800.00", "1800", 1.0),
              ("No idea", "7", 0.0)],
    "squad": [("the white bell", ["white bell", "bell"], 1.0), ("a red bell", ["bell"], 2 / 3)],
    "mmlu": [("A", "A", 1.0), ("B", "C", 0.0)],
}  # fmt: skip


def write_lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def rows_of(name, items):
    return [
        {"item_id": f"{name}/{at}", "subject": "", "prompt_hash": "00", "outputs": [output],
         "target": target, "score": score}
        for at, (output, target, score) in enumerate(items)
    ]  # fmt: skip


def code_rows(passed):
    target = {"prompt": "def f():\n", "test": "", "entry_point": "f"}
    return [
        {"item_id": f"HumanEval/{at}", "subject": "", "prompt_hash": "00",
         "outputs": ["    return 1"] * 2, "target": target, "score": right / 2}
        for at, right in enumerate(passed)
    ]  # fmt: skip


def sweep(folder: Path) -> Path:
    """Two finished runs and a failed one, as the harness leaves them."""
    for method in ("random", "rds_plus"):
        run = f"{method}-p10-b2-s0"
        scores = {}
        tables = {name: rows_of(name, items) for name, items in ITEMS.items()}
        tables["codex"] = code_rows([2, 1, 0])
        for name, rows in tables.items():
            write_lines(folder / "runs" / run / "items" / f"{name}.jsonl.gz", rows)
            mean, error = mean_and_error([r["score"] for r in rows], [""] * len(rows), "items")
            notes = {"k": 1, "n": 2, "passed": 3} if name == "codex" else {}
            scores[name] = Score(score=mean, stderr=error, n=len(rows), metric="m", notes=notes,
                                 items=f"runs/{run}/items/{name}.jsonl.gz")  # fmt: skip
        picks = {"rank": [0, 1], "id": ["x", "y"], "dataset": ["s", "t"],
                 "score": [float("nan"), 1.0], "position": [4, 2]}  # fmt: skip
        pq.write_table(pa.table(picks), folder / "runs" / run / "selection.parquet")
        record = Record(
            run_id=run, status="done", method=method, pool="micro", pool_size=10, budget=2,
            target="any", model="m", selector_model="none", recipe="r", suite="s", judge="j",
            seed=0, scores=scores, selection=Selection(rows=2, sources={"s": 1, "t": 1}),
            digests={"suite": "abc"}, config={"method": {"_target_": "os.system"}},
        )  # fmt: skip
        write_record(record, folder / "records")
    failed = record.model_copy(update={"run_id": "x", "status": "failed", "scores": {}})
    write_record(failed, folder / "records")
    return folder


@pytest.fixture
def packed(tmp_path) -> Path:
    """A submission as a folder."""
    pack(sweep(tmp_path / "sweep"), tmp_path / "out")
    return tmp_path / "out"


def seal(folder: Path) -> None:
    """Write the manifest anew, as someone who tampers would."""
    files = {
        path.relative_to(folder).as_posix(): describe(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "submission.json"
    }
    (folder / "submission.json").write_text(json.dumps({"format": 1, "files": files}))


def change_rows(folder: Path, name: str, change) -> None:
    path = folder / f"runs/random-p10-b2-s0/{name}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    write_lines(path, change(rows) or rows)
    seal(folder)


def change_record(folder: Path, change) -> None:
    path = folder / "records/random-p10-b2-s0.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    seal(folder)


def problems(folder: Path) -> str:
    return "\n".join(verify(folder).problems)


def test_what_was_packed_holds(packed, tmp_path):
    found = verify(packed)
    assert found.problems == []
    # Six of the eight files are graded again; the programs' are not run.
    assert (found.records, found.recomputed, found.regraded) == (2, 8, 6)
    assert any("codex: item scores are taken as they are" in note for note in found.notes)
    assert not list(packed.rglob("*.parquet"))
    pack(tmp_path / "sweep", tmp_path / "a.zip")
    pack(tmp_path / "sweep", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert verify(tmp_path / "a.zip") == found


def test_a_plain_folder_of_runs_can_be_checked_too(tmp_path):
    found = verify(sweep(tmp_path))
    assert found.problems == [] and found.regraded == 6
    assert any("a failed run" in note for note in found.notes)


def test_every_number_of_a_score_is_recomputed(packed):
    def raise_score(record):
        record["scores"]["gsm8k"]["score"] += 0.01
        record["scores"]["squad"]["stderr"] *= 2
        record["scores"]["mmlu"]["n"] = 200

    change_record(packed, raise_score)
    text = problems(packed)
    assert "gsm8k.jsonl.gz: the items give 66.6667" in text
    assert "squad.jsonl.gz: the items give" in text
    assert "mmlu.jsonl.gz: 2 scored items, but the record says 200" in text
    assert len(text.splitlines()) == 3


def test_outputs_are_graded_again(packed):
    def flip(rows):
        rows[0]["outputs"], rows[2]["outputs"] = ["So the answer is 13."], ["It is 7."]

    change_rows(packed, "items/gsm8k", flip)
    text = problems(packed)
    assert "item 'gsm8k/0': score 1.0, but the metric gives 0" in text
    assert "item 'gsm8k/2': score 0.0, but the metric gives 1" in text


def test_passes_must_add_up(packed):
    change_rows(packed, "items/codex", lambda rows: rows[2].update(score=1.0))
    assert "3 programs passed, but the scores say 5" in problems(packed)


def test_targets_must_be_those_of_the_other_runs(packed):
    def cheat(rows):
        rows[2] |= {"target": "8", "outputs": ["8"], "score": 1.0}

    change_rows(packed, "items/gsm8k", cheat)
    assert "2 different sets of items or targets" in problems(packed)


def test_an_item_counted_twice(packed):
    change_rows(packed, "items/mmlu", lambda rows: rows + rows[:1])
    assert "1 items more than once, e.g. 'mmlu/0'" in problems(packed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[1].update(id="x"), "a row of the pool is there twice"),
        (lambda rows: rows[1].update(position=4), "a position is there twice"),
        (lambda rows: rows[1].update(position=10), "not within the pool of 10 rows"),
        (lambda rows: rows[1].update(rank=0), "ranks are not 0, 1, 2"),
        (lambda rows: rows[1].update(dataset="s"), "the sources are not those"),
        (lambda rows: rows[1].update(id=["x"]), "an id is no text"),
        (lambda rows: [*rows, {**rows[0], "rank": 2, "id": "z", "position": 3}], "3 rows; the rec"),
        (lambda rows: [1, 2], "a row is no object"),
    ],
)
def test_orderings_are_checked(packed, change, words):
    change_rows(packed, "selection", change)
    assert words in problems(packed)


def test_the_manifest_names_every_file(packed):
    (packed / "notes.txt").write_text("hello")
    (packed / "records" / "own.json").write_text("{}")
    run = packed / "runs" / "random-p10-b2-s0"
    (run / "items" / "mmlu.jsonl.gz").write_bytes(gzip.compress(b""))
    (run / "selection.jsonl.gz").unlink()
    text = problems(packed)
    for words in (
        "notes.txt: only .json, .jsonl.gz are data", "notes.txt belongs to no record",
        "records/own.json is not in submission.json", "no schema_version",
        "mmlu.jsonl.gz is not the file that submission.json names", "no scored item",
        "selection.jsonl.gz is in submission.json and missing",
    ):  # fmt: skip
        assert words in text, words


def test_pickles_and_targets_are_never_touched(packed, tmp_path):
    """What would write a file if it were loaded, run or built stays a blob and a word."""
    trap = tmp_path / "trap"

    class Evil:
        def __reduce__(self):
            return Path.touch, (trap,)

    blob = pickle.dumps(Evil())
    items = packed / "runs/random-p10-b2-s0/items"
    (items / "mmlu.jsonl.gz").write_bytes(blob)
    (items / "squad.jsonl.gz").write_bytes(gzip.compress(blob))
    (packed / "records" / "evil.json").write_bytes(blob)

    def hire(record):
        call = {"_target_": "pathlib.Path.touch", "_args_": [str(trap)]}
        record["config"] = {"suite": {"benchmarks": {"gsm8k": call}}, "judge": call}
        record["scores"]["codex"]["notes"]["judge"] = call

    change_record(packed, hire)
    change_rows(packed, "items/codex", lambda rows: [
        row["target"].update(prompt=f"open({str(trap)!r}, 'w')\n") for row in rows
    ] and None)  # fmt: skip
    assert "damaged gzip data" in problems(packed) and not trap.exists()


def test_checking_imports_no_library_that_could_run_something(packed):
    code = (
        "import sys; from harness.board.__main__ import main; "
        f"assert main(['verify', {str(packed)!r}]) == 0; "
        "print({'hydra', 'torch', 'lm_eval', 'alpaca_eval', 'methods', 'pickle5'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("name", ["../out.json", "/etc/passwd", "records/../../x.json", "a\\..\\b",
                                  "C:x.json", "records//x.json", "./x.json"])  # fmt: skip
def test_a_zip_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, "{}")
    assert "leads out of the archive" in problems(tmp_path / "bad.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_links_are_refused(packed, tmp_path):
    (packed / "records" / "link.json").symlink_to("/etc/hostname")
    assert "link.json is a link" in problems(packed)
    entry = zipfile.ZipInfo("records/link.json")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(entry, "/etc/hostname")
    assert "leads out" in problems(tmp_path / "link.zip")


def test_paths_in_a_record_do_not_lead_out(packed):
    outside = packed.parent / "outside.jsonl.gz"
    write_lines(outside, rows_of("gsm8k", ITEMS["gsm8k"]))
    for path in ("../outside.jsonl.gz", str(outside), "runs/../../outside.jsonl.gz", ""):
        change_record(
            packed, lambda record, path=path: record["scores"]["gsm8k"].update(items=path)
        )
        assert "no per-item results" in problems(packed)
    change_record(packed, lambda record: record.update(run_id="../../x"))
    assert "is no run id" in problems(packed)


def test_bombs_are_not_unpacked(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "MAX_FILE", 1_000_000)
    monkeypatch.setattr("harness.statistics.items.unpack.__defaults__", (1_000_000,))
    bomb = gzip.compress(b"0" * 3_000_000)
    (packed / "runs/random-p10-b2-s0/items/gsm8k.jsonl.gz").write_bytes(bomb)
    seal(packed)
    assert "more than 1,000,000 bytes unpacked" in problems(packed)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("records/a.json", b" " * 3_000_000)
    assert "larger than 1,000,000 bytes" in problems(tmp_path / "bomb.zip")
    monkeypatch.setattr(submission, "MAX_TOTAL", 2_000_000)
    assert "more than 2,000,000 bytes unpacked" in problems(tmp_path / "bomb.zip")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000, b"null", b"[1]", b'{"schema_version": 1, "seed": ' + b"9" * 5000 + b"}",
        b'{"schema_version": true}', b"\xff\xfe", b'{"schema_version": 99}', b"",
    ],
)  # fmt: skip
def test_damaged_records_are_named(packed, text):
    (packed / "records" / "bad.json").write_bytes(text)
    assert "records/bad.json" in problems(packed)


@pytest.mark.parametrize(
    "row",
    [
        {"score": float("nan")}, {"score": 1.5}, {"score": "1"}, {"score": True}, {"item_id": 3},
        {"outputs": "A"}, {"outputs": []}, {"outputs": [1]}, {"target": {"a": 1}}, {"target": []},
        {"target": [3]}, {"subject": None}, {"item_id": "\ud800"}, {"target": "\ud800 "},
    ],
    ids=str,
)  # fmt: skip
def test_odd_rows_are_problems_and_not_errors(packed, row):
    change_rows(packed, "items/gsm8k", lambda rows: rows[0].update(row))
    assert "gsm8k" in problems(packed)


def test_the_commands(tmp_path, capsys):
    sweep(tmp_path / "sweep")
    assert main(["pack", str(tmp_path / "sweep"), str(tmp_path / "s.zip")]) == 0
    shown = capsys.readouterr().out
    assert "2 runs packed" in shown and "8 scores recomputed, 6 of them graded again" in shown
    assert "data: gsm8k (suite s abc): items and targets" in shown
    assert main(["verify", str(tmp_path / "nothing")]) == 1
    assert "neither a folder nor a zip" in capsys.readouterr().out
    assert main(["pack", str(tmp_path / "sweep"), str(tmp_path / "sweep")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main([str(tmp_path / "sweep"), "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b/tables/leaderboard.md").is_file()
    assert main([str(tmp_path / "nowhere")]) == 2


def test_what_lacks_items_cannot_be_packed(tmp_path):
    folder = sweep(tmp_path / "sweep")
    (folder / "runs/random-p10-b2-s0/items/mmlu.jsonl.gz").unlink()
    with pytest.raises(SubmissionError, match="per-item results of mmlu"):
        pack(folder, tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists() and not list(tmp_path.glob("*.part"))


def squad_folder(folder: Path) -> Path:
    """Two articles of two questions each, and a training file that shares none of them."""

    def article(title, *asked):
        qas = [{"id": i, "question": q, "answers": [{"text": a}]} for i, q, a in asked]
        return {"title": title, "paragraphs": [{"context": f"About {title}.", "qas": qas}]}

    dev = [article("Bells", ("q0", "Which?", "white bell"), ("q1", "Whose?", "the ringer's")),
           article("Rivers", ("q2", "Where?", "Po"), ("q3", "When?", "1902"))]  # fmt: skip
    for name, data in {"dev": dev, "train": [article("Trains", ("t0", "How?", "slowly"))]}.items():
        path = folder / "squad" / f"{name}-v1.1.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"data": data}))
    return folder


OUTPUTS = {"q0": "white bell", "q1": "nobody", "q2": "Po", "q3": "1902"}


def squad_run(folder: Path, data: Path, change=list, suite="paper") -> Path:
    """A run on that benchmark, all its numbers consistent with rows that were tampered with."""
    benchmark = SQuAD(shots=0)
    rows = [
        {"item_id": item.id, "subject": "", "cluster": item.cluster,
         "prompt_hash": prompt_hash(f"<|user|>\n{item.prompt.strip()}\n<|assistant|>\n"),
         "outputs": [OUTPUTS[item.id]], "target": item.target}
        for item in benchmark.items(Source(data))
    ]  # fmt: skip
    rows = change(rows)
    for row in rows:
        row["score"] = best_f1(row["outputs"][0], row["target"])
    write_lines(folder / "runs/r/items/squad.jsonl.gz", rows)
    mean, error = mean_and_error([row["score"] for row in rows], [""] * len(rows), "items")
    score = Score(score=mean, stderr=error, n=len(rows), metric="f1",
                  items="runs/r/items/squad.jsonl.gz")  # fmt: skip
    own = {"_target_": "os.system", "hub": "/etc", "shots": 0}
    record = Record(
        run_id="r", status="done", method="random", pool="p", pool_size=10, budget=0,
        target="any", model="m", selector_model="none", recipe="r", suite=suite, judge="j", seed=0,
        scores={"squad": score}, chat_template_hash=template_hash(TULU_TEMPLATE),
        config={"suite": {"_target_": "os.system", "data": "/etc", "benchmarks": {"squad": own}}},
    )  # fmt: skip
    write_record(record, folder / "records")
    return folder


def with_first(**change):
    return lambda rows: [{**rows[0], **change}, *rows[1:]]


def with_second_gold_changed(rows):
    return [rows[0], {**rows[1], "target": ["nobody"]}, *rows[2:]]


@pytest.mark.parametrize(
    ("change", "words", "differing"),
    [
        (with_second_gold_changed, "1 of 4 items with another gold answer: 'q1'", 1),
        (lambda rows: [rows[0], *rows[2:]], "1 of 4 items missing: 'q1'", 1),
        (lambda rows: [*rows, {**rows[0], "item_id": "q9"}],
         "1 of 4 items that the benchmark does not have: 'q9'", 1),
        (lambda rows: [*rows, rows[0]], "1 of 4 items more than once: 'q0'", 1),
        (with_first(prompt_hash="0" * 16), "1 of 4 items with another prompt: 'q0'", 1),
        (with_first(cluster="own"), "1 of 4 items of another group or cluster: 'q0'", 1),
        (lambda rows: [dict(row, item_id=f"x{at}") for at, row in enumerate(rows)],
         "4 of 4 items missing: 'q0', 'q1', 'q2' and 1 more", 8),
    ],
)  # fmt: skip
def test_items_are_held_against_the_benchmark(tmp_path, capsys, change, words, differing):
    """Each of these is consistent in itself, so that only the data can tell."""
    data = squad_folder(tmp_path / "data")
    folder = squad_run(tmp_path / "run", data, change)
    found = verify(folder, data)
    assert words in "\n".join(found.problems)
    assert found.checked["squad (suite paper)"].differing == differing
    assert main(["verify", str(folder), "--data", str(data)]) == 1
    assert f"squad (suite paper): 4 checked, {differing} differing" in capsys.readouterr().out


def test_answers_are_graded_with_the_true_gold(tmp_path):
    data = squad_folder(tmp_path / "data")
    folder = squad_run(tmp_path / "run", data, with_second_gold_changed)
    assert verify(folder).problems == []
    assert "item 'q1': score 1.0, but the metric gives 0" in "\n".join(
        verify(folder, data).problems
    )


def test_what_is_true_to_the_benchmark_holds(tmp_path, capsys):
    data = squad_folder(tmp_path / "data")
    folder = squad_run(tmp_path / "run", data)
    assert main(["verify", str(folder), "--data", str(data)]) == 0
    assert "items: squad (suite paper): 4 checked, 0 differing" in capsys.readouterr().out
    assert any("give --data" in note for note in verify(folder).notes)
    assert main(["verify", str(folder), "--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_another_name_of_the_suite_is_no_way_round(tmp_path):
    data = squad_folder(tmp_path / "data")
    folder = squad_run(tmp_path / "run", data, suite="os.system")
    assert "the suite os.system is none of micro, paper, lm_eval" in "\n".join(
        verify(folder, data).problems
    )


def test_the_embedded_benchmarks_need_no_folder(tmp_path):
    data = squad_folder(tmp_path / "data")
    text = problems(squad_run(tmp_path / "run", data, suite="micro"))
    assert "items missing" in text and "4 of" in text


def test_what_is_packed_tells_no_local_path(tmp_path, monkeypatch):
    folder = sweep(tmp_path / "tell-tale-out")
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "tell-tale-home"
    path = folder / "records/random-p10-b2-s0.json"
    record = read_record(path)
    record.config = {
        "out": "tell-tale-out/mine", "store": str(secret / "store"),
        "pool": {"path": f"{secret}/rows.jsonl", "more": ["~/tell-tale/x.parquet"]},
        "suite": {"data": "../tell-tale/benchmarks"}, "model": {"path": str(secret / "llama")},
        "recipe": {"launch": ["accelerate", "launch", f"--config_file={secret}/fsdp.yaml"]},
        "judge": {"cache": "C:\\Users\\tell-tale\\cache", "base": "https://api.test/v1/chat"},
        "selector_model": {"path": "allenai/tulu-2-7b", "chat_template": "[INST]{{ x }}[/INST]"},
        "target": {"path": "tell-tale/of/queries.jsonl", f"{secret}/key": 1},
    }  # fmt: skip
    record.scores["squad"].notes["gap"] = f"2 questions. Looked in {secret}/dev.json."
    write_record(record, folder / "records")
    pack(folder, tmp_path / "packed")
    for name in (tmp_path / "packed").rglob("*"):
        data = name.read_bytes() if name.is_file() else b""
        data = gzip.decompress(data) if name.suffix == ".gz" else data
        assert b"tell-tale" not in data and str(tmp_path).encode() not in data, name
    packed = read_record(tmp_path / "packed/records/random-p10-b2-s0.json")
    assert packed.config["out"] == "mine" and packed.config["pool"]["path"] == "rows.jsonl"
    assert packed.config["judge"] == {"cache": "cache", "base": "https://api.test/v1/chat"}
    assert packed.config["selector_model"] == record.config["selector_model"]
    assert packed.config["recipe"]["launch"][-1] == "--config_file=fsdp.yaml"
    assert packed.scores["squad"].notes["gap"] == "2 questions. Looked in dev.json."
    assert (packed.run_id, packed.digests) == (record.run_id, record.digests)
    assert verify(tmp_path / "packed").problems == [] and without_paths(packed) == packed


def test_names_of_sources_with_slashes_are_no_paths(tmp_path):
    folder = sweep(tmp_path)
    record = read_record(folder / "records/random-p10-b2-s0.json")
    record.selection.sources = {"lab/mix/part_a": 1, "lab/mix/part_b": 1}
    assert without_paths(record).selection == record.selection
