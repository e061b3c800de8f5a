"""Shared beginnings: which are chosen, that outputs stay, for which models, within which memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
)

from evaluation.prefixes import PASS_TOKENS, shared_lengths  # noqa: E402
from harness.flops import model_flops  # noqa: E402
from tests.evaluation.test_lm import Request, byte_tokenizer, make  # noqa: E402

SMALL = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 1024, "initializer_range": 0.3,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SERVED = {
    "llama": LlamaConfig(**SMALL),
    "grouped queries": LlamaConfig(**SMALL, num_key_value_heads=2),
    "one key for all": Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=16),
    "eager": LlamaConfig(**SMALL, attn_implementation="eager"),
    "wide window": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=900),
    "gpt-neox": GPTNeoXConfig(**SMALL),
}
REFUSED = {
    "narrow window": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=64),
    "windows in turn": Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=64, final_logit_softcapping=None
    ),
    "length-dependent rotation": LlamaConfig(
        **SMALL,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    ),
}
HEADS = ("Say it. " * 40, "Question: what? Answer: that. " * 12)


def build(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def requests(**settings: Any) -> list[Request]:
    """Two shared heads, one prompt that is its head alone, others apart, a sampled one twice."""
    texts = [head + tail for head in HEADS for tail in ("a?", "who is it?", "x" * 30, "")]
    texts += ["alone", HEADS[0][:100]]
    greedy = [Request((text, {"max_gen_toks": 6, **settings})) for text in texts]
    drawn = {"max_gen_toks": 4, "temperature": 0.9, "top_p": 0.9}
    return greedy + [Request((texts[1], drawn), doc_id=7)] * 2


class Passes:
    """Counts the tokens and the passes that go through a model."""

    def __init__(self, model: Any) -> None:
        self.tokens: list[int] = []
        model.register_forward_pre_hook(self._take, with_kwargs=True)

    def _take(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        self.tokens.append(given["input_ids"].numel())


@pytest.mark.parametrize("kind", [*SERVED, *REFUSED])
def test_outputs_are_those_of_whole_prompts(kind: str) -> None:
    model = build((SERVED | REFUSED)[kind])
    tokenizer = byte_tokenizer(True)
    found, spent, likelihoods = [], [], []
    choices = [Request((head + q, " " + c)) for head in HEADS for q in ("1?", "two?") for c in "AB"]
    for share in (False, True):
        passes = Passes(model)
        lm = make(model, tokenizer, share=share, batch_size=4, max_length=1024)
        found.append(lm.generate_until(requests()))
        likelihoods.append(lm.loglikelihood(choices))
        spent.append(sum(tokens for tokens in passes.tokens))
    assert found[0] == found[1]
    for (whole, first), (parted, second) in zip(*likelihoods, strict=True):
        assert parted == pytest.approx(whole, abs=2e-4) and first == second
    # Each head is 320 or 360 tokens; without sharing it is read four to seven times.
    assert (spent[1] < 0.5 * spent[0]) == (kind in SERVED)


def test_a_model_without_keys_is_refused() -> None:
    config = MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=1, state_size=8)
    assert not make(build(config), byte_tokenizer(True))._share


def charged(lm: Any, model: Any) -> float:
    """What the ledger says of all that ``lm`` did; see ``stages._evaluation_cost``."""
    flops = model_flops(model.config)
    prompts, new = np.array(lm.lengths["task"]).T
    return flops.read(*np.array(lm.reads).T) + flops.write(prompts, new)


def counted(work: Callable[[], Any]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


DRAWN = {"max_gen_toks": 9, "temperature": 0.8, "top_p": 0.95}


@pytest.mark.parametrize("batch_size", [32, 8])
def test_samples_of_one_prompt_are_charged_as_another_counter_counts(batch_size: int) -> None:
    """20 samples read their prompt once a batch, and each writes its own text."""
    model = build(SERVED["eager"])
    lm = make(model, byte_tokenizer(True), batch_size=batch_size, max_length=1024)
    lm._decoder.ends = set()  # all equally long: nothing idles in a batch
    asked = [Request(("def f(x):", DRAWN), doc_id=3)] * 20
    assert counted(lambda: lm.generate_until(asked)) == charged(lm, model)
    assert lm.lengths["task"] == [(10, 9)] * 20
    assert lm.reads == [(0, 10, 1)] * -(-20 // batch_size)
    apart = model_flops(model.config).generate([10] * 20, [9] * 20)
    assert charged(lm, model) < 0.8 * apart


@pytest.mark.parametrize("share", [True, False])
def test_prompts_are_charged_as_another_counter_counts(share: bool) -> None:
    """Beginnings once, the rest behind them; row by row, so that no batch is padded."""
    model = build(SERVED["eager"])
    lm = make(model, byte_tokenizer(True), share=share, batch_size=1, max_length=1024)
    assert counted(lambda: lm.generate_until(requests())) == charged(lm, model)
    beginnings = [read for read in lm.reads if read[0]]
    assert bool(beginnings) == share
    assert sum(tokens for _, tokens, _ in lm.reads) == (
        sum(prompt for prompt, _ in lm.lengths["task"])
        - sum(known for known, _, _ in lm.reads)
        + sum({known: known for known, _, _ in beginnings}.values())
    )


def test_choices_are_charged_as_another_counter_counts() -> None:
    """Answers of two tokens: the head runs where they are read, and nowhere else."""
    model = build(SERVED["eager"])
    lm = make(model, byte_tokenizer(True), batch_size=1, max_length=1024)
    asked = [Request((head + q, " " + c)) for head in HEADS for q in ("1?", "two?") for c in "AB"]
    assert counted(lambda: lm.loglikelihood(asked)) == charged(lm, model)
    assert [known > 0 for known, _, _ in lm.reads].count(True) == 4
    assert {answers for known, _, answers in lm.reads if known} == {2}


def test_padding_is_not_charged() -> None:
    model, tokenizer = build(SERVED["eager"]), byte_tokenizer(True)
    costs = []
    for size in (1, 4):
        lm = make(model, tokenizer, share=False, batch_size=size, max_length=1024)
        work = counted(lambda lm=lm: lm.generate_until(requests()))
        costs.append((charged(lm, model), work))
    (alone, done), (batched, padded) = costs
    assert alone == done and padded > 1.2 * batched
    assert batched <= alone  # the two samples may have shared a pass


def test_an_adapter_is_part_of_the_states() -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = build(SERVED["llama"]), byte_tokenizer(True)
    before = make(model, tokenizer, max_length=1024).generate_until(requests())
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "k_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1.0)
    adapted.eval()
    whole = make(adapted, tokenizer, max_length=1024, share=False).generate_until(requests())
    assert make(adapted, tokenizer, max_length=1024).generate_until(requests()) == whole != before


def test_states_are_bounded() -> None:
    model, tokenizer = build(SERVED["llama"]), byte_tokenizer(True)
    lm = make(model, tokenizer, batch_size=2, max_length=1024)
    lm._decoder.prefixes._tokens = 400
    held = []
    run = lm._decoder.extend

    def extend(batch: Any) -> None:
        run(batch)
        held.append(sum(map(len, lm._decoder.prefixes._states)))

    lm._decoder.extend = extend
    heads = [letter * 300 for letter in "abcdef"]
    asked = [Request((h + t, {"max_gen_toks": 2})) for h in heads for t in ("1", "2", "3", "4")]
    lm.generate_until(asked)
    # One head in use and what the limit leaves beside it.
    assert max(held) <= 400 + 301 and len(held) == 12


def test_which_beginnings_are_shared() -> None:
    one, two = list(range(1000)), list(range(2000, 3500))
    prompts = [[*one, n] for n in range(5)] + [[*two, n, n] for n in range(3)] + [[7], one[:9]]
    assert shared_lengths(prompts) == [1000] * 5 + [1500] * 3 + [0, 0]
    assert shared_lengths(prompts[::-1]) == shared_lengths(prompts)[::-1]
    # Nested: 9 rows share 400 tokens, 3 of them 50 more: 8 x 400 is more than 2 x 450.
    head = list(range(400))
    nested = [head + [1] * 50 + [n] for n in range(2, 5)] + [[*head, n] for n in range(2, 8)]
    assert shared_lengths(nested) == [400] * 9
    # ... and with 900 more in each of three thirds, each third for itself: 3 x 2 x 1300 > 8 x 400.
    deep = [head + [third] * 900 + [n, n] for third in (1, 2, 3) for n in range(5, 8)]
    assert shared_lengths(deep) == [1300] * 9


def test_edges_of_sharing() -> None:
    assert shared_lengths([]) == []
    assert shared_lengths([[1, 2, 3]]) == [0]
    same = list(range(5000))
    assert shared_lengths([same, same]) == [0, 0]  # equal prompts share the whole pass anyway
    # A prompt that is the whole of another's beginning keeps its last tokens outside.
    assert shared_lengths([same, [*same, 1]]) == [4999, 4999]
    assert shared_lengths([same, [*same, 1]], behind=3) == [4997, 4997]
    short = list(range(PASS_TOKENS + 1))
    assert shared_lengths([[*short, 1], [*short, 2]]) == [PASS_TOKENS + 1] * 2
    assert shared_lengths([[*short[:-1], 1], [*short[:-1], 2]]) == [0, 0]
    ladder = [list(range(n)) for n in range(1, 1200)]  # deeper nesting than Python may recurse
    assert max(shared_lengths(ladder)) > 500
