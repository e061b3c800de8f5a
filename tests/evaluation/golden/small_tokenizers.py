"""Two small tokenizers built by hand: one like Llama 2's, one on bytes like Llama 3's."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

TEXT = (
    "the answer is question following user assistant function python passage and what in of to "
    "A B C D Answer Question Let's think step by So return def item"
)
WORDS = TEXT.split()

# What Llama 2 and Llama 3 do in their own templates: BOS is written by the template.
LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'system' %}{{ raise_exception('no system turn') }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
HEADER_CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|header|>' + m['role'] + '<|end_header|>\n\n' + m['content'] | trim + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|header|>assistant<|end_header|>\n\n' }}{% endif %}"
)


def _merges(vocabulary: dict[str, int], words: list[str]) -> list[tuple[str, str]]:
    """Merges that build each word from left to right; their results join the vocabulary."""
    merges = []
    for word in words:
        left = word[0]
        for letter in word[1:]:
            if left + letter not in vocabulary:
                vocabulary[left + letter] = len(vocabulary)
                merges.append((left, letter))
            left += letter
    return merges


def llama_like(own_template: bool = False) -> Any:
    """Blanks as ▁, one put in front of a text, unknown characters as bytes, BOS added."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    letters = "".join(sorted({letter for word in WORDS for letter in word} | set(".:?|<>[]")))
    vocabulary = {name: number for number, name in enumerate([*names, *letters])}
    merges = _merges(vocabulary, [f"▁{word}" for word in WORDS] + ["assistant", "user"])
    inner = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    inner.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        chat_template=LLAMA_CHAT if own_template else None,
    )  # fmt: skip


def byte_level(own_template: bool = False, bos: bool = True) -> Any:
    """Bytes and a few merges, with headers as special tokens; ``bos``: whether it adds one."""
    special = ["<|bos|>", "<|eot|>", "<|header|>", "<|end_header|>"]
    vocabulary = {name: number for number, name in enumerate(special)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    merges = _merges(vocabulary, [f"Ġ{word}" for word in WORDS] + ["assistant", "user"])
    inner = Tokenizer(models.BPE(vocabulary, merges))
    inner.add_special_tokens(special)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            "<|bos|> $A", special_tokens=[("<|bos|>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|bos|>" if bos else None, eos_token="<|eot|>",
        chat_template=HEADER_CHAT if own_template else None,
    )  # fmt: skip
