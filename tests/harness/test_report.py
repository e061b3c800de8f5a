"""The report: complete, safe against what records say, and never in the way of a broken sweep."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html.parser
import io
import json
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness import paper
from harness.board import read_board
from harness.board_rows import BENCHMARKS
from harness.record import Record, Score, Selection, StageCost, Training, write_record
from harness.report import build_report, print_summary, write_live
from harness.report.__main__ import main
from harness.report.budgets import shifts
from harness.report.pareto import frontier, pareto_data
from harness.report.scores import score_data
from harness.report.style import PALETTE, colours, short, spread
from harness.report.table import print_board

SOURCES = ("arithmetic", "facts", "passages", "code", "chat", "poems", "logs", "recipes", "spam",
           "lists", "mail", "noise")  # fmt: skip
SCRIPTS = ["application/json", "text/plain", ""]  # the data, the library, what the page runs
METHODS = {"random": 11, "balanced": 28, "length": 9, "top_ppl": 5, "mid_ppl": 7, "rds_plus": 41}


def run(method="random", seed=0, level=20.0, pool_size=2000, budget=64, **changes) -> Record:
    """A made-up record whose scores scatter around ``level``."""
    name = f"{method}-p{pool_size}-b{budget}-s{seed}"
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shares = rng.dirichlet(np.full(len(SOURCES), 0.4))
    scan = 0.0 if method in ("random", "balanced", "length") else 5e9 * pool_size
    scores = {
        benchmark: Score(
            score=float(np.clip(level + rng.normal(0, 3) + 4 * np.sin(at), 0, 100)),
            stderr=3.0 + at / 10, n=60, metric="exact_match",
        )
        for at, benchmark in enumerate(BENCHMARKS)
    }  # fmt: skip
    fields = {
        "run_id": "".join(c if c.isalnum() or c in "_-" else "_" for c in name),
        "status": "done", "method": method, "pool": "micro", "pool_size": pool_size,
        "budget": budget, "target": "multi_task" if method == "rds_plus" else "any",
        "model": "micro", "selector_model": "micro" if scan else "none", "recipe": "micro",
        "suite": "micro", "judge": "reference_rule", "seed": seed, "scores": scores,
        "ledger": [
            StageCost(stage="score", flops=scan, flops_paper=2 * scan, tokens=pool_size * 90,
                      seconds=12, reused=seed > 0),
            StageCost(stage="train", flops=2.1e9 * budget * 3, flops_paper=9e9 * budget * 3,
                      tokens=budget * 270, seconds=3),
            StageCost(stage="evaluate", flops=4e11, seconds=1),
        ],
        "selection": Selection(
            rows=budget,
            sources=dict(zip(SOURCES, (int(s * budget) for s in shares), strict=True)),
            pool_sources={source: 40 * (at + 1) ** 2 for at, source in enumerate(SOURCES)},
        ),
        "training": Training(rows=budget, steps=12),
        "seconds": 16.5, "peak_memory_mb": 900, "git_commit": "0123abc",
        "versions": {"torch": "2.13.0"}, "digests": {"pool": f"p{pool_size}", "model": "m1"},
        "chat_template_hash": "feedbeef", "hardware": {"cpus": 2},
    }  # fmt: skip
    return Record(**{**fields, **changes})


def floors() -> list[Record]:
    nothing = {"pool": "none", "recipe": "none", "floor": True, "ledger": [],
               "selection": Selection(), "training": Training()}  # fmt: skip
    return [
        run("base_model", level=2, pool_size=0, budget=0, **nothing),
        *(run("full_pool", level=33 + size / 1e3, pool_size=size, budget=size, floor=True)
          for size in (2000, 8000)),
        run("named_sources[sources=['arithmetic','facts','passages','code']]", level=56,
            budget=256, pool_size=8000, floor=True),
    ]  # fmt: skip


def sweep() -> list[Record]:
    """6 methods × 2 pool sizes × 2 budgets × 2 seeds, floors and a failure."""
    return [
        *(
            run(
                method, seed, level + budget / 40 + (size / 2000 if level > 20 else 0), size, budget
            )
            for method, level in METHODS.items()
            for size in (2000, 8000)
            for budget in (64, 256)
            for seed in (0, 1)
        ),
        *floors(),
        run("ifd", status="failed", error="CUDA out of memory.", scores={}, ledger=[]),
    ]


def report(folder: Path, records: list[Record]) -> dict[str, Path]:
    for record in records:
        write_record(record, folder / "records")
    return build_report([folder], folder)


def terminal(folder: Path, width=100, encoding="utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_board(read_board([folder]), {}, Console(file=stream, width=width, highlight=False))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


class Page(html.parser.HTMLParser):
    """Collects what a browser would run or fetch, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []  # their types, "" for one that runs
        self.attributes: list[tuple[str, str]] = []
        self.words = ""  # what a reader sees
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.within = tag
        if tag == "script":
            self.scripts.append(dict(attrs).get("type", ""))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        if self.within not in ("script", "style"):
            self.words += data

    def handle_endtag(self, tag):
        self.within = ""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, dict[str, Path], float]:
    folder = tmp_path_factory.mktemp("sweep")
    start = time.process_time()
    paths = report(folder, sweep())
    return folder, paths, time.process_time() - start


