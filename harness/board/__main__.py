"""``python -m harness.board DIR...``, ``... verify DIR`` and ``... pack DIR OUT``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_USAGE = """
  python -m harness.board outputs/mine outputs/theirs --out outputs/both   the board of runs
  python -m harness.board pack outputs/mine mine.zip                      runs as a submission
  python -m harness.board verify mine.zip --data benchmarks               check a submission
"""
_SHOWN = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the board of folders, or pack or verify a submission."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"verify": _verify, "pack": _pack}
    if given and given[0] in commands:
        return commands[given[0]](given[1:])
    return _board(given)


def _board(given: list[str]) -> int:
    parser = _parser("python -m harness.board", "Tables of runs from their records alone.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write runs.csv, leaderboard.csv "
                        "and tables/ there")  # fmt: skip
    parser.add_argument("--reference", metavar="METHOD", help="what the others are held against "
                        "(default: report.reference of the runs)")  # fmt: skip
    chosen = parser.parse_args(given)
    from harness.board import read_board
    from harness.report.paper_table import write_tables
    from harness.report.table import print_board

    try:
        board = read_board(chosen.folders, chosen.reference)
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    written = {}
    if chosen.out:
        written = board.write(chosen.out) | write_tables(board, chosen.out / "tables")
    print_board(board, written)
    return 0


def _verify(given: list[str]) -> int:
    parser = _parser("python -m harness.board verify", "Check a submission; run nothing of it.")
    parser.add_argument("submission", type=Path, metavar="DIR", help="a folder or a zip file")
    parser.add_argument("--data", type=Path, metavar="BENCH_DIR", help="the real benchmarks, as "
                        "suite.data takes them: every item is held against them (suite=micro "
                        "needs none, its benchmarks are generated)")  # fmt: skip
    chosen = parser.parse_args(given)
    from harness.board.verify import verify

    try:
        found = verify(chosen.submission, chosen.data)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note, count in Counter(found.notes).items():
        print(_plain(f"note: {note}" + (f" ({count} times)" if count > 1 else "")))
    for name, digests in sorted(found.targets.items()):
        for value, count in sorted(digests.items()):
            print(_plain(f"data: {name}: items and targets {value}, {count} runs"))
    for name, checked in sorted(found.checked.items()):
        print(_plain(f"items: {name}: {checked.items} checked, {checked.differing} differing"))
    for problem in found.problems[:_SHOWN]:
        print(_plain(f"problem: {problem}"))
    if len(found.problems) > _SHOWN:
        print(f"... and {len(found.problems) - _SHOWN} more problems")
    print(
        f"{found.records} finished runs, {found.recomputed} scores recomputed, {found.regraded} of "
        f"them graded again from their outputs; {len(found.problems)} problems"
    )
    return 1 if found.problems else 0


def _pack(given: list[str]) -> int:
    parser = _parser("python -m harness.board pack", "Make a submission of finished runs.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="searched for records/*.json")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or a name.zip")
    chosen = parser.parse_args(given)
    from harness.board.pack import pack
    from harness.board.submission import SubmissionError
    from harness.record import RecordError

    try:
        runs = pack(chosen.folder, chosen.out)
    except (SubmissionError, RecordError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{runs} runs packed into {chosen.out}")
    return _verify([str(chosen.out)])


def _parser(program: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program, description=description, epilog=f"examples:{_USAGE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _plain(text: str) -> str:
    """Text of strangers without control characters, in what the terminal can show."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "replace").decode(encoding)


if __name__ == "__main__":
    sys.exit(main())
