"""Grading stored outputs again with our own benchmarks' metrics, by a fixed list of classes.

What a submission says of classes is never looked at: its benchmark's name picks one of ours, or
none. No model, no data, no judge and no code of anyone's runs: where a metric needs these, only
what can be known without is checked.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOLERANCE = 1e-6
MAX_TEXT = 1_000_000  # characters of one output; ours have a few thousand
_CLASSES = {
    "mmlu": ("evaluation.mmlu", "MMLU"),
    "gsm8k": ("evaluation.gsm8k", "GSM8K"),
    "bbh": ("evaluation.bbh", "BBH"),
    "tydiqa": ("evaluation.tydiqa", "TyDiQA"),
    "codex": ("evaluation.codex", "Codex"),
    "squad": ("evaluation.squad", "SQuAD"),
    "alpaca_eval": ("evaluation.alpaca_eval", "AlpacaEval"),
}


def averages(name: str) -> tuple[str, ...]:
    """How a benchmark's items may be averaged: ours by its class, others either way."""
    if name not in _CLASSES:
        return ("items", "groups")
    return (str(benchmark_named(name).average),)


def regrades(name: str, notes: Mapping[str, Any]) -> bool:
    """Whether the metric alone decides the scores: no judge, no execution, our present metric."""
    if name not in _CLASSES or foreign(notes):
        return False
    benchmark = benchmark_named(name)
    protocol = notes.get("protocol")
    if isinstance(protocol, dict) and protocol.get("metric_version") != benchmark.metric_version:
        return False
    return not benchmark.executes_code and not benchmark.needs_judge


def regrade(
    name: str, notes: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """What is off in the rows' scores, one sentence each."""
    if regrades(name, notes):
        yield from _by_metric(name, rows)
    elif name in _CLASSES and benchmark_named(name).executes_code and not foreign(notes):
        yield from _passes(notes, rows)


def _by_metric(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    from evaluation.base import Item

    benchmark = benchmark_named(name)
    for row in rows:
        outputs, where = row.get("outputs"), f"item {row['item_id']!r}"
        texts = isinstance(outputs, list) and all(isinstance(text, str) for text in outputs)
        if not texts or not outputs or len(outputs[0]) > MAX_TEXT:
            yield f"{where}: outputs must be texts of at most {MAX_TEXT:,} characters"
            continue
        target = row.get("target")
        if not _is_target(target):
            yield f"{where}: the target is neither a text nor a list of texts"
            continue
        item = Item(row["item_id"], "", target, "", group=row["subject"])
        try:
            value = benchmark.score(item, outputs[0])
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            yield f"{where}: cannot be graded ({type(error).__name__}: {error})"
            continue
        if row["score"] is None or abs(value - row["score"]) > TOLERANCE:
            yield f"{where}: score {row['score']}, but the metric gives {value:.6g}"


def _passes(notes: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """pass@k scores are possible ones, and belong to as many passes as the record says."""
    k, n = _whole(notes.get("k")), _whole(notes.get("n"))
    if not 1 <= k <= n <= 1000:
        yield f"notes: k={notes.get('k')!r} and n={notes.get('n')!r} say no pass@k"
        return
    possible = [1 - math.comb(n - right, k) / math.comb(n, k) for right in range(n + 1)]
    total, exact = 0, len({round(value, 9) for value in possible}) == n + 1
    for row in rows:
        outputs = row.get("outputs")
        if not isinstance(outputs, list) or len(outputs) != n:
            yield f"item {row['item_id']!r}: not {n} outputs"
            continue
        near = [at for at, v in enumerate(possible) if abs(v - (row["score"] or 0)) <= TOLERANCE]
        if row["score"] is None or not near:
            yield f"item {row['item_id']!r}: {row['score']} is no pass@{k} of {n} samples"
            continue
        total += near[0]
    if exact and total != notes.get("passed"):
        yield f"notes: {notes.get('passed')} programs passed, but the scores say {total}"


def benchmark_named(name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """One of our own benchmarks, by its name in the fixed list.

    Raises:
        ValueError: the settings are none of its.
    """
    module, cls = _CLASSES[name]
    return getattr(importlib.import_module(module), cls)(**(settings or {}))


def foreign(notes: Mapping[str, Any]) -> bool:
    """Whether the score is by another protocol than our benchmarks' (lm-eval's own task)."""
    protocol = notes.get("protocol")
    return isinstance(protocol, dict) and "lm_eval" in str(protocol)


def _is_target(target: Any) -> bool:
    if isinstance(target, list):
        return bool(target) and all(isinstance(text, str) for text in target)
    return isinstance(target, str)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
