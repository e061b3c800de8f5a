"""The model behind lm-eval: prompts to the token, batches, stopping, sampling, likelihoods."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from evaluation.decoding import Row, choose  # noqa: E402
from evaluation.lm import ChatLM  # noqa: E402
from harness.chat import Chat  # noqa: E402

SPECIAL = ["<pad>", "<s>", "</s>"]


def byte_tokenizer(adds_bos: bool) -> Any:
    """One token per byte, three special ones before."""
    vocabulary = {name: n for n, name in enumerate(SPECIAL)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.add_special_tokens(SPECIAL)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    if adds_bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    Chat(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@dataclass
class Request:
    args: tuple[Any, ...]
    task_name: str = "task"
    doc_id: int = 0

    @property
    def doc(self) -> dict[str, str]:
        return {"id": str(self.doc_id)}


def make(model: Any, tokenizer: Any, **settings: Any) -> ChatLM:
    settings = {"batch_size": 8, "batch_tokens": 9999, "max_length": 512, "seed": 0} | settings
    return ChatLM(model, tokenizer, progress=False, **settings)


def greedy(text: str, n: int, **settings: Any) -> Request:
    return Request((text, {"max_gen_toks": n, **settings}))


@pytest.mark.parametrize("adds_bos", [True, False])
def test_prompt_text_and_tokens(model: Any, adds_bos: bool) -> None:
    tokenizer = byte_tokenizer(adds_bos)
    lm = make(model, tokenizer)
    prefix = 'Here is the function:\n\n```python\ndef f():\n    """Do."""\n'
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": prefix}]
    text = lm.apply_chat_template(turns, add_generation_prompt=False)
    assert text == "<|user|>\nHi\n<|assistant|>\n" + prefix
    assert lm.apply_chat_template(turns[:1]) == "<|user|>\nHi\n<|assistant|>\n"
    ids = lm._encode([text])[0]
    assert ids.count(1) == adds_bos and (ids[0] == 1) == adds_bos
    assert tokenizer.decode(ids[adds_bos:]) == text and 2 not in ids
    # A template that writes BOS itself gets no second one.
    assert lm._encode(["<s>" + text])[0] == [1, *ids[adds_bos:]]


def test_generation_equals_transformers_whatever_the_batch(model: Any) -> None:
    tokenizer = byte_tokenizer(True)
    texts = ["a", "what is this?", "b" * 40, "xyz " * 9, "what is it?"]
    one = [make(model, tokenizer).generate_until([greedy(t, 12)])[0] for t in texts]
    many = make(model, tokenizer, batch_size=3).generate_until([greedy(t, 12) for t in texts])
    assert many == one
    for text, got in zip(texts, one, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        whole = model.generate(ids, max_new_tokens=12, do_sample=False, top_k=None)
        assert got == tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)


class Script(torch.nn.Module):
    """Writes a fixed text behind each prompt: the one that the prompt's first letter names."""

    def __init__(self, tokenizer: Any, scripts: dict[str, str]) -> None:
        super().__init__()
        encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
        self.scripts = {encode(key)[0]: [*encode(text), 2] for key, text in scripts.items()}
        self.config = LlamaConfig(vocab_size=300)
        self.device = torch.device("cpu")
        self.steps: list[int] = []

    class Cache:
        def __init__(self, state: list[list[int]]) -> None:
            self.state = state

        def batch_select_indices(self, keep: Any) -> None:
            self.state = [list(self.state[i]) for i in keep.tolist()]

    def forward(
        self, input_ids: Any, attention_mask: Any, past_key_values: Any = None, **_: Any
    ) -> Any:
        if past_key_values is None:
            firsts = [int(row[mask.bool()][0]) for row, mask in zip(input_ids, attention_mask)]  # noqa: B905
            past_key_values = self.Cache([[first, 0] for first in firsts])
        self.steps.append(len(past_key_values.state))
        logits = torch.zeros(len(past_key_values.state), 1, 300)
        for row, state in enumerate(past_key_values.state):
            script = self.scripts[state[0]]
            logits[row, 0, script[min(state[1], len(script) - 1)]] = 9
            state[1] += 1
        return type("Output", (), {"logits": logits, "past_key_values": past_key_values})


def test_each_row_stops_for_itself() -> None:
    tokenizer = byte_tokenizer(False)
    script = Script(
        tokenizer, {"a": "one\n\ntwo", "b": "def g\nclass X", "c": "end", "d": "z" * 400}
    )
    stops = ["\n\n", "\nclass"]
    requests = [greedy(key, 20, until=stops) for key in "abcd"]
    lm = make(script, tokenizer)
    assert lm.generate_until(requests) == ["one", "def g", "end", "z" * 20]
    # 20 steps for the longest; rows that have ended leave the batch.
    assert len(script.steps) == 20
    assert script.steps[-1] == 1
    generated = [int(new) for _, new in lm.lengths["task"]]
    assert generated == [len("one\n\n"), len("def g\nclass"), len("end") + 1, 20]


