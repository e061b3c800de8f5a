"""``python -m harness.watch DIR``: how far a running sweep is, wherever it was started.

A sweep started in a terminal shows the same table below its log; without a terminal it says a line
a minute. ``--page`` also keeps ``DIR/report.html`` up to date, which then loads itself anew; a
sweep does so by itself (``report.refresh``).
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import heartbeat, live
from harness.progress import TABLE
from harness.sweep_state import State, read_state

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.check import Request

LINE_EVERY = 60.0  # seconds, where there is no terminal
MOST_ROWS = 12  # runs in the table
LONG = 100.0  # seconds, from which it is said how long the longest run has been going on


@contextmanager
def follow(request: Request) -> Iterator[None]:
    """While a sweep runs: let others see how far it is, show it here, and keep its page fresh."""
    if not request.multirun:
        yield
        return
    report, shown = request.report, _table if sys.stderr.isatty() else _lines
    with ExitStack() as stack:
        stack.enter_context(heartbeat.sweep(request.out, request.jobs, report.model_dump()))
        if report.refresh and request.until == "record":
            stack.enter_context(live.renewed(request.out, report.refresh))
        stack.enter_context(shown(lambda: read_state(request.out)))
        yield


@contextmanager
def _table(state: Callable[[], State]) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    class Now:
        def __rich__(self) -> RenderableType:
            return table(state())

    os.environ[TABLE] = "1"
    try:
        with Live(Now(), console=Console(stderr=True), refresh_per_second=1, transient=True):
            yield
    finally:
        os.environ.pop(TABLE, None)


@contextmanager
def _lines(state: Callable[[], State]) -> Iterator[None]:
    stop = threading.Event()

    def say() -> None:
        last = ""
        while not stop.wait(LINE_EVERY):
            words = line(state())
            if words != last:
                print(f"{time.strftime('%H:%M:%S')}  {words}", file=sys.stderr, flush=True)
            last = words

    threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def line(state: State) -> str:
    """The state in a line."""
    parts = [f"{state.done} done"]
    if state.running:
        stages = sorted({one.stage for one in state.running})
        longest = max(one.seconds for one in state.running)
        since = f"; for {duration(longest)}" if longest >= LONG else ""
        parts.append(f"{len(state.running)} running ({', '.join(stages)}{since})")
    parts.append(f"{state.failed} failed")
    if state.left is not None:
        parts.append(f"{state.left} left")
    if state.seconds_left is not None:
        parts.append(f"about {duration(state.seconds_left)} to go")
    return ", ".join(parts)


def table(state: State) -> RenderableType:
    """The state as a table: a row a run that is going on, and the line above it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(line(state), style="bold")]
    if state.running:
        rows = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        rows.add_column("running", no_wrap=True, overflow="ellipsis")
        rows.add_column("stage")
        rows.add_column("in it for", justify="right")
        rows.add_column("in all", justify="right")
        rows.add_column("on", overflow="ellipsis")
        for one in state.running[:MOST_ROWS]:
            rows.add_row(
                one.run, one.stage, duration(one.in_stage), duration(one.seconds), one.host
            )
        parts.append(rows)
        if len(state.running) > MOST_ROWS:
            parts.append(Text(f"and {len(state.running) - MOST_ROWS} more", style="dim"))
    if state.failures:
        shown = ", ".join(state.failures[-3:])
        parts.append(Text(f"failed: {shown}" + ", ..." * (state.failed > 3), style="red"))
    return Group(*parts)


def duration(seconds: float) -> str:
    """Seconds in words: 8 s, 3 min, 2 h 05 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the sweep in a folder until it ends; the exit code is 2 if there is no such folder."""
    args = _parser().parse_args(arguments)
    if not args.folder.is_dir():
        print(f"error: {args.folder} is no folder", file=sys.stderr)
        return 2
    state = read_state(args.folder)
    if args.once or not (state.going or state.running):
        print(line(state) + ("" if state.going or state.running else "; nothing runs"))
        if args.page and (args.folder / "records").is_dir():
            live.draw(args.folder)
        return 0
    try:
        _until_it_ends(args)
    except KeyboardInterrupt:
        return 130
    print(line(read_state(args.folder)))
    return 0


def _until_it_ends(args: argparse.Namespace) -> None:
    page = live.LivePage(args.folder, args.refresh) if args.page else None
    shown = _table if sys.stderr.isatty() else _lines
    try:
        with shown(lambda: read_state(args.folder)):
            while (state := read_state(args.folder)).going or state.running:
                if page:
                    page.look(state)
                time.sleep(1.0)
        if page:
            page.end()
    finally:
        if page:
            live.settle(page.path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.watch", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the sweep's out")
    parser.add_argument("--once", action="store_true", help="say a line and stop")
    parser.add_argument("--page", action="store_true", help="keep DIR/report.html up to date too")
    parser.add_argument(
        "--refresh", type=int, default=30, metavar="SECONDS", help="between two pages (30)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
