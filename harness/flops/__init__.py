"""What a model's arithmetic costs: exact counts from the architecture, summed over real lengths.

Two conventions stand beside each other in every ledger:

- *measured*: fvcore counts the products of one traced forward pass on the meta device, which fixes
  the cost of a sequence as a polynomial of its length (``model_flops``). One multiply-add is two
  FLOPs; attention is counted as the full square, without a discount for the causal mask; norms,
  activations and other element-wise work (about 0.1 %) are left out.
- *paper*: 2N a token to infer and 6N to train, 2,048 tokens a row (``paper_forward``,
  ``paper_train``).

Importing this package imports no torch.
"""

from harness.flops.counting import UncountedOperation
from harness.flops.gradients import GradientFlops
from harness.flops.model import ModelFlops, encoder_flops, model_flops, recipe_key
from harness.flops.paper import PAPER_TOKENS_PER_ROW, paper_forward, paper_train
from harness.flops.polynomial import Lengths, Polynomial, fit
from harness.flops.shape import Shape

__all__ = [
    "PAPER_TOKENS_PER_ROW",
    "GradientFlops",
    "Lengths",
    "ModelFlops",
    "Polynomial",
    "Shape",
    "UncountedOperation",
    "encoder_flops",
    "fit",
    "model_flops",
    "paper_forward",
    "paper_train",
    "recipe_key",
]
