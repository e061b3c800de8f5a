"""The command ``python -m evaluation check``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evaluation.source import DataError

DESCRIPTION = """\
Prove on the data themselves that the benchmarks are right: items and queries against the paper's
counts, right answers score 100 and wrong ones 0 on the way that an evaluation takes, no query is a
test item, and recorded verdicts give AlpacaEval's published boards.
"""
EPILOG = """\
KEY=VALUE are settings as on the harness' command line, e.g. suite.benchmarks.squad.n_queries=100,
or suite.benchmarks.gsm8k.hub=DIR with --data hub to read a folder laid out like a hub data set.

exit code: 0 all right (a gap that scores name is no fault, unless --strict); 1 something is off;
2 the command line is wrong.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``check`` to the commands."""
    parser = commands.add_parser(
        "check", help="prove that the benchmarks are right", description=DESCRIPTION,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="folder of benchmark files, or hub")
    parser.add_argument("--suite", default="paper", metavar="NAME", help="of conf/suite (paper)")
    parser.add_argument("--benchmarks", metavar="A,B", help="only these (all of the suite)")
    parser.add_argument("--config-dir", metavar="DIR", help="folder with suite/NAME.yaml of yours")
    parser.add_argument("--json", metavar="FILE", help="write the report there too; - for stdout")
    parser.add_argument("--no-boards", action="store_true", help="replay no leaderboards")
    parser.add_argument("--strict", action="store_true", help="missing data are errors too")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, print and write the report; the exit code."""
    from rich.console import Console

    from evaluation.check.loading import load_suite, micro_data
    from evaluation.check.paper import SUITES
    from evaluation.check.printing import plain, show
    from evaluation.check.proving import check

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    progress = Console(stderr=True)
    names = arguments.benchmarks.split(",") if arguments.benchmarks else None
    with tempfile.TemporaryDirectory(prefix="winnow-check-") as folder:
        try:
            suite = load_suite(
                arguments.suite, arguments.data, arguments.settings, arguments.config_dir
            )
            paper = suite.name in SUITES
            suite = micro_data(suite, Path(folder))
            with progress.status("reading") as status:

                def say(text: str) -> None:
                    if arguments.quiet:
                        return
                    status.update(text) if progress.is_terminal else progress.print(text)

                report = check(
                    suite, names, paper=paper, boards=not arguments.no_boards, say=say,
                    strict=arguments.strict,
                )  # fmt: skip
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    if arguments.json:
        text = json.dumps(plain(report), indent=2, ensure_ascii=False) + "\n"
        if arguments.json == "-":
            sys.stdout.write(text)
        else:
            Path(arguments.json).write_text(text, encoding="utf-8")
    if arguments.json != "-":
        show(report, Console(width=None if sys.stdout.isatty() else 120))
    return 1 if report.all("errors") else 0


def main(words: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m evaluation``; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description="Benchmarks, metrics and judges."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_parser(commands)
    arguments = parser.parse_args(words)
    return int(arguments.run(arguments))
