"""What asking a judge will cost, estimated before the first question, and what it has cost.

A prompt is counted as one token per four bytes of UTF-8. By the prices recorded with AlpacaEval's
own verdicts (30 models) a token of GPT-4's has 4.6 to 4.9 bytes of these prompts, so the estimate
of prompts is some 15 to 22 % above what was paid there; other scripts and tokenizers can take more.
A reply is counted as long as it may become.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

BYTES_PER_TOKEN = 4


class SpendError(RuntimeError):
    """Asking would cost, or has cost, more than was allowed."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, of prompts and of replies."""

    prompt: float
    reply: float

    def dollars(self, prompt_tokens: int, reply_tokens: int) -> float:
        """The price of so many tokens."""
        return (prompt_tokens * self.prompt + reply_tokens * self.reply) / 1e6


def estimate(bodies: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Tokens of prompts and of replies that these requests may take."""
    prompt = reply = 0
    for body in bodies:
        size = sum(len(m["content"].encode("utf-8", "replace")) for m in body["messages"])
        prompt += -(-size // BYTES_PER_TOKEN)
        reply += int(body.get("max_tokens") or 0)
    return prompt, reply


@dataclass
class Spent:
    """Tokens used so far, as the endpoint reports them; safe for threads."""

    price: Price | None
    limit: float | None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dollars(self) -> float | None:
        """What was spent; None without a price."""
        if self.price is None:
            return None
        return self.price.dollars(self.prompt_tokens, self.reply_tokens)

    def add(self, usage: Any) -> None:
        """Count one reply's ``usage``.

        Raises:
            SpendError: the limit is passed.
        """
        usage = usage if isinstance(usage, dict) else {}
        with self._lock:
            self.prompt_tokens += _count(usage.get("prompt_tokens"))
            self.reply_tokens += _count(usage.get("completion_tokens"))
            dollars = self.dollars
        if self.limit is not None and dollars is not None and dollars > self.limit:
            raise SpendError(
                f"the judge has cost {dollars:.2f} US dollars so far and judge.max_spend is "
                f"{self.limit:.2f}; what it answered is kept, so a higher limit goes on from here"
            )


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