def test_everything_is_written(built):
    folder, paths, seconds = built
    names = {"runs", "leaderboard", "decisions", "table_md", "table_tex", "report"} | {
        f"{figure}_{kind}"
        for figure in ("pareto", "budgets", "sources", "benchmarks", "scores", "costs")
        for kind in ("png", "svg", "csv")
    }
    assert set(paths) == names
    assert all(path.is_file() and path.is_relative_to(folder) for path in paths.values())
    assert paths["pareto_png"].read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(paths["runs"])) == 6 * 8 + 4 + 1
    assert seconds < 12


def test_rebuilding_gives_the_same_bytes(built, tmp_path):
    folder, paths, _ = built
    again = build_report([folder], tmp_path)
    for name, path in paths.items():
        assert path.read_bytes() == again[name].read_bytes(), name


def test_the_frontier_by_hand():
    cells = [(1, 10), (2, 9), (2, 12), (3, 12), (4, 20), (5, 19), (1, 8)]
    rows = pd.DataFrame(cells, columns=["flops_total", "mean"])
    assert frontier(rows) == [0, 2, 4]


def test_the_pareto_data(built):
    _, paths, _ = built
    data = pd.read_csv(paths["pareto_csv"])
    rivals = data[~data.floor]
    assert len(rivals) == 24 and set(data[data.floor].method) >= {"base_model", "full_pool"}
    assert not data[data.floor].on_frontier.any()
    edge = rivals[rivals.on_frontier].sort_values("flops_total")
    assert edge["mean"].is_monotonic_increasing and edge["mean"].iloc[-1] == rivals["mean"].max()
    assert set(data.error_kind) == {"board"}
    assert (data.low < data["mean"]).all() and (data["mean"] < data.high).all()


def test_what_was_selected_adds_up(built):
    data = pd.read_csv(built[1]["sources_csv"])
    assert data.bar.iloc[0] == "(the pool itself)"
    assert data.groupby("bar").share.sum().to_numpy() == pytest.approx(1, abs=1e-3)
    assert set(data.pool_size) == {8000} and set(data.budget) == {256}


def test_the_page_stands_alone(built):
    text = built[1]["report"].read_text()
    page = Page(text)
    assert page.scripts == SCRIPTS
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#"), (name, value)
    assert not re.search(r"url\((?!#)", text)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for n, value in page.attributes if n.endswith("href")} <= set(ids)
    for words in ("CUDA out of memory", "no evidence about real models", "feedbeef", "0123abc",
                  "reference_rule", "full price", "8,000: p8000"):  # fmt: skip
        assert words in page.words


def test_the_scripts_are_those_that_the_policy_allows(built):
    text = built[1]["report"].read_text()
    script = text.rsplit("<script>")[-1].split("</script>")[0]
    packed = text.split('id="plotly"')[1].split(">", 1)[1].split("</script>")[0]
    library = gzip.decompress(base64.b64decode(packed))
    allowed = [
        base64.b64encode(hashlib.sha256(source).digest()).decode()
        for source in (script.encode(), library)
    ]
    hashes = " ".join(f"'sha256-{one}'" for one in allowed)
    assert f'script-src {hashes}"' in text
    policy = text.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none';") and "http" not in policy
    assert b"plotly.js v" in library[:200]


def test_hostile_text_stays_text(tmp_path):
    evil = "<script>alert(1)</script>"
    marked = "--><img src=x onerror=alert(1)>$x^2$[bold red]\x1b[31m"
    paths = report(
        tmp_path,
        [
            run(evil, pool=evil, target=marked, suite=evil, git_commit=evil, versions={evil: evil}),
            run(marked, selection=Selection(sources={evil: 3, marked: 2}, pool_sources={evil: 9})),
            run("x", status="failed", error=f"{evil} {marked}", scores={}),
            run(
                "y",
                scores={
                    evil: Score(score=1, n=1, metric="em"),
                    "error": Score(score=2, n=1, metric="em"),
                },
            ),
        ],
    )
    page = Page(paths["report"].read_text())
    assert page.scripts == SCRIPTS and "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert evil in page.words
    data = json.loads(paths["report"].read_text().split('id="data">')[1].split("</script>")[0])
    assert evil in data["cells"]["method"]["words"] and marked in data["sources"]["names"]
    assert "<script" not in paths["pareto_svg"].read_text()
    shown = terminal(tmp_path)
    assert "\x1b" not in shown and "[bold red]" in "".join(shown.split()).replace(
        "boldred", "bold red"
    )


