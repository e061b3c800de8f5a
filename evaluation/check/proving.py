"""The check of a suite: counts, known answers, queries apart from items, published boards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evaluation.base import Benchmark, Item, spread, text_hash
from evaluation.check.paper import PAPER
from evaluation.check.report import Checked, Report
from evaluation.source import DataError, Source
from evaluation.suite import Suite

if TYPE_CHECKING:
    from evaluation.check.asking import Asked

Say = Callable[[str], None]


def check(
    suite: Suite,
    names: Sequence[str] | None = None,
    *,
    paper: bool = True,
    boards: bool = True,
    strict: bool = False,
    say: Say = lambda text: None,
) -> Report:
    """Check the named benchmarks of a suite, or all.

    Args:
        paper: compare counts with the paper's.
        boards: replay the recorded verdicts if AlpacaEval is among the benchmarks.
        strict: gaps are errors.
        say: is told what is being done.

    Raises:
        DataError: there is no such benchmark or folder.
    """
    wanted = suite.named(names)
    source = suite.source()
    found = [Checked(name, paper=PAPER.get(name) if paper else None) for name in wanted]
    asked: dict[str, list[Item]] = {}
    queries: dict[str, tuple[str, str]] = {}
    for checked in found:
        benchmark = suite.benchmarks[checked.name]
        say(f"{checked.name}: reading")
        started = time.perf_counter()
        try:
            asked[checked.name] = _read(benchmark, source, checked, queries)
        except DataError as error:
            checked.errors.append(str(error))
        except Exception as error:  # rows without a field, say: the others are still checked
            checked.errors.append(f"not readable: {type(error).__name__}: {error}")
        checked.seconds = time.perf_counter() - started
    for checked in found:
        if checked.name in asked:
            started = time.perf_counter()
            _apart(checked, asked[checked.name], queries)
            some = spread(asked[checked.name], suite.limit, checked.name)
            if len(some) < len(asked[checked.name]):
                checked.remarks.append(f"suite.limit: {len(some):,} of the items were graded")
            _grade(suite.benchmarks[checked.name], some, source, checked, say)
            checked.seconds += time.perf_counter() - started
    report = Report(suite.name, str(suite.data), found)
    if boards and any(suite.benchmarks[name].needs_judge for name in asked):
        say("recorded leaderboards: replaying")
        _replay(source, report)
    if strict:
        report.make_strict()
    return report


def _read(
    benchmark: Benchmark, source: Source, checked: Checked, queries: dict[str, tuple[str, str]]
) -> list[Item]:
    """The items that are asked; adds to ``queries`` the hashes of the benchmark's query texts."""
    if not source.is_hub:
        benchmark.files(source)
    for query in (own := benchmark.queries(source)):
        queries.setdefault(text_hash(benchmark.query_text(query)), (checked.name, query.id))
    if len({query.id for query in own}) != len(own):
        checked.errors.append("two queries have the same id")
    checked.queries = len(own)
    # Whatever the setting, so that shared items are counted and named here.
    lenient = benchmark.model_copy(update={"query_duplicates": "leave_out"})
    items, left_out = lenient.test_items(source)
    checked.items = len(items) + len(left_out)
    if benchmark.query_duplicates == "leave_out":
        checked.left_out = left_out
        if left_out:
            checked.remarks.append(
                f"{len(left_out)} test items are queries too and are not asked: "
                + ", ".join(left_out)
            )
    elif left_out:
        items = benchmark.items(source)
    # Gaps of the paper's benchmarks are those of its suites; other data need not be the releases.
    if (checked.paper or checked.name not in PAPER) and hasattr(benchmark, "gaps"):
        checked.gaps = benchmark.gaps(source)
    _compare(checked, len(items))
    return items


def _compare(checked: Checked, asked: int) -> None:
    """Counts against the paper's; items with those that are left out as queries, or without."""
    if checked.paper is None:
        return
    if checked.queries != checked.paper.queries:
        checked.errors.append(
            f"{checked.queries:,} queries, where the paper has {checked.paper.queries:,}"
        )
    if checked.paper.items not in (checked.items, asked) and not checked.gaps:
        checked.errors.append(
            f"{checked.items:,} test items, where the paper has {checked.paper.items:,}: the files "
            "are not whole, or not these benchmark's; fetch them again (evaluation/README.md, Data)"
        )


def _apart(checked: Checked, items: Sequence[Item], queries: dict[str, tuple[str, str]]) -> None:
    """Every benchmark's queries against this one's items, by hash of the normalised text."""
    for item in items:
        if (query := queries.get(text_hash(item.text))) is not None:
            checked.shared.append(f"item {item.id} is query {query[1]} of {query[0]}")
    if checked.shared:
        checked.errors.append(
            f"{len(checked.shared)} test items are queries, and a selection would see the test: "
            f"{'; '.join(checked.shared[:5])}{' ...' * (len(checked.shared) > 5)}. Take them "
            f"out of the data, or set suite.benchmarks.{checked.name}.query_duplicates=leave_out"
        )


def _grade(
    benchmark: Benchmark, items: list[Item], source: Source, checked: Checked, say: Say
) -> None:
    """Right and wrong answers through lm-eval, task and metric."""
    from evaluation.check.answers import cases
    from evaluation.check.asking import ask

    try:
        right, wrong = cases(benchmark, items, source)
        checked.best = right.expected
        checked.remarks += [case.remark for case in (right, wrong) if case.remark]
        say(f"{checked.name}: {len(right.items):,} right answers")
        asked = ask(right, source)
        checked.gold, checked.notes = asked.score, asked.notes
        if asked.off or asked.score != right.expected:
            checked.errors.append(_off("right", asked, right.expected))
        if "sandbox" in asked.notes:
            checked.remarks.append(f"programs ran in the sandbox {asked.notes['sandbox']}")
        say(f"{checked.name}: {len(wrong.items):,} wrong answers")
        asked = ask(wrong, source)
        checked.wrong = asked.score
        if asked.off or asked.score != wrong.expected:
            checked.errors.append(_off("wrong", asked, wrong.expected))
    except Exception as error:  # of a benchmark, judge or sandbox: the others are still checked
        checked.errors.append(f"not graded: {type(error).__name__}: {error}")


def _off(kind: str, asked: Asked, expected: float) -> str:
    return (
        f"{kind} answers score {asked.score:.4f} where they must score {expected:g}: "
        f"{len(asked.off)} items, e.g. {', '.join(asked.off[:5])}"
    )


def _replay(source: Source, report: Report) -> None:
    """Published boards from recorded verdicts."""
    from evaluation.alpaca_eval.replay import replay

    try:
        report.boards = list(replay(source))
    except DataError as error:
        report.gaps.append(f"leaderboards not replayed: {error}")
        return
    for reason in dict.fromkeys(row.missing for row in report.boards if row.missing):
        rows = [row for row in report.boards if row.missing == reason]
        report.gaps.append(
            f"leaderboards: {len(rows)} figure{'s' * (len(rows) > 1)} of {rows[0].board} not "
            f"comparable: {reason}"
        )
    off = [row for row in report.boards if not row.ok]
    if off:
        first = off[0]
        report.errors.append(
            f"leaderboards: {len(off)} of {len(report.boards)} figures differ, e.g. {first.metric} "
            f"of {first.model} on {first.board}: {first.ours} here, {first.published} published"
        )
