"""The paper's own accounting, kept beside the measured one so that its figures can be redrawn.

Section 3.3 and Appendix E: 6N a token to train, 2N to infer, every row taken as 2,048 tokens, the
work after scoring free. The paper contradicts its code in three places: Appendix E writes N = 7B
and a factor 2 in front of every pool pass, the plotting code uses N = 8e9 and charges the pool
pass once. The published Figure 1 was drawn with the code's formulas (LESS stands at 6.3e19, which
only they give), so these functions follow the code: one pass over the pool is one pass.
"""

from __future__ import annotations

PAPER_TOKENS_PER_ROW = 2048


def paper_forward(parameters: float, rows: int) -> float:
    """FLOPs of one scoring pass over ``rows`` rows: 2 N · 2,048 · rows."""
    return 2.0 * parameters * PAPER_TOKENS_PER_ROW * rows


def paper_train(parameters: float, rows: int, epochs: float) -> float:
    """FLOPs of fine-tuning on ``rows`` rows: 6 N · 2,048 · rows · epochs."""
    return 6.0 * parameters * PAPER_TOKENS_PER_ROW * rows * epochs
