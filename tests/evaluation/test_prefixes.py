"""Shared beginnings: which are chosen, that outputs stay, for which models, within which memory."""

from __future__ import annotations

from typing import Any

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


def test_the_prompts_own_lengths_are_what_is_charged() -> None:
    model, tokenizer = build(SERVED["llama"]), byte_tokenizer(True)
    counted = []
    for share in (False, True):
        lm = make(model, tokenizer, share=share, max_length=1024)
        lm.generate_until(requests())
        counted.append(lm.lengths["task"])
    assert counted[0] == counted[1]


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
