"""The length-controlled win rate: what the rate would be if both answers were equally long.

alpaca-eval fits a logistic model of the preferences on the difference of lengths, the difficulty of
the instruction and a constant, and predicts with the difference set to 0 (Dubois et al. 2024). It
needs ``df_gamed.csv``, which holds the difficulties and the verdicts on two gamed baselines that
keep the model in bounds. The difficulties belong to places 0 to 804 of AlpacaEval's file, so every
row must know its place there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.alpaca_eval.annotate import quiet
from evaluation.source import DataError

FILE = "df_gamed.csv"
REMEDY = f"{FILE} comes from the hub data set tatsu-lab/alpaca_eval"
PLACES = 805
# sha256 of the 805 instructions of AlpacaEval's file in their order, joined by NUL.
INSTRUCTIONS = "bfe8c45991f635de0b1f94abeeb1335ef665d58eddd87ddf6fa71b7b0c2ce7a5"
_COLUMNS = (
    "preference", "index", "std_delta_len", "instruction_difficulty", "not_gamed_baseline",
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """One judged pair, as length control needs it: texts as they were written.

    ``preference`` is 0 lost, 1 won, NaN no verdict.
    """

    place: int
    preference: float
    reference: str
    answer: str


def check_instructions(instructions: Sequence[str]) -> None:
    """Whether places of this file are places of AlpacaEval's.

    Raises:
        DataError: it holds other instructions, or the same in another order.
    """
    found = hashlib.sha256("\0".join(instructions).encode()).hexdigest()
    if found != INSTRUCTIONS:
        raise DataError(
            f"the length-controlled rate is for AlpacaEval's {PLACES} instructions in their order, "
            f"and these {len(instructions)} are others: difficulties would go to wrong rows"
        )


def length_controlled(
    rows: Sequence[Judged], file: Path, same_generator: bool = False
) -> list[float]:
    """Predicted preferences in [0, 1], one per row; their mean is the length-controlled rate.

    Args:
        rows: judged pairs.
        file: ``df_gamed.csv``.
        same_generator: the answers are the references' own, where the rate is one half by
            definition.

    Raises:
        DataError: the file is none of that kind, or a row's place is none of the 805.
    """
    import pandas as pd

    wrong = [row.place for row in rows if not 0 <= row.place < PLACES]
    if wrong:
        raise DataError(f"length control: place {wrong[0]} is none of 0 to {PLACES - 1}")
    if not same_generator:
        _check_file(file)
    frame = pd.DataFrame(
        {
            "preference": [row.preference + 1 for row in rows],
            "index": [row.place for row in rows],
            "output_1": [row.reference for row in rows],
            "output_2": [row.answer for row in rows],
            "generator_1": "reference",
            "generator_2": "reference" if same_generator else "model",
            "annotator": "judge",
        }
    )
    with quiet(progress=False):
        import sklearn
        from alpaca_eval.metrics import glm_winrate

        download = glm_winrate.hf_hub_download
        glm_winrate.hf_hub_download = lambda **_: str(file)
        try:
            with sklearn.config_context():  # alpaca-eval leaves a global setting behind
                glm_winrate.get_length_controlled_winrate(
                    frame, save_weights_dir=None, is_warn_extreme_changes=False
                )
        finally:
            glm_winrate.hf_hub_download = download
    return [float(value) for value in frame["glm_preference"]]


def _check_file(file: Path) -> None:
    import pandas as pd

    try:
        table: Any = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable ({error}); {REMEDY}") from error
    missing = [name for name in ("model", *_COLUMNS) if name not in table]
    if missing:
        raise DataError(f"{file}: no column {', '.join(missing)}; {REMEDY}")
    # alpaca-eval takes the difficulty of place i from row i, the rows of one model coming first.
    first = table.drop_duplicates("index")
    if any(sorted(part) != list(range(PLACES)) for part in (first["index"], first.index)):
        raise DataError(f"{file}: its first rows are not places 0 to {PLACES - 1}; {REMEDY}")
