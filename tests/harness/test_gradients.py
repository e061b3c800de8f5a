"""Per-sample LoRA gradients against a plain loop of one row a step through autograd."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from harness import gradients as module
from harness.gradients import (
    AdamDirection,
    Labelled,
    LoraGradients,
    UnsupportedModel,
    project_gradients,
)
from harness.projection import Projection

SHAPE = dict(
    vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
)  # fmt: skip
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def model(*, targets: list[str] | None = None, warm: bool = True, qwen: bool = False) -> Any:
    """A tiny model with an adapter whose B is not zero, in training mode with dropout."""
    torch.manual_seed(0)
    base = (
        Qwen2ForCausalLM(Qwen2Config(**SHAPE)) if qwen else LlamaForCausalLM(LlamaConfig(**SHAPE))
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.5,
        target_modules=targets or ATTENTION,
    )  # fmt: skip
    adapted = get_peft_model(base, lora).train()
    for name, parameter in adapted.named_parameters():
        if warm and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return adapted


def some_rows() -> list[tuple[list[int], list[bool]]]:
    """Labels at the end, in two turns, on the first token, on a single one, and nowhere."""
    rng = np.random.default_rng(1)
    rows = []
    for length, spans in (
        (9, [(4, 9)]), (30, [(5, 12), (20, 30)]), (9, [(0, 9)]), (3, [(2, 3)]), (21, [(8, 15)]),
        (12, []), (2, [(1, 2)]), (5, [(0, 1)]),
    ):  # fmt: skip
        inside = [any(low <= t < high for low, high in spans) for t in range(length)]
        rows.append((rng.integers(1, 60, size=length).tolist(), inside))
    return rows


def loop(adapted: Any, rows: list[tuple[list[int], list[bool]]]) -> list[dict[str, torch.Tensor]]:
    """What research code does: transformers' own mean loss, backward, read the gradients."""
    adapted.eval()
    found = []
    for ids, inside in rows:
        labels = [token if is_label else -100 for token, is_label in zip(ids, inside, strict=True)]
        adapted.zero_grad()
        adapted(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.backward()
        found.append(
            {n: p.grad.clone() for n, p in adapted.named_parameters() if p.grad is not None}
        )
    return found


@pytest.mark.parametrize("max_tokens", [1, 40, 1000])
@pytest.mark.parametrize(
    "settings", [{}, {"qwen": True}, {"targets": [*ATTENTION, "up_proj", "down_proj"]}]
)
def test_each_gradient_is_that_of_the_plain_loop(settings: dict[str, Any], max_tokens: int) -> None:
    every = some_rows()
    rows = [row for row in every if any(row[1][1:])]
    expected = loop(model(**settings), rows)
    gradients = LoraGradients(model(**settings))
    # the projection left out: the identity shows the gradients themselves
    found = torch.from_numpy(
        project_gradients(
            gradients,
            [Labelled.of(*row) for row in rows],
            Unprojected(gradients.size),
            max_tokens=max_tokens,
        )
    )
    for row, plain in zip(found, expected, strict=True):
        assert set(plain) == set(gradients.names)
        wanted = gradients.flat(plain)
        # in bulk and entry by entry: 1e-4 of the largest
        wanted = wanted / wanted.norm()
        assert (row - wanted).norm() < 1e-4
        assert (row - wanted).abs().max() < 1e-4 * wanted.abs().max()


class Unprojected(Projection):
    """Keeps rows as they are."""

    def __init__(self, size: int) -> None:
        object.__setattr__(self, "dim", size)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.clone()


def test_the_length_of_a_gradient_is_right_too() -> None:
    """``project_gradients`` normalises; ``write`` must not."""
    rows = [row for row in some_rows() if any(row[1][1:])][:3]
    gradients = LoraGradients(model())
    into = torch.empty((3, gradients.size))
    gradients.write([Labelled.of(*row) for row in rows], into)
    for row, plain in zip(into, loop(model(), rows), strict=True):
        assert torch.allclose(row, gradients.flat(plain), rtol=1e-4, atol=1e-7)


def test_few_logits_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Labelled.of(*row) for row in some_rows()]
    gradients, projection = LoraGradients(model()), Projection(64)
    whole = project_gradients(gradients, rows, projection)
    monkeypatch.setattr(module, "HEAD_TOKENS", 3)
    monkeypatch.setattr(module, "HELD_BYTES", 3 * 4 * gradients.size)  # three gradients wait
    assert np.allclose(project_gradients(gradients, rows, projection), whole, atol=1e-5)


def test_projected_gradients_have_unit_length_and_none_without_a_label() -> None:
    rows = [Labelled.of(*row) for row in some_rows()]
    done: list[tuple[int, int]] = []
    found = project_gradients(
        LoraGradients(model()), rows, Projection(128), on_batch=lambda *n: done.append(n)
    )
    lengths = np.linalg.norm(found, axis=1)
    # no label; and a label on the first token alone, which nothing predicts
    assert lengths == pytest.approx([1, 1, 1, 1, 1, 0, 1, 0], abs=1e-5)
    assert sum(n for n, _ in done) == len(rows)
    assert sum(tokens for _, tokens in done) == sum(r.length for r in rows if r.places)


