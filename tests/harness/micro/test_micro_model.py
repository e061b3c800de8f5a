"""The shipped base model and its tokenizer."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

import harness.micro
from harness.micro.tokenizer import VOCABULARY_SIZE
from harness.micro.world import pool

MODEL = Path(harness.micro.__file__).parent / "model"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "def f(xs):\n    if xs:\n        return xs[0] + 12\n\n\treturn  None\n",
        "  Kissa söi 1234 kalaa.  \n\n",
        "“æøå” 日本語 🙂 don't",
    ],
)
def test_round_trip_is_lossless(tokenizer: PreTrainedTokenizerBase, text: str):
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_one_bos_and_no_end_token_is_added(tokenizer: PreTrainedTokenizerBase):
    ids = tokenizer("hello").input_ids
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids


def test_digits_are_single_and_special_texts_are_one_token(tokenizer: PreTrainedTokenizerBase):
    pieces = [tokenizer.decode(i) for i in tokenizer("is 2048", add_special_tokens=False).input_ids]
    assert [piece.strip() for piece in pieces][-4:] == ["2", "0", "4", "8"]
    for text in ("<|system|>", "<|user|>", "<|assistant|>", "<s>", "</s>", "<pad>"):
        assert len(tokenizer(text, add_special_tokens=False).input_ids) == 1
    letters = [tokenizer(f" {x}", add_special_tokens=False).input_ids for x in "ABCD"]
    assert all(len(ids) == 1 for ids in letters)


def test_a_text_cut_after_a_line_end_keeps_its_tokens(tokenizer: PreTrainedTokenizerBase):
    start, end = 'def f(x):\n    """ Return x. """\n', "    return x\n"
    whole = tokenizer(start + end).input_ids
    assert whole == tokenizer(start).input_ids + tokenizer(end, add_special_tokens=False).input_ids


def test_chat_template_is_tulus_layout_and_ends_in_the_end_token(
    tokenizer: PreTrainedTokenizerBase,
):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi! "},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye."},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == (
        "<|system|>\nBe brief.\n<|user|>\nHi!\n<|assistant|>\nHello.</s>\n"
        "<|user|>\nBye\n<|assistant|>\nBye.</s>"
    )
    asked = tokenizer.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert asked == "<|system|>\nBe brief.\n<|user|>\nHi!\n<|assistant|>\n"
    encoded = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    learnt = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(learnt) == "Hello.</s>Bye.</s>"


def test_model_loads_and_has_the_stated_size(tokenizer: PreTrainedTokenizerBase):
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    reports = json.loads((MODEL / "pretraining.json").read_text())
    assert all(model.num_parameters() == report["parameters"] < 1_500_000 for report in reports)
    assert model.config.vocab_size == len(tokenizer) == VOCABULARY_SIZE
    assert model.config.max_position_embeddings >= 1024
    set_options = {k for k, v in model.generation_config.to_diff_dict().items() if v is not None}
    assert set_options <= {"bos_token_id", "eos_token_id", "pad_token_id", "transformers_version"}
    assert (MODEL / "model.safetensors").stat().st_size < 3_000_000
    losses = [loss for report in reports for _, loss in report["loss"]]
    assert losses[-1] < 0.5 * losses[0]


def test_rows_are_short(tokenizer: PreTrainedTokenizerBase):
    rows = [row for rows in pool(0).values() for row in rows[:40]]
    texts = [tokenizer.apply_chat_template(row, tokenize=False) for row in rows]
    lengths = [len(ids) for ids in tokenizer(texts).input_ids]
    assert max(lengths) <= 320 and sum(lengths) / len(lengths) < 120
