"""Rendered prompts of the paper's suite, text and token ids, against files.

``golden/<benchmark>.json`` holds what a model reads for one hand-written item, under two tokenizers
and two templates; ``golden/real.json`` hashes of the same for one item of the real data. A prompt
that changes on purpose needs a higher ``prompt_version`` of its benchmark; then write the files
anew: WINNOW_WRITE_GOLDEN=1 python -m pytest tests/evaluation/test_golden.py
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from evaluation.lm import ChatLM  # noqa: E402
from evaluation.source import Source  # noqa: E402
from harness.chat import Chat  # noqa: E402
from tests.evaluation.conftest import load_suite  # noqa: E402
from tests.evaluation.golden.small_tokenizers import byte_level, llama_like  # noqa: E402

FOLDER = Path(__file__).parent / "golden"
NAMES = ("mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval")
KINDS = ("llama/tulu", "llama/own", "bytes/tulu", "bytes/own")
WRITE = bool(os.environ.get("WINNOW_WRITE_GOLDEN"))
# Where the assistant's turn opens, by kind.
OPENINGS = {
    "llama/tulu": "\n<|assistant|>\n",
    "llama/own": " [/INST]",
    "bytes/tulu": "\n<|assistant|>\n",
    "bytes/own": "<|eot|><|header|>assistant<|end_header|>\n\n",
}


def model_for(tokenizer: Any) -> ChatLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=8192,
    )  # fmt: skip
    return ChatLM(
        LlamaForCausalLM(config), tokenizer, batch_size=1, batch_tokens=9999, max_length=8192,
        seed=0, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def models() -> dict[str, ChatLM]:
    """A model's view by kind; the template is chosen as ``model.chat_template`` chooses it."""
    found = {}
    for kind in KINDS:
        tokenizer, template = kind.split("/")
        made = {"llama": llama_like, "bytes": byte_level}[tokenizer](own_template=True)
        Chat(made, "tulu" if template == "tulu" else None)
        found[kind] = model_for(made)
    return found


@pytest.fixture(scope="module")
def suite(small_data: Path) -> Any:
    made = load_suite("paper", small_data, True)
    # The exemplars of the paper come with lm-eval; they are hashed with the real items.
    gsm = made.benchmarks["gsm8k"].model_copy(update={"exemplars": "train"})
    return made.model_copy(update={"benchmarks": {**made.benchmarks, "gsm8k": gsm}})


def requests(benchmark: Any, item: Any, lm: ChatLM) -> list[tuple[Any, ...]]:
    """What the model is asked for one item, through the code that asks it."""
    task = benchmark.build_task([item], [], Source(None))
    task.build_all_requests(chat_template=lm.apply_chat_template)
    return [instance.args for instance in task._instances]


def rendered(benchmark: Any, item: Any, lm: ChatLM) -> dict[str, Any]:
    """Text and token ids; with choices also the last tokens of the text behind each."""
    asked = requests(benchmark, item, lm)
    (ids,) = lm._encode([asked[0][0]])
    found: dict[str, Any] = {"text": asked[0][0], "ids": ids}
    if item.choices:
        wholes = lm._encode(["".join(arguments) for arguments in asked])
        found["choices"] = [whole[-2:] for whole in wholes]
    return found


def line_by_line(golden: dict[str, Any]) -> str:
    """JSON with one line an entry, ids included."""
    rows = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in golden.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


@pytest.mark.parametrize("name", NAMES)
def test_prompts_and_token_ids(name: str, suite: Any, models: dict[str, ChatLM]) -> None:
    benchmark = suite.benchmarks[name]
    item = benchmark.test_items(suite.source())[0][-1]
    now: dict[str, Any] = {"item": item.id, "prompt_version": benchmark.prompt_version}
    now |= {kind: rendered(benchmark, item, lm) for kind, lm in models.items()}
    path = FOLDER / f"{name}.json"
    if WRITE:
        path.write_text(line_by_line(now), "utf-8")
    assert now == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_bos_and_the_opening_intact(
    name: str, kind: str, suite: Any, models: dict[str, ChatLM]
) -> None:
    lm, benchmark = models[kind], suite.benchmarks[name]
    item = benchmark.test_items(suite.source())[0][-1]
    found = rendered(benchmark, item, lm)
    ids, text, bos = found["ids"], found["text"], lm.tokenizer.bos_token_id
    assert ids[0] == bos and ids.count(bos) == 1
    # The assistant's turn is open: the end token closes the user's at most.
    assert ids.count(lm.tokenizer.eos_token_id) == (kind == "bytes/own")
    # Prompt, opening and prefix to the byte, a last newline included.
    assert text.endswith(item.prompt.strip() + OPENINGS[kind] + item.prefix)
    if name == "codex":
        assert text.endswith('"""\n')
    # No token is lost or unknown: the ids read back as the text.
    again = lm.tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False)
    assert again == text.removeprefix(lm.tokenizer.bos_token)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_evaluation_read_the_same_tokens(
    kind: str, suite: Any, models: dict[str, ChatLM]
) -> None:
    lm = models[kind]
    item = suite.benchmarks["squad"].test_items(suite.source())[0][0]
    (prompt,) = lm._encode([requests(suite.benchmarks["squad"], item, lm)[0][0]])
    turns = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": "Italy"}]
    (trained,) = Chat(lm.tokenizer, lm.tokenizer.chat_template).encode([turns], 9999, labels=True)
    assert trained.ids[: len(prompt)] == prompt
    assert not any(trained.is_label[: len(prompt)]) and trained.is_label[len(prompt)]


def test_a_tokenizer_without_bos_gets_none() -> None:
    for own in (False, True):
        tokenizer = byte_level(own_template=False, bos=False)
        Chat(tokenizer, "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
             "assistant: " if own else None)  # fmt: skip
        lm = model_for(tokenizer)
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is:\n"}]
        text = lm.apply_chat_template(turns, add_generation_prompt=False)
        (ids,) = lm._encode([text])
        assert tokenizer.decode(ids) == text and text.endswith("It is:\n")


REAL = {
    "mmlu": "astronomy/0",
    "gsm8k": "test/0",
    "bbh": "word_sorting/0",
    "tydiqa": "arabic/",
    "codex": "HumanEval/3",
    "squad": "56be4db0acb8001400a502ec",
    "alpaca_eval": "",
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", NAMES)
def test_real_items(name: str, shared_data: Path, models: dict[str, ChatLM]) -> None:
    suite = load_suite("paper", shared_data / "benchmarks", False)
    benchmark = suite.benchmarks[name]
    items = benchmark.items(Source(shared_data / "benchmarks"))
    item = next(item for item in items if item.id.startswith(REAL[name]))
    now: dict[str, Any] = {"item": item.id, "prompt_version": benchmark.prompt_version}
    for kind, lm in models.items():
        found = rendered(benchmark, item, lm)
        hashed = {
            key: hashlib.sha256(json.dumps(found[key]).encode()).hexdigest()
            for key in ("text", "ids")
        }
        now[kind] = {**hashed, "tokens": len(found["ids"])}
        assert found["ids"].count(lm.tokenizer.bos_token_id) == 1
        assert found["text"].endswith(item.prefix)
    path = FOLDER / "real.json"
    golden = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if WRITE:
        golden = dict(sorted({**golden, name: now}.items()))
        path.write_text(line_by_line(golden), "utf-8")
    assert now == golden[name]
