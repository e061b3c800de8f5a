"""The vLLM route: what goes over, what comes back, and what is said where vLLM is not.

vLLM itself does not install beside this package. In its place stands a module ``vllm`` in a folder
of its own, run by the real worker in a real process: it writes down its arguments, and answers with
tokens that the prompt names.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evaluation.source import DataError  # noqa: E402
from evaluation.vllm import WORKER, Vllm, VllmError  # noqa: E402
from tests.evaluation.test_lm import Request, byte_tokenizer, greedy, make, model  # noqa: E402, F401

FAKE = """
import json, os
__version__ = "0.fake"
told = os.path.join(os.path.dirname(__file__), "told.json")

class SamplingParams:
    def __init__(self, **given):
        self.given = given

class Answer:
    def __init__(self, **given):
        self.__dict__.update(given)

class LLM:
    def __init__(self, **engine):
        self.engine = engine
        self.files = sorted(os.listdir(engine["model"]))

    def generate(self, prompts, sampling_params):
        asked = [[p["prompt_token_ids"], s.given] for p, s in zip(prompts, sampling_params)]
        json.dump({"engine": self.engine, "files": self.files, "asked": asked}, open(told, "w"))
        if os.environ.get("FAKE_FAILS"):
            raise RuntimeError("no GPU that is large enough")
        if os.environ.get("FAKE_LOSES"):
            os._exit(0)
        found = []
        for ids, settings in asked:
            if os.environ.get("FAKE_REREADS"):
                ids = [1, *ids]
            text = "yes. no!\\n\\nmore" if settings["stop"] else "ok"
            new = [ids[-1]] + [b for b in json.loads(os.environ["FAKE_IDS"])[text]] + [2]
            new = new[: settings["max_tokens"]]
            reason = "stop" if len(new) < settings["max_tokens"] else "length"
            answer = Answer(token_ids=tuple(new), finish_reason=reason, text="not used")
            found.append(Answer(
                prompt_token_ids=ids, outputs=[answer], num_cached_tokens=len(ids) // 4 * 2))
        return found
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module vllm, on the path of every process started from here."""
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "vllm.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    encode = byte_tokenizer(False)
    ids = {t: encode(t, add_special_tokens=False).input_ids for t in ("yes. no!\n\nmore", "ok")}
    monkeypatch.setenv("FAKE_IDS", json.dumps(ids))
    return folder


def told(fake: Path) -> dict[str, Any]:
    return json.loads((fake / "told.json").read_text())


def test_prompts_are_those_of_transformers_to_the_token(fake: Path, model: Any) -> None:  # noqa: F811
    tokenizer = byte_tokenizer(True)
    vllm = Vllm(python=sys.executable, options={"enforce_eager": True})
    requests = [
        greedy("What? ", 30, until=["\n\n", "!"]),
        greedy("x" * 100 + "é end", 8),
        *[Request(("Draw", {"max_gen_toks": 4, "temperature": 0.8, "top_p": 0.95, "top_k": 0}))]
        * 3,
    ]
    lm = make(model, tokenizer, max_length=40, vllm=vllm, seed=7)
    texts = lm.generate_until(requests)
    plain = make(model, tokenizer, max_length=40, seed=7)
    rows: list[Any] = []
    plain._decoder.extend = lambda batch: rows.extend(batch)
    plain.generate_until(requests)
    asked = told(fake)["asked"]
    # The same token ids, one BOS, the long prompt cut behind it by the same rule.
    assert sorted(ids for ids, _ in asked) == sorted(row.ids for row in rows)
    assert asked[1][0][0] == 1 and len(asked[1][0]) == 32 and lm.truncated["task"] == 1
    # The first token repeats the prompt's last; the rest is what the engine wrote, cut here.
    assert texts == [" yes. no", "dok", *["wok"] * 3]
    assert lm.lengths["task"][0] == (7, 16) and lm.lengths["task"][2] == (5, 4)
    # What the engine says that it had in its cache is not charged again.
    assert lm.reads == [(2, 5, 1), (16, 16, 1), *[(2, 3, 1)] * 3]


def test_sampling_is_said_in_full(fake: Path, model: Any) -> None:  # noqa: F811
    sampling = {"max_gen_toks": 4, "temperature": 0.8, "top_p": 0.95, "top_k": 20}
    drawn = [Request(("Draw", sampling), doc_id=n) for n in (0, 0, 1)]
    asked_for = [greedy("a", 5, until=["\nclass"], top_p=0.5, top_k=3), *drawn]
    seeds = []
    for seed in (0, 0, 1):
        lm = make(model, byte_tokenizer(True), vllm=Vllm(python=sys.executable), seed=seed)
        lm.generate_until(asked_for)
        asked = told(fake)["asked"]
        seeds.append([settings["seed"] for _, settings in asked[1:]])
    same = {
        "n": 1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "stop_token_ids": [2], "skip_special_tokens": False,
    }  # fmt: skip
    assert asked[0][1] == same | {
        "temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": None, "max_tokens": 5,
        "stop": ["\nclass"],
    }  # fmt: skip
    assert asked[1][1] == same | {
        "temperature": 0.8, "top_p": 0.95, "top_k": 20, "seed": seeds[2][0], "max_tokens": 4,
        "stop": [],
    }  # fmt: skip
    # A seed for each sample, by task, item and number; another run seed gives others.
    assert seeds[0] == seeds[1] and len({*seeds[0], *seeds[2]}) == 6


def test_the_engine_gets_a_plain_checkpoint(fake: Path, model: Any) -> None:  # noqa: F811
    from peft import LoraConfig, get_peft_model

    settings = {"dtype": "bfloat16", "tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}
    vllm = Vllm(python=sys.executable, options={"enforce_eager": True}, **settings)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    try:
        lm = make(adapted, byte_tokenizer(True), vllm=vllm, seed=3)
        lm.generate_until([greedy("a", 5)])
    finally:
        adapted.unload()
    found = told(fake)
    assert found["engine"].pop("model")
    assert found["engine"] == settings | {
        "max_model_len": 512, "seed": 3, "enable_prefix_caching": True,
        "generation_config": "vllm", "enforce_eager": True,
    }  # fmt: skip
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(found["files"])
    assert "adapter_model.safetensors" not in found["files"]


def test_choices_stay_with_the_model(fake: Path, model: Any) -> None:  # noqa: F811
    choices = [Request(("The answer is:", " " + letter)) for letter in "AB"]
    lm = make(model, byte_tokenizer(True), vllm=Vllm(python=sys.executable))
    assert lm.loglikelihood(choices) == make(model, byte_tokenizer(True)).loglikelihood(choices)
    assert not (fake / "told.json").exists()


@pytest.mark.parametrize(
    ("switch", "said"),
    [("FAKE_FAILS", "code 1: .*no GPU that is large enough"), ("FAKE_LOSES", "code 0"),
     ("FAKE_REREADS", "read another prompt")],
)  # fmt: skip
def test_a_failed_engine_says_why(
    fake: Path, model: Any, monkeypatch: pytest.MonkeyPatch, switch: str, said: str  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setenv(switch, "1")
    lm = make(model, byte_tokenizer(True), vllm=Vllm(python=sys.executable))
    with pytest.raises(VllmError, match=said):
        lm.generate_until([greedy("a", 5)])


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/python: cannot be started.*pip install vllm"):
        Vllm(python=str(tmp_path / "nowhere/python")).check()
    with pytest.raises(
        DataError, match=r"has no package vllm.*\+suite\.vllm\.python=ENV/bin/python"
    ):
        Vllm(python=sys.executable).check()


def test_an_environment_with_vllm_passes(fake: Path) -> None:
    Vllm(python=sys.executable).check()


def test_paths_and_gpus_are_no_part_of_the_identity() -> None:
    one = Vllm(python="a", tensor_parallel_size=2).identity()
    assert one == Vllm(python="b", gpu_memory_utilization=0.3).identity()
    assert one != Vllm(python="a", dtype="float16").identity()


def test_one_word_on_the_command_line_switches_a_suite_over() -> None:
    from hydra import compose, initialize_config_module

    from harness.settings import build

    words = ["suite=paper", "+suite.vllm.python=ENV/bin/python", "+suite.vllm.dtype=bfloat16"]
    with initialize_config_module("conf", version_base="1.3"):
        suite = build(compose("config", overrides=words)).suite
    assert suite.vllm == Vllm(python="ENV/bin/python", dtype="bfloat16")
    with pytest.raises(DataError, match="ENV/bin/python: cannot be started"):
        suite.model_copy(update={"allow_code_execution": True}).check()


def test_a_suite_is_scored_through_it(
    fake: Path, model: Any, small_suite: Any, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    names = ("mmlu", "gsm8k", "bbh")
    chosen = {name: small_suite.benchmarks[name] for name in names}
    plain = small_suite.model_copy(update={"benchmarks": chosen, "max_length": 512})
    suite = plain.model_copy(update={"vllm": Vllm(python=sys.executable)})
    assert "vllm" not in plain.identity()
    assert suite.identity() == plain.identity() | {"vllm": suite.vllm.identity()}
    result = suite.evaluate(
        model, byte_tokenizer(True), judge=None, out_dir=tmp_path / "out", seed=0, progress=False
    )
    # Generated text came from the engine, in one call; choices from the model.
    assert len(told(fake)["asked"]) == result.scores["gsm8k"].n + result.scores["bbh"].n
    packed = (tmp_path / "out" / (result.scores["bbh"].items or "")).read_bytes()
    rows = gzip.decompress(packed).splitlines()
    assert {json.loads(row)["outputs"][0] for row in rows} == {":ok"}
    assert result.lengths["mmlu"][:, 1].sum() == 0


def test_the_worker_needs_the_standard_library_and_vllm_alone(fake: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['worker', '--help']\n"
        "try: runpy.run_path(sys.argv.pop() and r'%s')\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'harness') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code % WORKER],
        capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
