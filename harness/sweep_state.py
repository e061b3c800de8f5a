"""How far a sweep is, from the files of ``harness.heartbeat`` and from records."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.heartbeat import FOLDER, alive, read


@dataclass(frozen=True)
class Running:
    """A run that is going on: where it is, for how long (seconds), on which host, as which cell."""

    run: str
    stage: str
    in_stage: float
    seconds: float
    host: str
    cell: str = ""


@dataclass(frozen=True)
class State:
    """A sweep, or several in one folder.

    Attributes:
        going: a sweep is going on; otherwise ``done`` and ``failed`` count all records.
        done: cells that ended well, those found done included.
        failed: cells that did not.
        running: those going on.
        left: cells that were not begun; None if nobody knows.
        seconds_left: until the last cell ends; None if there is nothing to guess it from.
        failures: names of the failed.
        report: what the report of the sweep that began last is to be like.
    """

    going: bool
    done: int
    failed: int
    running: list[Running]
    left: int | None
    seconds_left: float | None
    failures: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """In the words of the report's page."""
        return {
            "done": self.done,
            "running": len(self.running),
            "failed": self.failed,
            "left": self.left or 0,
        }


def read_state(out: Path, now: float | None = None) -> State:
    """What goes on in ``out``.

    Args:
        out: a sweep's folder.
        now: seconds since the epoch, if not now.
    """
    now = time.time() if now is None else now
    folder = out / FOLDER
    sweeps: list[tuple[Path, dict[str, Any]]] = []
    running: list[Running] = []
    for path in sorted(folder.glob("*.json")):
        said = read(path)
        if said is None or not alive(path, said, now):
            continue
        if path.name.endswith(".sweep.json"):
            sweeps.append((path, said))
        else:
            running.append(_running(said, now))
    running.sort(key=lambda one: -one.seconds)
    if not sweeps:
        status = _record_states(out)
        failures = sorted(name for name, state in status.items() if state == "failed")
        done = sum(state == "done" for state in status.values())
        return State(False, done, len(failures), running, None, None, failures)
    ended: list[dict[str, Any]] = []
    waiting: list[tuple[str, float]] = []
    times: dict[str, list[float]] = defaultdict(list)
    spent = {one.cell: one.seconds for one in running}
    for path, said in sweeps:
        here = folder / path.name.removesuffix(".sweep.json")
        of_cell = {one.stem: found for one in here.glob("*.json") if (found := read(one))}
        ended += of_cell.values()
        for number, words in enumerate(said["jobs"] or []):
            cell = of_cell.get(str(number))
            if cell is None:
                waiting.append((words, spent.get(str(number), 0.0)))
            elif cell["status"] == "done" and not cell["found"]:
                for name in _kinds(words):
                    times[name].append(cell["seconds"])
    known = all(said["jobs"] is not None for _, said in sweeps)
    failures = sorted(cell["run"] for cell in ended if cell["status"] == "failed")
    return State(
        going=True,
        done=len(ended) - len(failures),
        failed=len(failures),
        running=running,
        left=max(len(waiting) - len(running), 0) if known else None,
        seconds_left=seconds_left(waiting, times, len(running)) if known else None,
        failures=failures,
        report=max(sweeps, key=lambda sweep: sweep[1]["started"])[1].get("report", {}),
    )


def seconds_left(
    waiting: Sequence[tuple[str, float]], times: Mapping[str, Sequence[float]], at_once: int
) -> float | None:
    """Seconds until all cells will have ended; None if none has that could tell.

    A cell takes the median of those that ended with its method and budget, or else its method, or
    else of all. One that has taken longer is guessed to go on for as long as it is overdue.

    Args:
        waiting: of every cell that has not ended its words, and the seconds it has run for.
        times: seconds of cells that ended, by kind of cell.
        at_once: how many run at a time.
    """
    if not waiting:
        return 0.0
    medians = {name: statistics.median(some) for name, some in times.items() if some}
    if not medians:
        return None
    takes = (
        abs(next(medians[name] for name in _kinds(words) if name in medians) - spent)
        for words, spent in waiting
    )
    return sum(takes) / max(at_once, 1)


def _kinds(words: str) -> list[str]:
    """What cells a cell is like, the most alike first."""
    given = dict(word.partition("=")[::2] for word in words.split())
    method, budget = given.get("method", ""), given.get("budget", "")
    return [f"{method} {budget}", f"{method} *", "*"]


def _running(said: dict[str, Any], now: float) -> Running:
    return Running(
        run=said["run"],
        stage=said["stage"],
        in_stage=max(now - said["stage_started"], 0.0),
        seconds=max(now - said["started"], 0.0),
        host=said["host"],
        cell=said.get("cell", ""),
    )


_SEEN: dict[Path, tuple[tuple[int, int], str]] = {}


def _record_states(out: Path) -> dict[str, str]:
    """``done`` or ``failed`` by run; a record that did not change is not read again."""
    return {path.stem: _state(path) for path in _files(out / "records")}


def _files(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _state(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    stamp = (stat.st_size, stat.st_mtime_ns)
    if path not in _SEEN or _SEEN[path][0] != stamp:
        _SEEN[path] = (stamp, str((read(path) or {}).get("status", "")))
    return _SEEN[path][1]
