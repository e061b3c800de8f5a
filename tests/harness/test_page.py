"""The page in a browser: what a reader does with it, and that nothing leaves it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.board import read_board
from harness.record import Score, Selection, StageCost, write_record
from harness.report import write_live
from harness.report.compared import compare
from harness.report.page import write_page
from tests.harness.test_compositions import board, column, selected
from tests.harness.test_report import floors, run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
    ),
]

EVIL = "<img src=http://evil.example/x onerror=alert(1)><a href='http://evil.example'>x</a>$x$"
LEVELS = {"random": 11, "balanced": 28, "length": 9, "rds_plus": 41, EVIL: 12}


def selections(folder: Path, run_id: str, scores) -> None:
    path = folder / "runs" / run_id / "selection.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"rank": np.arange(len(scores)), "score": scores}), path)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """4 methods and a hostile one x 2 pool sizes x 2 budgets x 2 seeds, floors, a failure."""
    folder = tmp_path_factory.mktemp("page")
    for method, level in LEVELS.items():
        for size in (2000, 8000):
            for budget in (64, 256):
                for seed in (0, 1):
                    record = run(method, seed, level + budget / 40, size, budget)
                    record.ledger.append(StageCost(stage="order", flops=1e6))
                    write_record(record, folder / "records")
                    if method != "random":
                        values = (
                            np.linspace(0, 1, 50) if method != "balanced" else np.full(50, np.nan)
                        )
                        selections(folder, record.run_id, values)
    for record in floors():
        write_record(record, folder / "records")
    write_record(run("ifd", status="failed", error=EVIL, scores={}, ledger=[]), folder / "records")
    path = folder / "report.html"
    return write_page(read_board([folder]), path, (), [folder])


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield started
        started.close()


class Opened:
    """A page that is watched: what it asks for, and what it complains of."""

    def __init__(self, browser, path: Path, **context) -> None:
        context = {"viewport": {"width": 1280, "height": 900}, **context}
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog"))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def drawn(self, name: str) -> None:
        """Scrolls to a chart and waits until it shows the present choices."""
        self.page.locator(f"#{name}").scroll_into_view_if_needed()
        self.page.wait_for_selector(f"#{name}-chart[aria-busy=false]")

    def settled(self) -> None:
        """Waits until no chart is being drawn."""
        self.page.wait_for_function("() => !document.querySelector('.plate[aria-busy=true]')")

    def rows(self) -> list[list[str]]:
        """The board's visible rows with a score, cell by cell."""
        every = self.page.eval_on_selector_all(
            "#cells tr[data-cell]:not([hidden])",
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))",
        )
        return [row for row in every if row[1]]

    def press(self, words: str) -> None:
        self.page.locator("#cells thead button", has_text=words).first.click()


@pytest.fixture(scope="module")
def whole(browser, page_file):
    """The page with every chart drawn."""
    opened = Opened(browser, page_file)
    for name in CHARTS:
        opened.drawn(name)
    yield opened
    opened.context.close()


@pytest.fixture
def opened(whole):
    """The same, as it was at first."""
    whole.page.click("#reset")
    whole.page.evaluate("sessionStorage.clear()")
    whole.settled()
    yield whole
    assert whole.complaints == []


CHARTS = ("pareto", "budgets", "benchmarks", "sources", "scores", "costs")


def test_nothing_leaves_the_page_and_nothing_goes_wrong(whole, page_file):
    assert whole.requests == [page_file.as_uri()]
    assert whole.complaints == []
    assert whole.page.locator(".plate .main-svg").count() >= len(CHARTS)
    # Not even when asked to: the policy stops a fetch, an image and a script of somebody else's.
    failed = whole.page.evaluate(
        """async () => {
          const tries = [fetch("http://127.0.0.1:9/"), new Promise((ok, no) => {
            const image = new Image(); image.onload = ok; image.onerror = no;
            image.src = "http://127.0.0.1:9/x.png"; })];
          const script = document.createElement("script");
          script.textContent = "window.evil = 1"; document.head.append(script);
          const results = await Promise.allSettled(tries);
          return results.every(one => one.status === "rejected") && window.evil === undefined;
        }"""
    )
    assert failed
    whole.complaints.clear()  # the browser says so, as it should