def test_a_stop_string_across_tokens_and_the_earliest_wins() -> None:
    tokenizer = byte_tokenizer(False)
    script = Script(tokenizer, {"a": "ok\n``` more", "b": "no\ndef x"})
    requests = [greedy(key, 30, until=["\ndef", "\n```"]) for key in "ab"]
    assert make(script, tokenizer).generate_until(requests) == ["ok", "no"]


def test_samples_depend_on_the_seed_and_not_on_the_batch(model: Any) -> None:
    tokenizer = byte_tokenizer(True)
    settings = {"temperature": 0.9, "top_p": 0.95, "top_k": 0}
    requests = [
        Request((text, {"max_gen_toks": 8, **settings}), doc_id=n)
        for n, text in enumerate(["one", "another one", "three"])
        for _ in range(4)
    ]
    first = make(model, tokenizer, seed=5).generate_until(requests)
    assert first == make(model, tokenizer, seed=5, batch_size=3).generate_until(requests)
    assert first != make(model, tokenizer, seed=6).generate_until(requests)
    assert len(set(first[:4])) > 1


def test_sampling_follows_temperature_nucleus_and_k() -> None:
    import numpy as np

    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))

    def counts(**settings: Any) -> list[float]:
        n = 2000
        rows = [Row([0], 1, uniforms=np.array([(i + 0.5) / n]), **settings) for i in range(n)]
        drawn = choose(logits.expand(n, 4), rows)
        return (torch.bincount(drawn, minlength=4) / n).tolist()

    assert counts(temperature=1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.002)
    assert counts(temperature=1.0, top_p=0.75) == pytest.approx([0.625, 0.375, 0, 0], abs=0.002)
    assert counts(temperature=1.0, top_k=1) == [1, 0, 0, 0]
    sharp = [p**2 / 0.365 for p in (0.5, 0.3, 0.15, 0.05)]
    assert counts(temperature=0.5) == pytest.approx(sharp, abs=0.002)


def test_choice_likelihoods(model: Any) -> None:
    tokenizer = byte_tokenizer(True)
    lm = make(model, tokenizer)
    contexts = ["The answer is:", "A much longer question. The answer is:"]
    requests = [Request((c, " " + letter)) for c in contexts for letter in "ABCD"]
    got = lm.loglikelihood(requests)
    for request, (value, is_greedy) in zip(requests, got, strict=True):
        ids = tokenizer("".join(request.args), return_tensors="pt").input_ids
        with torch.inference_mode():
            logs = model(ids).logits[0].float().log_softmax(-1)
        start = ids.shape[1] - 2
        wanted = sum(float(logs[i - 1, ids[0, i]]) for i in range(start, ids.shape[1]))
        assert value == pytest.approx(wanted, abs=1e-4)
        assert is_greedy == all(
            logs[i - 1].argmax() == ids[0, i] for i in range(start, ids.shape[1])
        )
    # Continuations that differ in the last token only share a pass: " " was fed, a letter not.
    assert lm.lengths["task"] == [(len(c) + 2, 0) for c in contexts]


def test_long_prompts_lose_the_left_and_are_counted(model: Any) -> None:
    tokenizer = byte_tokenizer(True)
    lm = make(model, tokenizer, max_length=40)
    lm.generate_until([greedy("x" * 100 + "end", 8), greedy("short", 8)])
    assert lm.truncated["task"] == 1
    assert lm.lengths["task"][0][0] == 32
    assert lm._fit(lm._encode(["x" * 100 + "end"])[0], 8, "task")[0] == 1


def test_batches_keep_to_both_limits(model: Any) -> None:
    lm = make(model, byte_tokenizer(False), batch_size=3, batch_tokens=100)
    sizes = [90, 50, 40, 30, 30, 10, 10, 10, 10]
    assert list(lm._batches(sizes, lambda n: (0, n))) == [
        [90],
        [50, 40],
        [30, 30, 10],
        [10, 10, 10],
    ]
    assert list(lm._batches([200, 1], lambda n: (0, n))) == [[200], [1]]


def test_the_checkpoints_generation_settings_do_not_matter(model: Any) -> None:
    tokenizer = byte_tokenizer(True)
    before = make(model, tokenizer).generate_until([greedy("hello", 10)])
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.do_sample = True
    try:
        assert make(model, tokenizer).generate_until([greedy("hello", 10)]) == before
    finally:
        del model.generation_config.repetition_penalty
        model.generation_config.do_sample = False


def test_a_model_that_gives_nan_is_refused_and_not_graded(model: Any) -> None:
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.lm_head.weight[3:] = float("nan")
    with pytest.raises(ValueError, match="task: the model's probabilities are NaN"):
        make(broken, byte_tokenizer(True)).loglikelihood([Request(("a", " b"))], disable_tqdm=True)
