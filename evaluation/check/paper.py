"""What the paper says of its benchmarks' sizes (Table 4; paper E)."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """Queries, and test items."""

    queries: int
    items: int


# The suites whose benchmarks must have these sizes.
SUITES = ("paper", "lm_eval")

PAPER: dict[str, Counts] = {
    "mmlu": Counts(285, 14042),
    "gsm8k": Counts(8, 1319),
    "bbh": Counts(81, 6511),
    "tydiqa": Counts(9, 5077),
    "codex": Counts(16, 148),
    "squad": Counts(500, 10570),
    "alpaca_eval": Counts(50, 755),
}