def test_labelled_by_hand() -> None:
    row = Labelled.of([5, 6, 7, 8, 9, 4], [True, False, True, True, False, False])
    assert row == Labelled(ids=[5, 6, 7], places=[1, 2], targets=[7, 8], length=6)
    assert Labelled.of([5, 6], [True, False]) == Labelled([], [], [], 2)


def test_adam_direction_by_hand() -> None:
    first, second = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([4.0, 0.0, 1.0])
    rows = torch.tensor([[3.0, 2.0, 0.0], [0.0, 0.0, 10.0]])
    found = rows.clone()
    AdamDirection(first, second)(found)
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)):
        m = 0.9 * first[j].item() + 0.1 * rows[i, j].item()
        v = 0.999 * second[j].item() + 0.001 * rows[i, j].item() ** 2
        assert found[i, j].item() == pytest.approx(m / math.sqrt(v + 1e-8), rel=1e-5)
    # 0.9 + 0.3 over the root of 3.996 + 0.009
    assert found[0, 0].item() == pytest.approx(1.2 / math.sqrt(4.005), rel=1e-5)

    found = rows.clone()
    AdamDirection(first, second, "paper", step=4)(found)
    m, v = 1.2 / (1 - 0.9**5), 4.005 / (1 - 0.999**5)
    assert found[0, 0].item() == pytest.approx(m / (math.sqrt(v) + 1e-8), rel=1e-4)


def test_adam_direction_is_the_step_that_torch_takes() -> None:
    """The paper's form against torch.optim.Adam: the change of a weight is -rate × direction."""
    weight = torch.nn.Parameter(torch.zeros(4))
    optimiser = torch.optim.Adam([weight], lr=1.0)
    slopes = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
    for slope in slopes[:2]:
        weight.grad = slope.clone()
        optimiser.step()
    state = optimiser.state[weight]
    direction = AdamDirection(state["exp_avg"].clone(), state["exp_avg_sq"].clone(), "paper", 2)
    before, found = weight.detach().clone(), slopes[2:].clone()
    weight.grad = slopes[2].clone()
    optimiser.step()
    direction(found)
    assert torch.allclose(before - found[0], weight.detach(), atol=1e-5)


def test_the_direction_is_taken_a_row_at_a_time() -> None:
    rows = [Labelled.of(*row) for row in some_rows() if any(row[1][1:])]
    gradients = LoraGradients(model())
    direction = AdamDirection(torch.ones(gradients.size), torch.rand(gradients.size))
    same = Unprojected(gradients.size)
    together = project_gradients(gradients, rows, same, direction)
    for row, values in zip(rows, together, strict=True):
        alone = torch.empty((1, gradients.size))
        gradients.write([row], alone)
        direction(alone)
        assert np.allclose(values, (alone / alone.norm()).numpy()[0], atol=1e-6)


def test_a_fresh_adapter_gives_no_gradient_to_a() -> None:
    """Why the warm-up comes first: with B = 0 only half of the gradient exists."""
    gradients = LoraGradients(model(warm=False))
    into = torch.empty((1, gradients.size))
    gradients.write([Labelled.of(*some_rows()[1])], into)
    sizes = [4 * 32 if ".lora_A." in name else None for name in gradients.names]
    assert gradients.names[0].endswith("q_proj.lora_A.default.weight") and sizes[0] == 128
    assert torch.all(into[0, :128] == 0) and torch.any(into[0, 128:256] != 0)


def test_bfloat16_stays_close() -> None:
    rows = [Labelled.of(*row) for row in some_rows() if any(row[1][1:])]
    exact = project_gradients(LoraGradients(model()), rows, Projection(512))
    rough = project_gradients(LoraGradients(model().to(torch.bfloat16)), rows, Projection(512))
    assert (exact * rough).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("case", ["none", "dora", "embedding", "two", "logits"])
def test_what_is_not_known_is_refused(case: str) -> None:
    base = LlamaForCausalLM(LlamaConfig(**SHAPE))
    if case == "none":
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"]))
        adapted = adapted.unload()
        adapted.get_base_model = lambda: adapted
    elif case == "dora":
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"], use_dora=True))
    elif case == "embedding":
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj", "embed_tokens"]))
    elif case == "two":
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"]))
        adapted.add_adapter("other", LoraConfig(target_modules=["q_proj"]))
        adapted.base_model.set_adapter(["default", "other"])
    else:
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"]))
        adapted.get_base_model().config.logits_scaling = 2.0
    with pytest.raises(UnsupportedModel):
        LoraGradients(adapted)
