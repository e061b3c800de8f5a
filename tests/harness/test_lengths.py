"""Tokens counted word by word are the tokens of the whole text, whatever the text."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from harness.chat import TULU_TEMPLATE, Chat
from harness.lengths import TokenCounter, separable
from harness.model import ModelConfig
from tests.conftest import conversation

PIECES = [
    " ", "  ", "\n", "\n\n", " \n", "\n ", "\t", "\r\n", "\xa0", "\u3000", "\x1c", "don't", "'s",
    " 's", "I'LL", "a", "Word", "word.", "...", "12345", "3.14", "<|user|>", "</s>", "<s>", "é",
    "日本 語", "naïve", "__init__", "(x, y)", "{", "👍", "e\u0301", ".\n", ". ", "-", "=  =", "",
]  # fmt: skip


def texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 30))) for _ in range(count)]


def byte_level(expression: str | None) -> Any:
    """A byte-level BPE with merges that would reach over spaces and line ends if they could."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if expression is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(expression), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<s>", "</s>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(400), trainer)
    return tokenizer


def chat_of(tokenizer: Any) -> Chat:
    from transformers import PreTrainedTokenizerFast

    return Chat(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    )


def agree(chat: Chat, some: list[str]) -> None:
    counter = TokenCounter(chat)
    whole = [len(ids) for ids in chat.tokenise(some)["input_ids"]]
    assert counter(some).tolist() == whole
    assert counter(some).tolist() == whole  # now all words are known
    assert counter(some[:3]).tolist() == whole[:3]


def test_the_embedded_tokenizer(micro_model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = micro_model.load_chat()
    assert TokenCounter(chat)._kind == "lines"
    agree(chat, texts(1500))
    monkeypatch.setattr("harness.lengths.MOST_WORDS", 5)  # most words are forgotten again
    agree(chat, texts(300))


LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("expression", "kind"), [(None, "words"), (LLAMA_3, "words"), (r" ?\S+|\s+", "")]
)
def test_other_tokenizers(expression: str | None, kind: str) -> None:
    chat = chat_of(byte_level(expression))
    assert TokenCounter(chat)._kind == kind
    agree(chat, texts(1500))


def test_what_could_look_over_a_space_is_tokenised_whole() -> None:
    plain = json.loads(byte_level(None).to_str())
    assert separable(plain) == "words"
    token = {**plain["added_tokens"][0], "lstrip": True}
    for change in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {**plain["pre_tokenizer"], "add_prefix_space": True}},
        {"model": {**plain["model"], "dropout": 0.1}},
        {"model": {**plain["model"], "type": "Unigram"}},
        {"added_tokens": [token]},
        {"added_tokens": [{**plain["added_tokens"][0], "content": "a b"}]},
    ):
        assert separable({**plain, **change}) == "", change


def test_the_house_template_is_rendered_as_jinja_would(micro_model: ModelConfig) -> None:
    chat = micro_model.load_chat()
    assert chat.tokenizer.chat_template == TULU_TEMPLATE
    rows = [
        conversation(" a\n", "b {{ c }} "),
        [{"role": "system", "content": "<s>"}, *conversation("x", "y", "z", "\t<b>&'\"\n")],
        conversation("question alone"),
    ]
    for row in rows:
        for opens in (False, True):
            jinja = chat.tokenizer.apply_chat_template(
                row, tokenize=False, add_generation_prompt=opens
            )
            assert chat.render(row, generation_prompt=opens) == jinja
