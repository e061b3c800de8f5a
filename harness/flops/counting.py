"""Counting the multiply-adds of one traced forward pass with fvcore, on the meta device.

Weights are never allocated: an 8B model traces in about a second. The count is of products only.
fvcore has no handler for ``scaled_dot_product_attention`` and would leave attention out without a
word, so it gets one here, and whatever is neither counted nor on the list of negligible operations
is an error.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from harness.flops.layers import fit_deep
from harness.flops.polynomial import Polynomial
from harness.flops.shape import Shape, private

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

# Element-wise work, reductions and look-ups: some operations an element, against thousands in the
# products (0.1 % of an 8B model at 2,048 tokens). Layer norm is here too: fvcore would count it
# as 5 an element, which are no multiply-adds.
# fmt: off
_NEGLIGIBLE = frozenset([
    "aten::abs", "aten::add", "aten::add_", "aten::cos", "aten::cumsum", "aten::diff",
    "aten::div", "aten::div_", "aten::embedding", "aten::erf", "aten::exp", "aten::gelu",
    "aten::layer_norm", "aten::le", "aten::log", "aten::lt", "aten::mean", "aten::min",
    "aten::mul", "aten::mul_", "aten::ne", "aten::neg", "aten::new_ones", "aten::numpy_T",
    "aten::pow", "aten::repeat", "aten::repeat_interleave", "aten::rms_norm", "aten::rsqrt",
    "aten::rsub", "aten::sigmoid", "aten::silu", "aten::sin", "aten::softmax", "aten::sqrt",
    "aten::sub", "aten::sum", "aten::tanh", "aten::tril", "aten::triu", "aten::where",
])
# fmt: on


class UncountedOperation(ValueError):
    """The model does work that neither is counted nor may be left out."""


def count_forward(config: PretrainedConfig) -> tuple[Polynomial, Polynomial, int]:
    """FLOPs of a causal LM's base model and of its LM head alone, and the number of parameters.

    Raises:
        UncountedOperation: see there.
        ValueError: the count is not quadratic in length.
    """
    model = build_on_meta(config)
    counts: dict[tuple[int, int], tuple[int, int]] = {}

    def at(length: int) -> tuple[int, int]:
        key = (length, sum(1 for _ in model.modules()))  # body and head are read off one trace
        if key not in counts:
            counts[key] = _trace(model, length)
        return counts[key]

    body = fit_deep(model, lambda length: at(length)[0])
    head = fit_deep(model, lambda length: at(length)[1])
    return body, head, sum(parameter.numel() for parameter in model.parameters())


def build_on_meta(config: PretrainedConfig | Shape, attention: str | None = None) -> Any:
    """A causal LM of this architecture without weights, in evaluation mode.

    ``attention`` is ``sdpa`` where the architecture has it (it is what runs), else ``eager``. The
    configuration is copied first, because transformers writes the choice into it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = private(config)
    with torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(
                config, attn_implementation=attention or "sdpa"
            )
        except ValueError:
            if attention is not None:
                raise
            return build_on_meta(config, "eager")
    return model.eval()


def count_encoder(
    config: PretrainedConfig, *, trust_remote_code: bool = False
) -> tuple[Polynomial, int]:
    """FLOPs of one pass of a text encoder (BERT, T5's encoder, ...) and its number of parameters.

    Raises:
        UncountedOperation: see there.
        ValueError: the count is not quadratic in length.
    """
    import torch
    from transformers import AutoModel, AutoModelForTextEncoding

    known = type(config) in AutoModelForTextEncoding._model_mapping
    auto: Any = AutoModelForTextEncoding if known else AutoModel
    more = {} if known else {"trust_remote_code": trust_remote_code}
    with torch.device("meta"):
        model = auto.from_config(private(config), **more).eval()

    class States(torch.nn.Module):
        """fvcore traces modules that return one tensor."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=ids)[0]

    def at(length: int) -> int:
        ids = torch.zeros((1, length), dtype=torch.long, device="meta")
        return 2 * count_macs(States(model), (ids,))[""]

    return fit_deep(model, at), sum(parameter.numel() for parameter in model.parameters())


def count_macs(module: torch.nn.Module, inputs: tuple[Any, ...]) -> dict[str, int]:
    """Multiply-adds of ``module(*inputs)``, for the whole (key ``""``) and each sub-module.

    Raises:
        UncountedOperation: the trace holds an operation that is neither counted nor negligible.
    """
    import torch
    from fvcore.nn import FlopCountAnalysis, jit_handles

    handlers: dict[str, Any] = {
        "addmm": jit_handles.addmm_flop_jit,
        "bmm": jit_handles.bmm_flop_jit,
        "einsum": jit_handles.einsum_flop_jit,
        "linear": jit_handles.linear_flop_jit,
        "matmul": jit_handles.matmul_flop_jit,
        "mm": jit_handles.matmul_flop_jit,
        "_convolution": jit_handles.conv_flop_jit,
        "scaled_dot_product_attention": _attention_macs,
    }
    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    # A handler set to None is *not* switched off when fvcore has one of its own, so start anew.
    analysis.clear_op_handles()
    analysis.set_op_handle(**{f"aten::{name}": handler for name, handler in handlers.items()})
    with torch.no_grad():
        counts = analysis.by_module()
    check_unsupported(analysis.unsupported_ops())
    return {name: int(count) for name, count in counts.items()}


def check_unsupported(operations: Counter[str]) -> None:
    """Refuse a trace whose uncounted operations are not all known to be negligible.

    Raises:
        UncountedOperation: naming them, products first.
    """
    unknown = sorted(set(operations) - _NEGLIGIBLE)
    heavy = [
        name
        for name in unknown
        if any(part in name.lower() for part in ("attention", "mm", "matmul", "conv", "einsum"))
    ]
    if heavy:
        raise UncountedOperation(
            f"these products would be left out of the count: {', '.join(heavy)}; "
            "harness/flops/counting.py needs a handler for them"
        )
    if unknown:
        raise UncountedOperation(
            f"operations of unknown cost: {', '.join(unknown)}; give them a handler, or add them "
            "to the negligible ones in harness/flops/counting.py"
        )


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Q·Kᵀ and the weighted sum of V for shapes (..., heads, L, d); the full square of lengths."""
    from fvcore.nn.jit_handles import get_shape

    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    rows = math.prod(query[:-1])  # batch × query heads × query length
    return Counter(attention=rows * key[-2] * (query[-1] + value[-1]))


def _trace(model: Any, length: int) -> tuple[int, int]:
    """FLOPs of the base model and of the LM head for one sequence of ``length`` tokens."""
    import torch

    class Logits(torch.nn.Module):
        """fvcore traces modules that return one tensor."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=ids, use_cache=False).logits
            return logits

    ids = torch.zeros((1, length), dtype=torch.long, device="meta")
    macs = count_macs(Logits(model), (ids,))
    body = macs[f"model.{model.base_model_prefix}"]
    return 2 * body, 2 * (macs[""] - body)
