"""How far a sweep is: from files alone, right over kills, and shown without spoiling the log."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness import cli, heartbeat, live, watch
from harness.check import Request, check
from harness.heartbeat import EVERY, STALE, Heartbeat
from harness.live import SHARE, LivePage, is_live, pause, settle
from harness.record import Record, Score, write_record
from harness.settings import ReportSettings
from harness.sweep_state import read_state, seconds_left
from harness.watch import duration, follow, line, main, table

ROOT = Path(__file__).parents[2]


def put(path: Path, said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))


def run_file(out: Path, run: str, *, host: str = "elsewhere", pid: int = 1, **more: Any) -> Path:
    now = time.time()
    said = {"run": run, "stage": "train", "stage_started": now - 5, "started": now - 60,
            "host": host, "pid": pid, "cell": "", **more}  # fmt: skip
    put(out / "running" / f"{run}.json", said)
    return out / "running" / f"{run}.json"


def record(out: Path, run: str, status: str) -> None:
    put(out / "records" / f"{run}.json", {"status": status})


def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_a_run_says_where_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, "before_it_has_a_name") as beat:
        assert [one.stage for one in read_state(tmp_path).running] == ["pool"]
        beat.rename("its_name")
        beat.stage("train")
        (one,) = read_state(tmp_path).running
        assert (one.run, one.stage, one.host) == ("its_name", "train", socket.gethostname())
        assert [path.name for path in (tmp_path / "running").iterdir()] == ["its_name.json"]
    assert not list(tmp_path.iterdir())


def test_a_sweeps_cells_end_as_done_failed_or_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter("0123")
    monkeypatch.setattr(heartbeat, "_cell", lambda: next(numbers))
    record(tmp_path, "of_an_older_sweep", "done")
    with heartbeat.sweep(tmp_path, [f"method=m budget={n}" for n in range(5)]):
        with Heartbeat(tmp_path, "first"):
            assert read_state(tmp_path).left == 4
        with Heartbeat(tmp_path, "second") as beat:
            beat.found = True
        with pytest.raises(ValueError), Heartbeat(tmp_path, "third"):
            raise ValueError("a run that fails")
        with pytest.raises(KeyboardInterrupt), Heartbeat(tmp_path, "fourth"):
            raise KeyboardInterrupt  # not an end: the cell is to be done again
        state = read_state(tmp_path)
        assert (state.going, state.done, state.failed, state.left) == (True, 2, 1, 2)
        assert state.failures == ["third"]
        assert state.seconds_left is not None
        assert state.seconds_left < 2  # two cells as long as the first one; the found says nothing
    assert [path.name for path in tmp_path.iterdir()] == ["records"]
    after = read_state(tmp_path)
    assert (after.going, after.done, after.left) == (False, 1, None)


def test_what_a_kill_left_behind_counts_for_nothing(tmp_path: Path) -> None:
    here = socket.gethostname()
    run_file(tmp_path, "killed_here", host=here, pid=dead_pid())
    run_file(tmp_path, "alive_here", host=here, pid=os.getpid())
    far = run_file(tmp_path, "silent_elsewhere")
    os.utime(far, (0, time.time() - STALE - 1))
    run_file(tmp_path, "alive_elsewhere")
    (tmp_path / "running" / "half.json").write_text('{"run": "x"')
    put(
        tmp_path / "running" / "old.sweep.json",
        {"jobs": ["a", "b"], "host": here, "pid": dead_pid()},
    )
    put(tmp_path / "running" / "old" / "0.json", {"run": "r", "status": "done"})
    state = read_state(tmp_path)
    assert {one.run for one in state.running} == {"alive_here", "alive_elsewhere"}
    assert not state.going
    with heartbeat.sweep(tmp_path, None):  # cleans up; how many cells it has, nobody knows
        left = {path.name for path in (tmp_path / "running").iterdir()}
        assert {"alive_here.json", "alive_elsewhere.json"} < left
        assert not {"killed_here.json", "silent_elsewhere.json", "old.sweep.json", "old"} & left
        state = read_state(tmp_path)
        assert (state.going, state.left, state.seconds_left) == (True, None, None)
    assert read_state(tmp_path, time.time() + STALE + EVERY).running == []


def test_a_heartbeat_keeps_a_file_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    with Heartbeat(tmp_path, "run"):
        path = tmp_path / "running" / "run.json"
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - STALE


def test_a_folder_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("a file stands in the way")
    with Heartbeat(tmp_path, "run") as beat:
        beat.stage("train")
        beat.rename("named")


def test_records_count_where_no_sweep_goes_on(tmp_path: Path) -> None:
    record(tmp_path, "a", "done")
    record(tmp_path, "b", "failed")
    state = read_state(tmp_path)
    assert (state.done, state.failed, state.failures, state.left) == (1, 1, ["b"], None)
    record(tmp_path, "b", "done")
    assert read_state(tmp_path).done == 2


def test_time_left_goes_by_method_and_budget() -> None:
    times = {"slow 64": [90, 100, 500], "slow *": [90, 100, 500], "fast *": [10], "*": [10, 100]}
    waiting = [
        ("method=slow budget=64", 30.0),  # runs for 30 s: 70 to go
        ("method=slow budget=64", 0.0),  # 100
        ("method=fast budget=64", 0.0),  # only its method is known: 10
        ("method=fast budget=64", 25.0),  # 15 longer than expected: as much again
        ("method=new", 0.0),  # the median of all: 55
    ]
    assert seconds_left(waiting, times, 1) == 70 + 100 + 10 + 15 + 55
    assert seconds_left(waiting, times, 2) == (70 + 100 + 10 + 15 + 55) / 2
    assert seconds_left(waiting, {}, 1) is None
    assert seconds_left([], {}, 0) == 0


def test_cells_are_those_that_hydra_makes() -> None:
    request = check(["-m", "method=random,length", "budget=16,32", "seed=3"])
    assert request.jobs == (
        "method=random budget=16", "method=random budget=32",
        "method=length budget=16", "method=length budget=32",
    )  # fmt: skip
    assert check(["method=random"]).jobs is None
    preset = check(["experiment=demo_small"])
    assert preset.multirun
    narrowed = check(["experiment=demo_small", "method=random,length"])
    assert preset.jobs and narrowed.jobs
    assert {word for job in narrowed.jobs for word in job.split() if "method" in word} == {
        "method=random", "method=length",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (7500, "2 h 05 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_table_fits_and_names_all_states(tmp_path: Path) -> None:
    from rich.console import Console

    for number in range(20):
        run_file(tmp_path, f"run{number:02d}")
    record(tmp_path, "broken", "failed")
    state = read_state(tmp_path)
    assert line(state) == "0 done, 20 running (train), 1 failed"
    run_file(tmp_path, "run20", started=time.time() - 1270)
    assert line(read_state(tmp_path)) == "0 done, 21 running (train; for 21 min), 1 failed"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(state))
    shown = console.export_text()
    assert "run00" in shown and "and 8 more" in shown and "failed: broken" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_watch_says_a_line_where_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "a", "done")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 done, 0 failed; nothing runs\n"
    assert main([str(tmp_path / "none")]) == 2
    (tmp_path / "no_sweep").mkdir()
    assert main([str(tmp_path / "no_sweep"), "--page"]) == 0
    assert not list((tmp_path / "no_sweep").iterdir())


def finished(out: Path, method: str = "random", seed: int = 0) -> None:
    scores = {"qa": Score(score=50 + seed, stderr=1.0, n=10, metric="exact_match")}
    record = Record(
        run_id=f"{method}-{seed}", status="done", method=method, pool="p", pool_size=100,
        budget=10, target="any", model="m", selector_model="none", recipe="r", suite="s",
        judge="j", seed=seed, scores=scores,
    )  # fmt: skip
    write_record(record, out / "records")


def test_the_page_refreshes_itself_until_the_sweep_ends(tmp_path: Path) -> None:
    for seed in range(2):
        finished(tmp_path, seed=seed)
    going = run_file(tmp_path, "third")
    page = tmp_path / "report.html"
    pages = []

    def end_when_shown() -> None:
        while not page.is_file():
            time.sleep(0.02)
        pages.append(page.read_text())
        going.unlink()

    ender = threading.Thread(target=end_when_shown)
    ender.start()
    assert main([str(tmp_path), "--page", "--refresh", "1"]) == 0
    ender.join()
    assert 'data-refresh="1"' in pages[0]
    assert "1 running" in pages[0]
    assert "data-refresh=" not in page.read_text()
    assert "random" in page.read_text()


def test_drawing_takes_a_small_part_of_the_time() -> None:
    assert pause(30, took=1, spent=0.5) == 29  # every 30 seconds from one to the next
    assert pause(30, took=40, spent=0.5) == 30  # a turn is left out
    for took, spent in ((2.0, 2.0), (100.0, 80.0), (9.0, 1.0)):
        assert spent / (took + pause(1, took, spent)) <= SHARE + 1e-12


def test_the_page_is_drawn_when_it_is_time_and_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, Any]] = []
    clock = [0.0]
    monkeypatch.setattr("harness.report.write_live", lambda *_, **more: drawn.append(more))
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live.time, "process_time", lambda: 0.0)
    page = LivePage(tmp_path, 30)

    def look(seconds: float) -> bool:
        clock[0] += seconds
        return page.look(read_state(tmp_path))

    asked = {"compare": ["paper"], "reference": "length", "refresh": 30}
    with heartbeat.sweep(tmp_path, ["budget=1", "budget=2"], asked):
        assert not look(14) and look(1)  # the first is early, and shows what is to come
        said = drawn[-1]
        assert said["progress"] == {"done": 0, "running": 0, "failed": 0, "left": 2}
        assert (said["compare_with"], said["reference"]) == (["paper"], "length")
        assert said["refresh_seconds"] == 30
        finished(tmp_path)
        assert not look(29) and look(1)
        assert not look(60)  # nothing is new
        going = run_file(tmp_path, "a_run")
        assert look(30)
        assert drawn[-1]["progress"]["running"] == 1
        going.unlink()
    page.end()
    assert (len(drawn), drawn[-1]["refresh_seconds"], drawn[-1]["progress"]) == (4, None, None)
    assert drawn[-1]["reference"] == "length"


def test_a_page_that_cannot_be_drawn_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr("harness.report.write_live", broken)
    page = LivePage(tmp_path, 0)
    assert [page.look(read_state(tmp_path)) for _ in range(3)] == [False] * 3
    page.end()
    assert capsys.readouterr().err == "live page: ValueError: no such colour\n"


def test_a_settled_page_tells_of_no_sweep_and_is_else_as_it_was(tmp_path: Path) -> None:
    finished(tmp_path, "<!--live-->5/9 · <title>")
    live.draw(tmp_path, {"reference": "random"}, 30, {"done": 1, "left": 1})
    page = tmp_path / "report.html"
    assert is_live(page) and "1 of 2 runs done" in page.read_text()
    settle(page)
    settled = page.read_text()
    live.draw(tmp_path, {"reference": "random"})
    assert settled.replace("\n", "") == page.read_text().replace("\n", "")
    assert not is_live(page) and "data-refresh=" not in settled
    settle(page)
    settle(tmp_path / "none.html")
    assert [path.name for path in tmp_path.glob("*.html")] == ["report.html"]


LITTLE = (
    "import os, sys, time; from pathlib import Path; from harness import heartbeat, live\n"
    "out = Path(sys.argv[1])\n"
    "with heartbeat.sweep(out, ['a', 'b'], {'reference': 'length'}), live.renewed(out, 0.1):\n"
    "    while not (out / 'report.html').is_file(): time.sleep(0.05)\n"
    "    print('there', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_however_a_sweep_ends_its_page_loads_itself_no_more(
    tmp_path: Path, end: signal.Signals
) -> None:
    """In a process of its own, that nobody waits for after a kill."""
    for method in ("random", "length"):
        finished(tmp_path, method)
    sweep = subprocess.Popen(
        [sys.executable, "-c", LITTLE, str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sweep.stdout and sweep.stderr and sweep.stdout.readline() == "there\n"
    page = tmp_path / "report.html"
    assert is_live(page) and "0 of 2 runs done" in page.read_text()
    assert "cannot be told from length" in page.read_text()
    sweep.send_signal(end)
    # The drawing process holds the other end of this pipe: it is gone when the pipe ends.
    said = sweep.stderr.read()
    sweep.wait()
    assert said.startswith(f"live page: {page} (in 0.1 s, then every 0.1 s)\n")
    assert not is_live(page) and "runs done, 2 left" not in page.read_text()
    assert "length" in page.read_text() and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("end", "in_report", "code"),
    [(KeyboardInterrupt, None, 130), (SystemExit, None, 1), (None, KeyboardInterrupt, 130)],
    ids=["stopped", "failed", "stopped in the report"],
)
def test_the_report_at_the_end_takes_the_live_pages_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Any, in_report: Any, code: int
) -> None:
    page = tmp_path / "report.html"

    def runs() -> None:
        for method in ("random", "length"):
            finished(tmp_path, method)
        while not page.is_file():
            time.sleep(0.05)
        assert is_live(page)
        if end:
            raise end(1)

    def stopped(*_: Any, **__: Any) -> None:
        raise in_report

    monkeypatch.setattr(cli, "_hydra_main", runs)
    if in_report:
        monkeypatch.setattr("harness.report.build_report", stopped)
    words = ["-m", "method=random,length", "report.refresh=0.1", "report.reference=length"]
    monkeypatch.setattr(sys, "argv", ["harness", *words, f"out={tmp_path}"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == code
    assert not is_live(page) and "cannot be told from length" in page.read_text()
    assert (tmp_path / "leaderboard.csv").is_file() == (in_report is None)
    assert not (tmp_path / "running").exists()


def sweep_command(folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "harness", "-m", "method=random", "seed=0,1,2,3", "until=order",
        "pool.size=300", "budget=16", f"out={folder / 'out'}", f"store={folder / 'store'}",
    ]  # fmt: skip


def test_a_sweep_in_a_terminal_shows_the_table_and_its_log(tmp_path: Path) -> None:
    """In a real terminal (a pty); a second process watches the same sweep meanwhile."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    running = subprocess.Popen(
        sweep_command(tmp_path), cwd=ROOT, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                shown.append(os.read(ours, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()
    states = []
    while running.poll() is None:
        if (tmp_path / "out").is_dir() and (state := read_state(tmp_path / "out")).going:
            states.append((state.done, len(state.running), state.left))
        time.sleep(0.05)
    reader.join()
    text = b"".join(shown).decode()
    assert running.returncode == 0, text
    assert "1 running (" in text and " left" in text
    assert text.count("ordering: ") == 4  # the log is there as before
    assert states[0][2] in (3, 4)
    assert states[-1][0] >= 3
    assert all(done + runs + (left or 0) <= 4 for done, runs, left in states)
    assert not (tmp_path / "out" / "running").exists()


def test_without_a_terminal_a_sweep_says_plain_lines_when_something_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LINE_EVERY", 0.02)
    monkeypatch.setattr(heartbeat, "_cell", lambda: "0")
    shown = ""

    def wait_for(words: str) -> None:
        nonlocal shown
        for _ in range(1000):
            shown += capsys.readouterr().err
            if words in shown:
                return
            time.sleep(0.02)
        raise AssertionError(shown)

    request = Request(tmp_path, "record", True, ReportSettings(refresh=0), ("budget=1", "budget=2"))
    with follow(request):
        assert read_state(tmp_path).report["reference"] == "random"
        wait_for("  0 done, 0 failed, 2 left\n")
        with Heartbeat(tmp_path, "run"):
            wait_for("  0 done, 1 running (pool), 0 failed, 1 left\n")
    said = [words.split("  ", 1)[1] for words in shown.splitlines()]
    assert len(said) == len(set(said)) and "\x1b" not in shown


def test_a_single_run_leaves_the_terminal_alone(tmp_path: Path) -> None:
    with follow(Request(tmp_path, "record", False, ReportSettings())):
        assert not list(tmp_path.iterdir())
