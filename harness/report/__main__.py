"""``python -m harness.report DIR... [--out DIR]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import paper
from harness.report import build_report


def main(arguments: list[str] | None = None) -> int:
    """Rebuild board, plots and page from records, and print what was written."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.report",
        description="Rebuild board, plots and page from the records of runs, without running any.",
        epilog="example: python -m harness.report outputs/demo outputs/mine --out outputs/both",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="searched for records/*.json, at any depth",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: the first DIR)"
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="TABLE",
        help=f"published tables to lay beside the runs: {', '.join(paper.names())}",
    )
    parser.add_argument(
        "--reference",
        metavar="METHOD",
        help="the method that the others are held against (default: report.reference of the runs)",
    )
    chosen = parser.parse_args(arguments)
    try:
        for name in chosen.compare:
            paper.check_name(name)
        out = chosen.out or chosen.folders[0]
        paths = build_report(chosen.folders, out, chosen.compare, reference=chosen.reference)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from harness.board import read_board
    from harness.report.table import print_board

    board = read_board(chosen.folders, chosen.reference)
    print_board(board, paths, compare_with=chosen.compare)
    return 0


if __name__ == "__main__":
    sys.exit(main())
