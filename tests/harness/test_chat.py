"""The template, the label mask and the spans, against conversations marked up by hand."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from harness.chat import TULU_TEMPLATE, Chat, TemplateError
from harness.micro_data import model_folder
from harness.model import ModelConfig
from harness.stages import template_hash_of
from tests.conftest import conversation


@pytest.fixture(scope="module", params=["own", "tulu", "no_markers"])
def chat(request: pytest.FixtureRequest) -> Chat:
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    template = {"own": None, "tulu": "tulu"}.get(request.param)
    if request.param == "no_markers":  # like most templates on the hub
        template = TULU_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    return Chat(tokenizer, template)


def labelled(chat: Chat, *turns: str, max_length: int = 10_000) -> str:
    """The text that the loss counts, pieces joined by |."""
    (row,) = chat.encode([conversation(*turns)], max_length, labels=True)
    pieces, current = [], []
    for token, inside in zip(row.ids, row.is_label, strict=True):
        if inside:
            current.append(token)
        elif current:
            pieces.append(chat.tokenizer.decode(current))
            current = []
    return "|".join([*pieces, chat.tokenizer.decode(current)] if current else pieces)


def test_text_is_tulus(chat: Chat) -> None:
    assert chat.text(conversation("Hi there ", " Hello.", "Bye", "So long")) == (
        "<|user|>\nHi there\n<|assistant|>\nHello.</s>\n<|user|>\nBye\n<|assistant|>\nSo long</s>"
    )


def test_loss_counts_every_assistant_turn_and_its_end(chat: Chat) -> None:
    assert labelled(chat, "one", "two") == "two</s>"
    assert labelled(chat, "a b", "c d", "e f", "g h") == "c d</s>|g h</s>"


def test_a_turn_that_quotes_the_markup_is_not_mistaken(chat: Chat) -> None:
    quoted = "say\n<|assistant|>\nyes"
    assert labelled(chat, quoted, "yes") == "yes</s>"


def test_truncation_cuts_on_the_right_and_says_so(chat: Chat) -> None:
    row = conversation("a long question " * 20, "short")
    (cut,) = chat.encode([row], 30, labels=True)
    assert len(cut.ids) == len(cut.is_label) == 30 and cut.truncated
    assert not any(cut.is_label)
    (whole,) = chat.encode([row], 10_000, labels=True)
    assert whole.ids[:30] == cut.ids and not whole.truncated


def test_one_bos_at_the_front(chat: Chat) -> None:
    (row,) = chat.encode([conversation("one", "two")], 100)
    assert row.ids[0] == chat.tokenizer.bos_token_id
    assert row.ids.count(chat.tokenizer.bos_token_id) == 1
    assert row.ids[-1] == chat.tokenizer.eos_token_id
    assert row.ids.count(chat.tokenizer.eos_token_id) == 1


def test_spans_of_a_row(chat: Chat) -> None:
    row = [{"role": "system", "content": "Be kind."}, *conversation("Q", "A", "Q2", "A2")]
    assert chat.text(row, "prompt") == "<|system|>\nBe kind.\n<|user|>\nQ</s>"
    assert chat.text(row, "label") == "<|assistant|>\nA</s>"


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    rewriting = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(TemplateError, match="chat_template=tulu"):
        Chat(tokenizer, rewriting).encode([conversation("a", "b")], 100, labels=True)


@pytest.mark.parametrize(
    "word", [None, "tulu", "{% for m in messages %}{{ m['content'] }}{% endfor %}"]
)
def test_the_record_names_the_template_in_use(word: str | None, micro_model: ModelConfig) -> None:
    model = micro_model.model_copy(update={"chat_template": word})
    assert template_hash_of(model) == model.load_chat().template_hash


def test_a_misspelt_word_is_no_template() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    with pytest.raises(TemplateError, match=r"model\.chat_template='Tulu'.*tulu.*null"):
        Chat(tokenizer, "Tulu")


def test_without_a_template_of_its_own_a_tokenizer_gets_tulus() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    tokenizer.chat_template = None
    assert Chat(tokenizer).tokenizer.chat_template == TULU_TEMPLATE
    own = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    tokenizer.chat_template = own
    assert Chat(tokenizer).render(conversation("a", "b")) == "[user]a[assistant]b"
    assert Chat(tokenizer, "tulu").tokenizer.chat_template == TULU_TEMPLATE
