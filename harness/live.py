"""``report.html`` of a running sweep: drawn anew now and then, from records and heartbeats alone.

A sweep has it drawn by a process of its own and of the lowest priority (``renewed``), which takes
neither the time of the sweep's interpreter nor, if a drawing fails, the sweep with it. It does not
matter where the jobs run. ``python -m harness.watch DIR --page`` draws the same page.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.files import write_atomic
from harness.sweep_state import State, read_state

FIRST = 15.0  # seconds before the first page: a sweep that finds all its runs done is over by then
SHARE = 0.04  # of a processor's time, that drawing may take
_LOOK = 1.0  # seconds between two looks whether the sweep is still there
_GRACE = 10.0  # seconds for the process to end when it is told to
_LIVE = re.compile(r"<!--live-->.*?<!--/live-->|(?<=<title>)\d+/\d+ · ", re.DOTALL)


class LivePage:
    """The page of a folder, and when it is to be drawn again.

    Args:
        folder: a sweep's.
        refresh: seconds between two drawings; more if they would take a larger part than ``SHARE``
            of the time or the last took longer than that.
    """

    def __init__(self, folder: Path, refresh: float) -> None:
        self.path = folder / "report.html"
        self._refresh = refresh
        self._pause = refresh
        self._due = time.monotonic() + min(refresh, FIRST)
        self._shown: Any = None
        self._asked: dict[str, Any] = {}
        self._complained = False

    def look(self, state: State) -> bool:
        """Draw the page if it is time to and something has changed; say whether it was drawn."""
        self._asked = state.report or self._asked
        if time.monotonic() < self._due:
            return False
        shows = (state.counts, _stamps(self.path.parent))
        if shows == self._shown:
            self._due = time.monotonic() + self._refresh
            return False
        drawn = self._draw(math.ceil(max(self._pause, 1)), state.counts)
        self._shown = shows if drawn else None
        return drawn

    def end(self) -> None:
        """A last page that loads itself no more, unless the sweep's own report stands there."""
        if not self.path.is_file() or is_live(self.path):
            self._draw(None, None)
        settle(self.path)

    def _draw(self, reload: int | None, counts: dict[str, int] | None) -> bool:
        began, spent = time.monotonic(), time.process_time()
        try:
            if "harness.report.page" not in sys.modules:  # not counted: it happens once
                importlib.import_module("harness.report.page")
                began, spent = time.monotonic(), time.process_time()
            draw(self.path.parent, self._asked, reload, counts)
        except Exception as error:  # the report at the end will say it too, and in full
            if not self._complained:
                print(f"live page: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self._complained = True
            return False
        finally:
            took = time.monotonic() - began
            self._pause = pause(self._refresh, took, time.process_time() - spent)
            self._due = time.monotonic() + self._pause
        return True


def draw(
    folder: Path,
    asked: Mapping[str, Any] | None = None,
    reload: int | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Draw a folder's page.

    Args:
        folder: a sweep's.
        asked: what it is to be like (``report`` of the configuration), if not as the records say.
        reload, counts: ``refresh_seconds`` and ``progress`` of ``write_page``.
    """
    from harness.report import write_live

    asked = asked or {}
    write_live(
        [folder], folder, refresh_seconds=reload, progress=counts,
        compare_with=asked.get("compare") or (), reference=asked.get("reference"),
    )  # fmt: skip


def pause(refresh: float, took: float, spent: float) -> float:
    """Seconds to wait after a drawing.

    Args:
        refresh: seconds from one to the next, if all is well.
        took: seconds that it took; if more than that, a turn is left out.
        spent: seconds of a processor that it took.
    """
    rest = refresh - took if took < refresh else refresh
    return max(rest, spent / SHARE - took)


def is_live(path: Path) -> bool:
    """Whether the page loads itself anew."""
    with path.open(encoding="utf-8") as stream:
        return "<!--live-->" in stream.read(4096)  # it stands in the head


def settle(path: Path) -> None:
    """Take out of a page what tells of a sweep that is going on; without one, do nothing."""
    if path.is_file() and is_live(path):
        write_atomic(path, _LIVE.sub("", path.read_text(encoding="utf-8")))


@contextmanager
def renewed(folder: Path, refresh: float) -> Iterator[None]:
    """Keep ``folder``'s page up to date for as long as the ``with`` lasts, by another process.

    Afterwards the page loads itself no more. If this process is killed, the other sees to that.
    """
    path = folder.resolve() / "report.html"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.live", path.parent, str(refresh), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the sweep's
            env={**os.environ, **one, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    except OSError as error:
        print(f"no live page: {error}", file=sys.stderr)
        yield
        return
    print(f"live page: {path} (in {min(refresh, FIRST):g} s, then every {refresh:g} s)",
          file=sys.stderr, flush=True)  # fmt: skip
    try:
        yield
    finally:
        _stop(process)
        settle(path)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the records."""
    found = []
    for path in sorted((folder / "records").glob("*.json")):
        try:
            status = path.stat()
        except OSError:  # gone meanwhile
            continue
        found.append((path.name, status.st_size, status.st_mtime_ns))
    return found


def main(folder: Path, refresh: float, parent: int) -> None:
    """Draw the page of ``folder`` until the process ``parent`` is gone or tells this one to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    os.nice(19)
    page = LivePage(folder, refresh)
    while os.getppid() == parent:
        page.look(read_state(folder))
        time.sleep(_LOOK)
    settle(page.path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
