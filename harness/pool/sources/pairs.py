"""A prompt and an answer a record: FLAN, OpenOrca, science, Aya, OpenMathInstruct, ...

Deviation from the paper's scripts: an empty system prompt (OpenOrca) is no turn. It changes no
count: with and without it, the same rows are duplicates.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.chat import Message
from harness.pool.sources.base import Form, Record, first_text, text, turn


class Pairs(Form):
    """Two fields, or three with a system prompt.

    Attributes:
        prompt: the field, or several of which the first that is not blank counts.
        answer: the field.
        system: the field, if there is one; a blank one is left out.
    """

    form: Literal["pairs"] = "pairs"
    prompt: list[str]
    answer: str
    system: str | None = None

    def conversations(self, record: Record) -> list[list[Message]]:
        """One conversation."""
        messages = [
            turn("user", self._prompt(record)),
            turn("assistant", text(record, self.answer)),
        ]
        system = record.get(self.system) if self.system else None
        if isinstance(system, str) and system.strip():
            messages.insert(0, turn("system", system))
        return [messages]

    def _prompt(self, record: Record) -> str:
        return first_text(record, self.prompt)


class Flan(Pairs):
    """FLAN's ``inputs`` and ``targets``: a prompt ends with a colon or with the end of a line."""

    form: Literal["flan"] = "flan"  # type: ignore[assignment]
    prompt: list[str] = Field(default=["inputs"])
    answer: str = "targets"

    def _prompt(self, record: Record) -> str:
        prompt = super()._prompt(record)
        closed = prompt.endswith("\n") or prompt.rstrip().endswith(":")
        return prompt if closed else prompt + "\n"