def test_hostile_names_are_text_everywhere(opened):
    page = opened.page
    assert page.locator("img, a[href*=evil]").count() == 0
    assert page.evaluate("document.querySelectorAll('.plate a').length") == 0
    assert EVIL in [row[0] for row in opened.rows()]
    assert EVIL in page.locator("#failures + .scroll").inner_text()


def test_sorting(opened):
    page = opened.page
    page.check("#one-list")
    opened.press("mean")
    means = [float(row[1].split()[0]) for row in opened.rows() if "floor" not in row[0]]
    assert len(means) == 20 and means == sorted(means, reverse=True)
    assert page.get_attribute("th[data-key=mean]", "aria-sort") == "descending"
    opened.press("mean")
    means = [float(row[1].split()[0]) for row in opened.rows() if "floor" not in row[0]]
    assert means == sorted(means)
    assert "floor" in opened.rows()[-1][0]  # floors stay at the end
    page.focus("th[data-key=method] button")
    page.keyboard.press("Enter")  # by keys alone
    names = [row[0] for row in opened.rows() if "floor" not in row[0]]
    assert names == sorted(names, key=str.lower)
    assert page.locator("th[aria-sort]").count() == 1


def test_within_settings_sorting_keeps_the_settings_apart(opened):
    opened.press("budget")
    heads = opened.page.locator("#cells th.group:visible").all_inner_texts()
    assert heads == [f"pool size {s}, budget {b}" for s in ("2,000", "8,000") for b in (64, 256)]


def test_filtering_acts_on_board_and_charts(opened):
    page = opened.page
    all_rows = len(opened.rows())
    page.fill("#search", "rds")
    page.wait_for_function("() => document.getElementById('count').textContent.startsWith('4 ')")
    assert {row[0] for row in opened.rows()} == {"rds_plus"}
    page.select_option("[data-choice=budget]", "64")
    assert len(opened.rows()) == 2
    assert page.locator("#cells th.group:visible").count() == 2
    opened.settled()
    points = page.evaluate(
        "document.getElementById('pareto-chart').data.flatMap(t => t.customdata ?? []).length"
    )
    assert points == 2
    page.fill("#search", "base_mo")
    page.wait_for_function("() => document.getElementById('count').textContent.startsWith('1 ')")
    page.fill("#search", "no such method")
    page.wait_for_function("() => document.getElementById('count').textContent.startsWith('0 ')")
    page.wait_for_selector("#pareto-chart .empty")
    page.click("#reset")
    assert len(opened.rows()) == all_rows
    page.check("#no-floors")
    assert len(opened.rows()) == 20 and all("floor" not in row[0] for row in opened.rows())
    page.uncheck("#no-floors")
    page.check("#no-ties")
    kept = opened.rows()
    assert 0 < len(kept) < 20 and all(float(row[5].strip("<")) < 0.05 for row in kept)


def test_columns_can_be_left_out(opened):
    page = opened.page
    assert page.locator("th[data-key='b:mmlu']").is_visible()
    page.uncheck("#columns input[value=benchmarks]")
    assert not page.locator("th[data-key='b:mmlu']").is_visible()
    assert page.locator("th[data-key='cost:total']").is_visible()


def test_pointing_at_a_point_tells_its_method_costs_and_interval(opened):
    page = opened.page
    page.locator("#pareto").scroll_into_view_if_needed()
    place = page.evaluate(
        """() => {
          const plate = document.getElementById("pareto-chart");
          const at = plate.data.findIndex(trace => trace.name === "rds_plus");
          const layout = plate._fullLayout, trace = plate.data[at];
          const box = plate.getBoundingClientRect();
          return [box.x + layout._size.l + layout.xaxis.d2p(trace.x[0]),
                  box.y + layout._size.t + layout.yaxis.d2p(trace.y[0])];
        }"""
    )
    page.mouse.move(place[0] - 30, place[1] - 30)
    page.mouse.move(*place, steps=4)
    page.wait_for_selector("#pareto-chart .hovertext")
    words = page.locator("#pareto-chart .hovertext").text_content()
    for part in ("rds_plus", "budget 64", "95 % interval", "pool pass 1.0e13", "fine-tuning 4.0e11",
                 "against random", "on the frontier in", "2 seeds", "rank"):  # fmt: skip
        assert part in words, (part, words)
    page.mouse.move(0, 0)


