"""Any model behind OpenAI's chat interface as a judge: vLLM, llama.cpp, Ollama, transformers, ...

Deviations from alpaca-eval's judges: text around the list of ranks is passed over, and a token is
``m`` or ``M`` whatever blanks its tokenizer writes with it.
"""

from __future__ import annotations

import math
import os
import re
import socket
import urllib.parse
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.judges.api import ApiJudge

_STYLES = {
    "ranking": "alpaca_eval_gpt4",
    "weighted": "weighted_alpaca_eval_gpt4_turbo",
}
_LIST = re.compile(r"\[.*?\]", re.DOTALL)


class LocalJudge(ApiJudge):
    """Asks ``model`` at ``base_url`` with the prompt of AlpacaEval 1 or 2.

    ``ranking`` is AlpacaEval 1's question, answered by a list of ranks; ``weighted`` is AlpacaEval
    2's, answered by one token whose log-probabilities the endpoint must give (``logprobs``).
    """

    name: ClassVar[str] = "local"

    base_url: str | None = Field(None, description="such as http://127.0.0.1:8000/v1")
    model: str | None = Field(None, description="the model's name at the endpoint")
    key_variable: str | None = Field(None, description="environment variable with a key, if any")
    style: Literal["ranking", "weighted"] = "ranking"
    max_tokens: int | None = Field(None, ge=1, description="of a reply; null: the annotator's")
    temperature: float | None = Field(None, ge=0, description="null: the annotator's")
    top_logprobs: int = Field(5, ge=1, description="style weighted: likeliest tokens looked at")

    def check(self) -> None:
        """Endpoint and model are named, the key is there, and something listens."""
        missing = [key for key in ("base_url", "model") if not getattr(self, key)]
        if missing:
            raise ValueError(
                f"judge=local needs {' and '.join(f'judge.{key}' for key in missing)}: give the "
                "address of an OpenAI-compatible endpoint and the model's name there, such as "
                "judge.base_url=http://127.0.0.1:8000/v1 judge.model=NAME"
            )
        url = urllib.parse.urlsplit(self.endpoint_url())
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(
                f"judge.base_url={self.base_url}: no address of the form http://HOST:PORT/v1"
            )
        if url.username or url.password:  # it would be in every record
            raise ValueError(
                "judge.base_url holds a user name or password; put the key into the environment "
                "and name its variable with judge.key_variable"
            )
        if self.key_variable and not os.environ.get(self.key_variable):
            raise ValueError(
                f"judge.key_variable={self.key_variable}: it is not in the environment; set it, or "
                "judge.key_variable=null for an endpoint without a key"
            )
        super().check()
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        try:
            socket.create_connection((url.hostname, port), timeout=10).close()
        except OSError as error:
            raise ValueError(
                f"judge.base_url={self.base_url}: nothing answers there ({error}); start the "
                "endpoint first"
            ) from error

    def endpoint_url(self) -> str:
        """``base_url``."""
        return self.base_url or ""

    def annotator_name(self) -> str:
        """The annotator of the style."""
        return _STYLES[self.style]

    def key(self) -> str | None:
        """The key from the environment, if one is named."""
        return os.environ.get(self.key_variable) if self.key_variable else None

    def parameters(self, packaged: dict[str, Any]) -> dict[str, Any]:
        """The annotator's, for another model."""
        changed: dict[str, Any] = {"model_name": self.model}
        for name in ("max_tokens", "temperature"):
            if getattr(self, name) is not None:
                changed[name] = getattr(self, name)
        if self.style == "weighted":
            changed["top_logprobs"] = self.top_logprobs
        return {**packaged, **changed}

    def reply(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The list of ranks alone, and tokens without the blanks around them."""
        if self.style == "ranking":
            found = _LIST.search(choice["text"])
            return {**choice, "text": found.group() if found else choice["text"]}
        content = (choice.get("logprobs") or {}).get("content") or []
        first = [{**entry, "top_logprobs": _bare(entry["top_logprobs"])} for entry in content[:1]]
        return {**choice, "logprobs": {"content": first}}


def _bare(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log-probabilities by token without blanks; tokens that become the same are added up."""
    summed: dict[str, float] = {}
    for entry in entries:
        token = str(entry["token"]).strip(" \n\t\u2581\u0120\u010a")
        summed[token] = summed.get(token, 0.0) + math.exp(entry["logprob"])
    return [
        {"token": token, "logprob": math.log(total)} for token, total in summed.items() if total > 0
    ]
