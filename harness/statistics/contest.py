"""What competes with each other, and the method that the others of a contest are held against."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.board_rows import REFERENCE_METHOD

CONTEST = ("suite", "judge", "model", "recipe", "pool", "pool_size", "budget")
_LISTED = 12  # methods that are named where the one that was asked for is not there

Row = Mapping[str, Any]


def nearest(rows: Mapping[int, Row], row: Row, method: str) -> int | None:
    """The place of the reference method's row that is nearest to ``row`` in target and selector.

    Args:
        rows: the contest's, by place, floors left out.
        row: what is held against it.
        method: the reference's name.
    """

    def far(at: int) -> tuple[bool, bool, int]:
        other = rows[at]
        return (
            other["target"] != row["target"],
            other["selector_model"] != row["selector_model"],
            at,
        )

    return min((at for at in rows if rows[at]["method"] == method), key=far, default=None)


def absent(rows: Sequence[Row], method: str) -> str:
    """What to tell a reader whose methods are not, or not everywhere, held against ``method``.

    Args:
        rows: of the leaderboard.
        method: the reference's name.

    Returns:
        A sentence or two; empty if all is well, or if nobody asked and no contest has two methods.
    """
    contests: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row in rows:
        if row["mean"] is not None and not row["floor"] and not row["part_of"]:
            contests[tuple(row[name] for name in CONTEST)].add(row["method"])
    least = 2 if method == REFERENCE_METHOD else 1  # what somebody asked for is always answered
    contests = {key: methods for key, methods in contests.items() if len(methods) >= least}
    without = sum(method not in methods for methods in contests.values())
    if not without:
        return ""
    if without < len(contests):
        return (
            f"{without} of {len(contests)} settings have no finished run of {method}: nothing is "
            "held against it there."
        )
    return (
        f"Nothing is held against {method}: {_why(rows, method)}. To choose another: "
        f"report.reference=METHOD in a run, --reference METHOD afterwards; "
        f"{_choices(sorted(set().union(*contests.values())), method)}."
    )


def _why(rows: Sequence[Row], method: str) -> str:
    own = [row for row in rows if row["method"] == method]
    if not own:
        return "there is no such method here"
    if any(row["floor"] for row in own):
        return "it is a floor or a ceiling"
    return "it has no finished run beside the others"


def _choices(methods: Sequence[str], method: str) -> str:
    near = difflib.get_close_matches(method, methods, n=1, cutoff=0.5)
    more = ", ..." if len(methods) > _LISTED else ""
    hint = f"nearest: {near[0]}; " if near else ""
    return f"{hint}there are {', '.join(methods[:_LISTED])}{more}"
