"""Board, plots and page from records alone: ``python -m harness.report DIR...``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["build_report", "print_summary", "write_live"]


def build_report(
    folders: Sequence[Path],
    out: Path,
    compare_with: Iterable[str] = (),
    *,
    if_changed: bool = False,
    reference: str | None = None,
    refresh_seconds: int | None = None,
    progress: Mapping[str, int] | None = None,
) -> dict[str, Path]:
    """Write ``*.csv, tables/*, plots/*, compared/*`` and ``report.html`` into ``out``.

    Args:
        folders: searched for records, at any depth.
        out: made if need be.
        compare_with: published tables to lay beside, besides those that the records name.
        if_changed: leave a report as it is that was made from these very records.
        reference: the method that the others are held against; None: as the records say.
        refresh_seconds, progress: as ``write_page`` takes them, for a sweep that is running.

    Returns:
        What was written by name: ``runs``, ``leaderboard``, ``report``, ``pareto_png``, ...

    Raises:
        FileNotFoundError: one of the folders does not exist.
    """
    from harness.report import unchanged

    compare_with = list(compare_with)
    now = unchanged.state(folders, out, [*compare_with, f"reference {reference}"])
    if if_changed and (found := unchanged.read(out, now)) is not None:
        return found
    from harness.board import read_board
    from harness.report.compared import compare, write_compared
    from harness.report.composition_figure import write_compositions
    from harness.report.figures import write_figures
    from harness.report.page import write_page
    from harness.report.paper_table import write_tables
    from harness.report.published import write_published
    from harness.report.selected import Selections

    board = read_board(folders, reference)
    paths = board.write(out) | write_tables(board, out / "tables")
    for picture in write_figures(board, out / "plots", Selections(folders)):
        paths |= picture.paths
    tables = compare(board, compare_with)
    paths |= write_compared(tables, out / "compared") | write_published(tables, out / "plots")
    paths |= write_compositions(tables, out / "plots")
    paths |= {
        "report": write_page(
            board, out / "report.html", tables, folders,
            refresh_seconds=refresh_seconds, progress=progress,
        )
    }  # fmt: skip
    unchanged.write(out, now, paths)
    return paths


def write_live(
    folders: Sequence[Path],
    out: Path,
    *,
    refresh_seconds: int | None = None,
    progress: Mapping[str, int] | None = None,
    compare_with: Iterable[str] = (),
    reference: str | None = None,
) -> Path:
    """Write ``report.html`` alone, without figures and tables beside it: for a running sweep.

    Args:
        folders, out, compare_with, reference: as for ``build_report``.
        refresh_seconds, progress: as for ``write_page``.
    """
    from harness.board import read_board
    from harness.report import unchanged
    from harness.report.compared import compare
    from harness.report.page import write_page

    board = read_board(folders, reference)
    unchanged.forget(out)  # the report at the end of the sweep replaces this page
    return write_page(
        board, out / "report.html", compare(board, compare_with), folders,
        refresh_seconds=refresh_seconds, progress=progress,
    )  # fmt: skip


def print_summary(
    folder: Path,
    written: Mapping[str, Path],
    compare_with: Iterable[str] = (),
    reference: str | None = None,
) -> bool:
    """Print the board of ``folder``'s records, what it cost and where the files are.

    Args:
        folder, compare_with, reference: as for ``build_report``.
        written: what that returned.

    Returns:
        Whether any run failed or any record could not be read.
    """
    from harness.board import read_board
    from harness.report.table import print_board

    board = read_board([folder], reference)
    print_board(board, written, compare_with=compare_with)
    return len(board.failures) > 0