@pytest.mark.parametrize(
    "records",
    [
        [],
        [run("x", status="failed", error="no", scores={}, ledger=[])],
        [run("random")],
        [run("random", ledger=[])],
        floors(),
        [run("a$b^{", scores={"only": Score(score=3, n=1, metric="em")})],
        [run("rds_plus", target=target) for target in ("mmlu", "bbh")],
        [run(method, model=model) for method in ("a", "b") for model in ("one", "two")],
        [run(f"method_{at}", level=20) for at in range(25)],
        [run("c", selection=Selection(sources={f"source {i}": 9 for i in range(40)}))],
    ],
    ids=["nothing", "failures", "one", "free", "floors", "odd", "targets", "models", "many",
         "sources"],
)  # fmt: skip
def test_whatever_is_missing_a_report_comes_out(tmp_path, records):
    unique = [r.model_copy(update={"run_id": f"r{at}"}) for at, r in enumerate(records)]
    paths = report(tmp_path, unique)
    assert all(path.stat().st_size for path in paths.values())
    terminal(tmp_path)


def test_the_terminal_table_fits(built):
    text = terminal(built[0])
    assert max(map(len, text.splitlines())) <= 100
    lines = [line for line in text.splitlines() if line.strip()]
    block = lines[lines.index("pool size 8,000, budget 256") :]
    assert block[1].split()[0] == "method" and block[1].split()[-1] == "FLOPs"
    names = [line.split()[0] for line in block[3:9]]
    assert names[0] == "rds_plus" and set(names) == set(METHODS)
    assert "(floor)" in " ".join(block[9:15]) and "base_model" in " ".join(block[9:15])
    assert re.search(r"rds_plus .* \d+\.\d ± \d+\.\d +4\.2e13", text)
    assert "failed: ifd" in text and "52 of 53 runs done" in text


def test_the_terminal_table_without_utf8(built):
    terminal(built[0], encoding="ascii").encode("ascii")


def test_names_are_no_markup(tmp_path):
    write_record(run("rds_plus[pooling=mean,span=prompt]"), tmp_path / "records")
    assert "rds_plus[pooling=mean" in terminal(tmp_path)


def test_summary_says_whether_anything_failed(tmp_path, capsys):
    write_record(run(), tmp_path / "records")
    paths = {"report": tmp_path / "report.html", "a_png": tmp_path / "plots" / "a.png"}
    assert not print_summary(tmp_path, paths)
    assert str(paths["report"]) in capsys.readouterr().out.replace("\n", "")
    write_record(run("x", status="failed", error="no"), tmp_path / "records")
    assert print_summary(tmp_path, paths)


