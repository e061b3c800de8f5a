"""judge=local for real: a small model answers over HTTP on loopback, log-probabilities included.

The slow test asks ``transformers serve``, which needs fastapi, uvicorn and opentelemetry-api.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from evaluation.alpaca_eval.annotate import verdicts
from evaluation.base import Grading, Item
from evaluation.judges.api import annotators
from evaluation.judges.local import LocalJudge
from harness.model import ModelConfig

ITEMS = [Item(str(n), f"Name a town, please: {n}.", f"Town number {n}.", "") for n in range(6)]
TEXTS = [f"It is {n}." for n in range(6)]
RANKS = "[{'model':'model_1','rank':1}]"


class Served:
    """A model behind the part of OpenAI's chat interface that a judge of style weighted uses."""

    def __init__(self, config: ModelConfig) -> None:
        self.model, self.tokenizer = config.load().eval(), config.load_chat().tokenizer
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                data = json.dumps(owner.answer(body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def next_token(self, messages: list[dict[str, str]]) -> Any:
        """Log-probabilities of the first token of a reply."""
        import torch

        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        with torch.no_grad():
            return self.model(ids).logits[0, -1].float().log_softmax(-1), ids.shape[1]

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["max_tokens"] == 1
        found, length = self.next_token(body["messages"])
        values, tokens = found.topk(body["top_logprobs"])
        tops = [
            {"token": self.tokenizer.decode([token]), "logprob": value}
            for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
        ]
        message = {"role": "assistant", "content": tops[0]["token"]}
        logprobs = {"content": [{**tops[0], "top_logprobs": tops}]}
        usage = {"prompt_tokens": length, "completion_tokens": 1, "total_tokens": length + 1}
        return {"choices": [{"index": 0, "message": message, "logprobs": logprobs}], "usage": usage}


@pytest.fixture
def served(micro_model: ModelConfig) -> Iterator[Served]:
    made = Served(micro_model)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_small_models_own_probabilities_become_preferences(
    served: Served, tmp_path: Path
) -> None:
    judge = LocalJudge(
        base_url=served.url, model="micro", style="weighted", top_logprobs=1280, concurrency=2
    )
    judge.check()
    found = verdicts(ITEMS, TEXTS, Grading(None, tmp_path), judge)
    template = (annotators() / "alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt").read_text()
    from alpaca_eval.utils import prompt_to_chatml

    every = [served.tokenizer.decode([token]).strip() for token in range(len(served.tokenizer))]
    assert len(every) <= judge.top_logprobs
    tokens = {w: [n for n, token in enumerate(every) if token == w] for w in ("m", "M")}
    assert all(len(which) > 1 for which in tokens.values()), "with a blank and without"
    swapped = 0
    for item, text, preference in zip(ITEMS, TEXTS, found.preferences, strict=True):
        fair = []
        for pair in ((item.target, text), (text, item.target)):
            question = template.replace("{instruction}", item.prompt)
            question = question.replace("{output_1}", pair[0]).replace("{output_2}", pair[1])
            p = served.next_token(prompt_to_chatml(question.strip()))[0].exp()
            one, two = (float(p[tokens[word]].sum()) for word in ("m", "M"))
            fair.append(one / (one + two))
        # The model's answer second: the chance of "M"; first, as a seeded choice has it: of "m".
        straight, turned = 1 - fair[0], fair[1]
        assert preference == pytest.approx(straight, abs=1e-5) or preference == pytest.approx(
            turned, abs=1e-5
        )
        swapped += preference == pytest.approx(turned, abs=1e-5)
    assert 0 < swapped < len(ITEMS)
    assert found.notes["cost"]["reply_tokens"] == len(ITEMS)


def test_a_model_that_gives_no_verdict_is_no_judge(served: Served, tmp_path: Path) -> None:
    judge = LocalJudge(base_url=served.url, model="micro", style="weighted", top_logprobs=1)
    with pytest.raises(RuntimeError, match=r"no usable verdict on \d of 6 answers"):
        verdicts(ITEMS, TEXTS, Grading(None, tmp_path), judge)


# -- transformers serve ---------------------------------------------------------------------------


def train_ranker(config: ModelConfig, folder: Path) -> None:
    """Teach the micro model to answer the questions of this test with the rank of the first: 1."""
    import torch
    from alpaca_eval.utils import prompt_to_chatml

    model, tokenizer = config.load().float().train(), config.load_chat().tokenizer
    template = (annotators() / "alpaca_eval_gpt4/alpaca_eval.txt").read_text()
    answer = [*tokenizer.encode(RANKS, add_special_tokens=False), tokenizer.eos_token_id]
    rows = []
    for item, text in zip(ITEMS, TEXTS, strict=True):
        for pair in ((item.target, text), (text, item.target)):
            question = template.replace("{instruction}", item.prompt)
            question = question.replace("{output_1}", pair[0]).replace("{output_2}", pair[1])
            ids = tokenizer.apply_chat_template(
                prompt_to_chatml(question.strip()), add_generation_prompt=True, return_dict=True
            )["input_ids"]
            rows.append((torch.tensor([[*ids, *answer]]), len(ids)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    worst: list[float] = []
    for step in range(200):
        row, start = rows[step % len(rows)]
        labels = row.clone()
        labels[:, :start] = -100
        loss = model(row, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        worst = [*worst[-len(rows) + 1 :], loss.item()]
        if step >= len(rows) and max(worst) < 0.01:
            break
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.slow
def test_transformers_serve_is_a_judge(micro_model: ModelConfig, tmp_path: Path) -> None:
    missing = [
        name
        for name in ("fastapi", "uvicorn", "opentelemetry")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"transformers serve cannot run: {', '.join(missing)} not installed")
    folder = tmp_path / "ranker"
    train_ranker(micro_model, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    options = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    paths = os.pathsep.join(path for path in sys.path if path)
    log = tmp_path / "serve.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, *options, "--dtype", "float32"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        judge = LocalJudge(
            base_url=f"http://127.0.0.1:{port}/v1", model=str(folder), concurrency=2,
            cache=str(tmp_path / "kept"),
        )  # fmt: skip
        judge.check()
        found = verdicts(ITEMS, TEXTS, Grading(None, tmp_path / "work"), judge)
    finally:
        server.terminate()
        server.wait(30)
    # It always likes the first answer, which is the model's where the two changed places.
    assert set(found.preferences) == {0.0, 1.0}
    assert found.board["n_total"] == 6 and found.notes["cost"]["prompt_tokens"] > 6 * 100
    again = verdicts(ITEMS, TEXTS, Grading(None, tmp_path / "again"), judge)  # nobody is there now
    assert again.preferences == found.preferences


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"transformers serve did not start:\n{log.read_text()[-2000:]}")
