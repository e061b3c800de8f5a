"""Progress of long work: rows and tokens a second, and the time left."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from tqdm import tqdm

TABLE = "WINNOW_TABLE"  # set while a sweep's table has the terminal's last lines for itself


def interactive() -> bool:
    """Whether somebody is watching: bars move in a terminal only, logs stay readable.

    Not below a sweep's table either, where bars and table would write over each other.
    """
    return sys.stderr.isatty() and TABLE not in os.environ


def interval() -> float:
    """Seconds between two states of a bar: a log gets one a minute."""
    return 0.1 if interactive() else 60.0


class RowProgress:
    """A bar over rows that also shows tokens/s. Rows found in the store count as done at once."""

    def __init__(self, what: str, rows: int, *, show: bool) -> None:
        self._bar = tqdm(
            total=rows,
            unit="row",
            desc=what,
            disable=not show,
            leave=False,
            dynamic_ncols=True,
            mininterval=interval(),
            delay=0 if interactive() else interval(),
        )
        self._tokens = 0
        self._start = time.perf_counter()

    def update(self, rows: int, tokens: int) -> None:
        """Count a finished batch."""
        self._tokens += tokens
        rate = self._tokens / max(time.perf_counter() - self._start, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s", refresh=False)
        self._bar.update(rows)

    def skip(self, rows: int) -> None:
        """Count rows that needed no work."""
        self._bar.update(rows)

    def __enter__(self) -> RowProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
