"""Win rates through alpaca-eval, with its traps closed."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import Any

from evaluation.base import Grades, Grading, Item
from evaluation.judges import SEPARATOR, Judge

_NAME = "model"  # of the judged outputs in alpaca-eval's board

# What would end a message of the judge's prompt, or be filled in by alpaca-eval's template.
_MARKERS = re.compile(r"<\|(im_start|im_end|endoftext)\|>")
_PLACEHOLDER = re.compile(r"\{(?=(?:instruction|input|output_1|output_2)\})")


def neutralise(text: str) -> str:
    """A text that cannot speak to the judge outside its own quotation."""
    text = _MARKERS.sub(r"<\1>", text).replace(SEPARATOR, " ")
    return _PLACEHOLDER.sub("{ ", text)


def win_rates(items: Sequence[Item], outputs: Sequence[str], how: Grading, judge: Judge) -> Grades:
    """The judge's preference for each output over ``item.target``: 0 lost, 0.5 tie, 1 won.

    Raises:
        RuntimeError: the judge gave no usable verdict on some pair.
    """
    with _quiet(how.progress):
        import pandas as pd
        from alpaca_eval import evaluate
        from alpaca_eval.annotators import PairwiseAnnotator

        class Annotator(PairwiseAnnotator):
            """Keeps cached preferences as floats; pandas 3 refuses 1.5 in a column of integers."""

            def load_(self, path: Any = None) -> None:
                super().load_(path)
                if self.df_annotations is not None:
                    key = self.annotation_key
                    self.df_annotations[key] = self.df_annotations[key].astype(float)

        how.folder.mkdir(parents=True, exist_ok=True)
        instructions = [neutralise(item.prompt) for item in items]
        answers = [neutralise(text) for text in outputs]
        references = [neutralise(item.target) for item in items]
        board, annotations = evaluate(
            model_outputs=_frame(pd, instructions, answers, _NAME),
            reference_outputs=_frame(pd, instructions, references, "reference"),
            name=_NAME,
            output_path=None,
            precomputed_leaderboard=None,
            is_return_instead_of_print=True,
            fn_metric="get_winrate",
            sort_by="win_rate",
            Annotator=Annotator,
            **judge.arguments(how.folder),
        )
    preference = {row["instruction"]: row["preference"] for row in annotations}
    missing = [
        item.id
        for item, instruction in zip(items, instructions, strict=True)
        if not isinstance(preference.get(instruction), int | float)
        or preference[instruction] != preference[instruction]
    ]
    if missing or int(board.loc[_NAME, "n_total"]) != len(items):
        raise RuntimeError(
            f"judge {judge.name}: no usable verdict on {len(missing)} of {len(items)} answers "
            f"(items {', '.join(missing[:5])}); its replies, if kept, are in {how.folder}"
        )
    values = [float(preference[instruction]) - 1 for instruction in instructions]
    return Grades(values, {"judge": judge.identity()})


def _frame(pd: Any, instructions: list[str], outputs: list[str], generator: str) -> Any:
    return pd.DataFrame({"instruction": instructions, "output": outputs, "generator": generator})


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """alpaca-eval sets the root logger to INFO when imported, and chats while it works.

    Its progress bar goes to the standard error stream whatever one asks for.
    """
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], root.manager.disable
    logging.disable(logging.WARNING)
    try:
        bar = nullcontext() if progress else redirect_stderr(io.StringIO())
        with warnings.catch_warnings(), bar:
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.disable(disabled)