def test_the_command(tmp_path, capsys):
    write_record(run(), tmp_path / "a" / "records")
    assert main([str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / "report.html").is_file()
    assert not (tmp_path / "a" / "report.html").exists()
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "harness.report", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "example:" in done.stdout


def test_a_reference_that_is_not_there_is_said_everywhere(tmp_path, capsys):
    for method in ("random", "rds_plus"):
        write_record(run(method), tmp_path / "records")
    words = "Nothing is held against nosuch: there is no such method here."
    assert main([str(tmp_path), "--reference", "nosuch"]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    page = Page((tmp_path / "report.html").read_text()).words
    assert words in page and "no finished run of nosuch to hold these against" in page
    assert "cannot be told from nosuch" not in page
    assert "No run of nosuch here" in (tmp_path / "tables" / "leaderboard.md").read_text()


def test_report_and_summary_hold_against_the_method_that_is_asked_for(tmp_path, capsys):
    for method in ("random", "rds_plus"):
        write_record(run(method, config={"report": {"reference": method}}), tmp_path / "records")
    for reference in ("random", "rds_plus"):
        paths = build_report([tmp_path], tmp_path, reference=reference)
        assert f"cannot be told from {reference} (" in paths["report"].read_text()
        curves = pd.read_csv(paths["budgets_csv"])
        assert set(curves.loc[curves.reference, "method"]) == {reference}
        print_summary(tmp_path, paths, reference=reference)
        assert f"not told from {reference} (" in " ".join(capsys.readouterr().out.split())
    live = write_live([tmp_path], tmp_path, compare_with=["table_7"], reference="rds_plus")
    assert "cannot be told from rds_plus (" in live.read_text()
    assert "Table 7" in live.read_text()
    print_summary(tmp_path, {}, ["table_7"])
    assert "Table 7" in capsys.readouterr().out


def test_lines_of_one_budget_stand_apart_and_reach_no_other():
    for budgets in ([64, 128, 2048], [256]):
        moved = shifts(budgets, 9)
        assert len(set(moved)) == 9 and np.prod(moved) == pytest.approx(1)
        reach = 2 if len(budgets) > 1 else 1.35**2  # to the next budget; the axis ends at 1.35
        assert moved.max() / moved.min() < reach
    assert shifts([64, 128], 1) == 1


# -- published tables beside ours ----------------------------------------------------------------


def ablation(method, level, *seeds, **changes) -> list[Record]:
    """Runs whose seven scores are all ``level`` plus the seed: a mean known by hand.

    As if one run were a single_task row, which the board composes (test_board.py).
    """
    return [
        run(
            method, seed, target="single_task", selector_model="micro",
            scores={name: Score(score=level + seed, n=9, metric="em") for name in BENCHMARKS},
            config={"report": {"compare": ["table_9"]}}, run_id=f"{method}-{level}-{seed}",
            **changes,
        )
        for seed in seeds
    ]  # fmt: skip


def test_the_papers_table_stands_beside_ours(tmp_path):
    paths = report(
        tmp_path,
        [
            *ablation("rds_plus", 40, 0, 2),
            *ablation("rds_plus[pooling=eos]", 30, 0),
            *ablation("random", 90, 0),
            run("rds_plus", selector_model="other", target="single_task", run_id="proxy"),
        ],
    )
    cells = pd.read_csv(paths["table_9_csv"]).set_index("row")
    whole = cells.loc["RDS+ (weighted mean, whole sample)"]
    # Seeds 0 and 2: 40 and 42. The run by another selector model is none of the table's.
    assert (whole.published, whole.ours, whole.n_seeds) == (46.4, 41, 2)
    assert whole.ours_sd == pytest.approx(2**0.5, abs=1e-4)
    assert (cells.loc["EOS token only"].ours, cells.loc["EOS token only"].published) == (30, 45.4)
    assert cells.loc[["Prompt only", "Label only", "Uniform mean pool"], "ours"].isna().all()
    assert list(cells.published) == [46.4, 45.4, 45.8, 43.2, 45.1]
    lines = paths["table_9_md"].read_text().splitlines()
    whole_line = "| RDS+ (weighted mean, whole sample) (rds_plus) | 46.4 | 41.0 ± 1.4 |"
    assert whole_line in lines
    assert "| Label only | 45.1 |  |" in lines  # a cell that nobody ran is empty
    html = paths["report"].read_text()
    text = " ".join(Page(html).words.split())
    assert "What RDS+ reads and how it pools" in text
    assert '<td class="pair">46.4</td><td><b>41.0 ± 1.4</b></td>' in html
    assert "no evidence for or against the paper's" in text and "Table 9" in text
    shown = terminal(tmp_path)
    assert re.search(r"EOS token only .* 45\.4 +30\.0", shown)


def test_every_setting_of_ours_has_a_table_of_its_own(tmp_path):
    paths = report(
        tmp_path, [*ablation("rds_plus", 40, 0), *ablation("rds_plus", 50, 0, budget=256)]
    )
    cells = pd.read_csv(paths["table_9_csv"])
    ours = cells[cells.ours.notna()].set_index("our_budget").ours
    assert ours.to_dict() == {64: 40, 256: 50}
    assert paths["table_9_md"].read_text().count("## What RDS+") == 2


def test_rows_and_columns_of_two_models(tmp_path):
    records = [
        run(
            "rds_plus", model=model, selector_model=selector, run_id=f"{model}-{selector}",
            pool="micro[order=balanced]", config={"compare": ["table_8", "no_such", 3]},
            scores={name: Score(score=level, n=9, metric="em") for name in BENCHMARKS},
        )
        for level, model, selector in (
            (1, "micro", "micro"), (2, "micro", "micro_proxy"), (3, "micro_proxy", "micro"),
        )
    ]  # fmt: skip
    paths = report(tmp_path, records)
    cells = pd.read_csv(paths["table_8_csv"]).set_index(["row", "column"])
    small, large = "Qwen2.5-1.5B", "Llama2-7B"
    assert [cells.loc[key, "ours"] for key in ((large, large), (small, large), (large, small))] == [
        1, 2, 3,
    ]  # fmt: skip
    assert cells.loc[(small, large), "published"] == 43.5  # selector in rows, trained in columns
    assert pd.isna(cells.loc[(small, small), "ours"])
    text = paths["table_8_md"].read_text()
    assert "| Qwen2.5-1.5B (micro_proxy) | 56.5 |  | 43.5 | 2.0 |" in text
    assert "no evidence" in text


def test_a_table_without_runs_says_so(tmp_path, capsys):
    write_record(run(), tmp_path / "records")
    assert main([str(tmp_path), "--compare", "table_7"]) == 0
    assert "no run of ours belongs to this table yet" in capsys.readouterr().out
    assert "| RDS+ | 50.9 |  | 47.9 |  |" in (tmp_path / "compared" / "table_7.md").read_text()
    assert main([str(tmp_path), "--compare", "table_6"]) == 2
    assert "no published table 'table_6': there are table_1_200k" in capsys.readouterr().err


def test_no_table_is_written_unasked(built):
    assert not (built[0] / "compared").exists()
    assert "Beside the paper" not in built[1]["report"].read_text()


def test_published_tables_are_whole():
    """Rows of the paper's tables average to its own averages (within rounding)."""
    for name in paper.names():
        table = paper.read_table(name)
        assert table.title and table.source and table.setting
        places = [(cell.row, cell.column) for cell in table.cells]
        assert len(places) == len(set(places)) == len(table.rows) * len(table.columns)
        if "Avg" in table.columns:
            for row in table.rows:
                *scores, mean = [cell.published for cell in table.cells if cell.row == row]
                assert len(scores) == 7 and sum(scores) / 7 == pytest.approx(mean, abs=0.07), row


# ------------------------------------------------------------------------------------------------


# What a deuteranope and a protanope see of linear RGB (Machado, Oliveira and Fernandes 2009).
SEEN = {
    "as it is": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip


def oklab(colours, seen) -> np.ndarray:
    """Ottosson's Oklab [colours, 3] times 100: a distance of 2 is about the least one sees."""
    rgb = np.array([[int(c[at : at + 2], 16) / 255 for at in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(seen), 0, 1)
    lms = linear @ np.transpose(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]]
    )  # fmt: skip
    return 100 * np.cbrt(lms) @ np.transpose(
        [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.8086757660]]
    )  # fmt: skip


@pytest.mark.parametrize(("sight", "apart"), [("as it is", 15), ("deuteranopia", 9.5),
                                              ("protanopia", 9.5)])  # fmt: skip
def test_methods_of_one_board_are_told_apart_by_colour(sight, apart):
    shipped = ["random", "balanced", "length", "mid_ppl", "top_ppl", "rds_plus", "less_micro",
               "bm25", "ifd", "embed_gtr", "embed_nv"]  # fmt: skip
    seen = oklab(colours(shipped).values(), SEEN[sight])
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(len(shipped), 1)]
    assert distances.min() >= apart


def test_names_in_the_colour_of_a_method_can_be_read():
    rgb = np.array([[int(c[at : at + 2], 16) / 255 for at in (1, 3, 5)] for c in PALETTE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)  # to white, as WCAG has it
    assert contrast.min() > 2.7


def test_colours_belong_to_names():
    alone = colours(["rds_plus"])["rds_plus"]
    assert colours(["rds_plus", "random"])["rds_plus"] == alone
    assert len(set(colours(f"m{i}" for i in range(10)).values())) == len(PALETTE)
    assert len(colours(f"m{i}" for i in range(30))) == 30


def test_a_method_has_one_colour_in_all_figures(built):
    folder, _, _ = built
    board = read_board([folder])
    some = score_data(board, _Some())
    everywhere = colours(pareto_data(board).query("floor == False")["method"])
    assert colours(some.attrs["methods"]) == everywhere
    assert set(some["method"]) == {"length", "rds_plus"} < set(everywhere)


class _Some:
    """Selections of which two methods alone have scores."""

    def scores(self, records):
        named = {record.method for record in records} & {"length", "rds_plus"}
        return np.arange(9.0) if named else None


def test_short_and_spread():
    assert short("a\nb") == "a b"
    assert len(short("x" * 99)) == 30 and short("abc[def=ghi]" * 9).endswith("]")
    assert spread([5, 5, 5], 1, 0, 10) == [5, 6, 7]
    assert spread([9.5, 9.6], 1, 0, 10) == [9, 10]
    crowded = spread([5] * 30, 1, 0, 10)
    assert min(crowded) >= -1e-9 and max(crowded) <= 10 + 1e-9
