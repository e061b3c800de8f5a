"""Known answers sent through lm-eval and the benchmark's task, as an evaluation sends a model's.

Imports lm-eval, so import this module only to grade.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from evaluation.base import Grading
from evaluation.check.answers import Case
from evaluation.source import Source
from evaluation.statistics import mean_and_error
from evaluation.task import compiled_templates


@dataclass(frozen=True)
class Asked:
    """What came of a case.

    Attributes:
        score: 0 to 100, averaged as in an evaluation.
        off: ids of items whose own value is not the expected one.
        notes: of the score.
    """

    score: float
    off: list[str]
    notes: dict[str, Any]


class Scripted(LM):
    """A model that gives the answers it was told, by task and number of the document."""

    def __init__(self, told: dict[str, list[tuple[str, int | None]]]) -> None:
        super().__init__()
        self._told = told

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """The told choice is likelier than the others."""
        wanted = [self._told[request.task_name][request.doc_id][1] for request in requests]
        taken = [request.idx == choice for request, choice in zip(requests, wanted, strict=True)]
        return [(-1.0 if right else -2.0, right) for right in taken]

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """The told text, the same for all samples of an item."""
        return [self._told[request.task_name][request.doc_id][0] for request in requests]

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """Not asked for by any benchmark here."""
        raise NotImplementedError

    def apply_chat_template(self, chat_history: list[dict[str, str]], **_: Any) -> str:
        """Turns one below the other: what is asked plays no part in the answer."""
        return "\n".join(turn["content"] for turn in chat_history)

    @property
    def tokenizer_name(self) -> str:
        """Part of lm-eval's cache keys; its caches are not used."""
        return "scripted"


def ask(case: Case, source: Source) -> Asked:
    """The case's answers, sent and scored as a model's."""
    task = case.benchmark.build_task(case.items, (), source)
    told: dict[str, list[tuple[str, int | None]]] = {}
    for item, output in zip(case.items, case.outputs, strict=True):
        choice = item.choices.index(output) if item.choices else None
        told.setdefault(getattr(item, "part", case.benchmark.name), []).append((output, choice))
    level = logging.root.manager.disable
    with tempfile.TemporaryDirectory(prefix="winnow-check-") as folder:
        task.how = Grading(case.judge, Path(folder), False, source)
        logging.disable(logging.WARNING)  # lm-eval's chatter; problems come as exceptions
        try:
            with compiled_templates():
                tasks = {"tasks": dict(task.parts), "groups": dict(task.groups)}
                raw = evaluate(Scripted(told), tasks, apply_chat_template=True, bootstrap_iters=0)
        finally:
            logging.disable(level)
        task.collect(raw)
    values = task.grades.values
    groups = [item.group for item in case.items]
    score, _ = mean_and_error(values, groups, case.benchmark.average)
    wanted = case.expected / 100
    pairs = zip(case.items, values, strict=True)
    return Asked(score, [item.id for item, v in pairs if v != wanted], dict(task.grades.notes))