def test_arrow_keys_go_through_the_points_and_say_them(opened):
    page = opened.page
    for name in CHARTS:
        page.focus(f"#{name}-chart")
        page.keyboard.press("ArrowRight")
        first = page.locator(f"#{name}-said").inner_text()
        page.keyboard.press("ArrowRight")
        second = page.locator(f"#{name}-said").inner_text()
        assert first and second and first != second, name
        assert page.locator(f"#{name}-chart .hovertext").count() > 0, name
        page.keyboard.press("Escape")
        assert page.locator(f"#{name}-said").inner_text() == ""


def test_measured_and_paper_flops_total_and_selection(opened):
    page = opened.page

    def cheapest() -> float:
        return page.evaluate(
            """Math.min(...document.getElementById('pareto-chart').data
              .filter(t => t.name === 'rds_plus')[0].x.filter(x => x))"""
        )

    # By hand: pool pass 5e9 a row of 2,000, training 2.1e9 x 64 rows x 3; the paper's 2 x and 9e9.
    assert cheapest() == pytest.approx(1e13 + 2.1e9 * 64 * 3, rel=1e-4)
    for label, value in (("paper's", 2e13 + 9e9 * 64 * 3), ("selection only", 2e13)):
        page.locator("[data-for=pareto] label", has_text=label).click()
        opened.settled()
        assert cheapest() == pytest.approx(value, rel=1e-4)
    # The same switch under the other chart says the same.
    assert (
        page.locator("[data-for=costs] label", has_text="selection only")
        .locator("input")
        .is_checked()
    )
    # A method that looks at nothing has no place on this axis.
    assert "without cost are left out" in page.locator("#pareto-note").inner_text()


def test_the_chance_of_the_frontier_is_of_the_costs_that_are_shown(opened):
    page = opened.page
    script = """name => [...document.querySelectorAll("#cells tr[data-cell]")].map(row => {
      const at = Number(row.dataset.cell), heads = [...board.tHead.rows[0].cells];
      const said = saying(at, "").find(line => line.startsWith("on the frontier"));
      const place = heads.findIndex(head => head.dataset.key === "frontier_probability");
      return [cells[name][at], row.cells[place].innerText, said ?? ""];
    })"""
    seen = []
    for label, name in (
        (None, "frontier_probability"), ("paper's", "frontier_probability_paper"),
        ("selection only", "frontier_probability_paper_select"),
        ("measured", "frontier_probability_select"),
    ):  # fmt: skip
        if label:
            page.locator("[data-for=pareto] label", has_text=label).click()
            opened.settled()
        rows = page.evaluate(script, name)
        for share, written, said in rows:
            words = "" if share is None else f"{int(100 * share + 0.5)} %"
            assert written == words and said == (words and f"on the frontier in {words} of draws")
        seen.append([share for share, *_ in rows])
        assert any(seen[-1])
    assert seen[0] != seen[3]  # what is chosen without a pass costs nothing to select
    title = page.get_attribute("th[data-key=frontier_probability]", "title")
    assert "measured FLOPs, selection only" in title


def test_every_stage_and_source_has_a_sign_in_the_key(opened):
    assert opened.page.evaluate(
        "[...Object.values(STAGE_SHAPES), ...SOURCE_SHAPES].every((shape) => PATTERNS[shape])"
    )
    for stage in ("pool pass", "ordering", "fine-tuning"):
        assert opened.page.locator("#costs-key button", has_text=stage).count() == 1


def test_the_key_hides_and_shows(opened):
    page = opened.page
    button = page.locator("#pareto-key button", has_text="length")
    button.click()
    opened.settled()
    assert button.get_attribute("aria-pressed") == "false"
    shown = """document.getElementById('pareto-chart').data
      .filter(t => t.visible !== false && t.customdata).length"""
    hidden = page.evaluate(shown)
    button.click()
    opened.settled()
    assert page.evaluate(shown) == hidden + 1
    assert button.get_attribute("aria-pressed") == "true"


def test_scores_and_sources_of_what_was_selected(opened):
    page = opened.page
    note = page.locator("#scores-note").inner_text()
    assert "No scores, by their nature: balanced" in note
    assert "Files missing (runs/…/selection.parquet): random" in note
    counts = page.evaluate("document.getElementById('scores-chart').data.map(t => [t.name, t.y])")
    # Two seeds of 50 rows from 0 to 1, evenly: 100 rows.
    assert {name: sum(y) for name, y in counts if name == "rds_plus"} == {"rds_plus": 100}
    shares = page.evaluate(
        """(() => { const all = document.getElementById('sources-chart').data;
           return all[0].x.map((_, row) => all.reduce((sum, one) => sum + one.x[row], 0)); })()"""
    )
    assert shares == pytest.approx([100] * len(shares))


