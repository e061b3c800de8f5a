"""Train the micro model's tokenizer: byte-level BPE, single digits, role markers as tokens."""

from collections.abc import Iterable
from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.chat import TULU_TEMPLATE
from harness.micro.corpus import documents
from harness.micro.words import EVERYDAY_WORDS, FOODS, PERSONS, TOWNS
from harness.micro.world import pool

VOCABULARY_SIZE = 1280
MAX_LENGTH = 1024
WORD_WEIGHT = 500
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]

# GPT-2's pattern, but every digit is a piece of its own (with the space before it if any), and so
# is every line end: a prompt that ends in one is cut as it is within a text.
PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\n| +(?!\S)|\s"


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer trained on some plain text and the pool of a world."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, BOS, EOS, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(seed), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, bpe.token_to_id(BOS))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=ROLES,
        chat_template=TULU_TEMPLATE,
        model_max_length=MAX_LENGTH,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _texts(seed: int) -> Iterable[str]:
    """Yield plain text, pool text, and the world's words so often that each becomes a token."""
    for word in EVERYDAY_WORDS + PERSONS + TOWNS:
        yield f" {word}" * WORD_WEIGHT
    for word in PERSONS + FOODS:
        yield f"{word}\n" * WORD_WEIGHT
    yield from islice(documents(seed), 8000)
    for conversations in pool(seed).values():
        for conversation in conversations[:500]:
            yield from (message["content"] for message in conversation)