def test_every_run_has_its_provenance(opened):
    page = opened.page
    page.locator("#every-run summary").click()
    ids = page.locator("#runs tbody tr").count()
    assert ids == 5 * 8 + 4 + 1
    assert "0123abc" in page.locator("#environments").inner_text()
    page.locator("#every-run summary").click()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, page_file):
    opened = Opened(
        browser, page_file, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    for name in ("pareto", "benchmarks"):
        opened.drawn(name)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.page.locator("#cells tr[data-cell] th").first.is_visible()
    assert opened.complaints == []
    opened.context.close()


def test_a_running_sweeps_page_keeps_its_place_when_it_loads_anew(browser, tmp_path):
    for seed in (0, 1):
        write_record(run("random", seed), tmp_path / "records")
        write_record(run("rds_plus", seed), tmp_path / "records")
    progress = {"done": 4, "running": 2, "failed": 1, "left": 3}
    path = write_live([tmp_path], tmp_path, refresh_seconds=1, progress=progress)
    opened = Opened(browser, path, viewport={"width": 900, "height": 200})
    page = opened.page
    page.evaluate("document.getElementById('pause').click()")  # while we are at it
    assert progress_words(page) == "4 of 10 runs done, 2 running, 1 failed, 3 left"
    page.check("#one-list")
    opened.press("mean")
    page.evaluate("scrollTo(0, 60)")
    write_record(run("balanced"), tmp_path / "records")
    write_live([tmp_path], tmp_path, refresh_seconds=1, progress={**progress, "done": 5})
    page.evaluate("document.getElementById('pause').click()")
    page.wait_for_function(
        """() => document.querySelectorAll("#cells tr[data-cell]").length === 3
          && document.getElementById("one-list").checked && scrollY === 60
          && document.querySelector("th[data-key=mean]").ariaSort === "descending"
        """
    )
    assert progress_words(page).startswith("5 of 11 runs done")
    assert set(opened.requests) == {path.as_uri()} and len(opened.requests) > 1
    assert opened.complaints == []
    opened.context.close()


def progress_words(page) -> str:
    return page.locator(".progress > span").inner_text()


@pytest.mark.parametrize(
    "records",
    [[],
     [run("x", status="failed", error="no", scores={}, ledger=[]), *floors(),
      run("a", scores={"only": Score(score=3, n=1, metric="e")}, ledger=[StageCost(stage="train")]),
      run("b", model="m", selection=Selection())]],
    ids=["nothing", "odd"],
)  # fmt: skip
def test_whatever_is_missing_the_page_works(browser, tmp_path, records):
    for at, record in enumerate(records):
        write_record(record.model_copy(update={"run_id": f"r{at}"}), tmp_path / "records")
    (tmp_path / "records").mkdir(exist_ok=True)
    opened = Opened(
        browser, write_page(read_board([tmp_path]), tmp_path / "r.html", (), [tmp_path])
    )
    for name in CHARTS:
        opened.drawn(name)
    assert opened.complaints == []
    # Five megabytes of library are not unpacked to say that there is nothing to draw.
    assert opened.page.evaluate("!window.Plotly") == (not records)
    words = opened.page.locator("#scores-chart").inner_text()
    assert "these records came without them" in words
    opened.context.close()


def test_the_data_in_the_page_is_small(page_file):
    text = page_file.read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["cells"]["mean"]) == 5 * 4 + 4 + 1
    assert len(text) < 2.3e6


def test_what_the_paper_selected_is_drawn_above_ours(browser, tmp_path):
    found = board(tmp_path, selected("random", column("table_10", "Random")))
    path = write_page(found, tmp_path / "report.html", compare(found, ["table_10"]), [tmp_path])
    opened = Opened(browser, path)
    opened.drawn("composition_table_10")
    bars = opened.page.locator("#composition_table_10-chart .ytick text").all_text_contents()
    assert sorted(bars) == ["Pool, ours", "Pool, paper", "Random, ours", "Random, paper"]
    opened.page.focus("#composition_table_10-chart")
    opened.page.keyboard.press("ArrowRight")
    said = opened.page.locator("#composition_table_10-said").inner_text()
    assert "code_alpaca: 0.3 % of the rows" in said
    assert opened.complaints == []
    opened.context.close()
