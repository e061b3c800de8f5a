"""Whole conversations: the Tulu 3 mixture, SciRIFF, WildChat, WizardLM, LIMA."""

from __future__ import annotations

from typing import Literal

from harness.chat import Message
from harness.pool.sources.base import Form, Record, turn
from harness.rows import ALIASES, BadRow


class Turns(Form):
    """A list of turns with their roles.

    Attributes:
        turns: the field of the list.
        role, content: the fields of a turn; ShareGPT's words for the roles are understood.
    """

    form: Literal["turns"] = "turns"
    turns: str = "messages"
    role: str = "role"
    content: str = "content"

    def conversations(self, record: Record) -> list[list[Message]]:
        """One conversation."""
        listed = record.get(self.turns)
        if not isinstance(listed, list) or not listed:
            raise BadRow(f"the field {self.turns} is no list of turns")
        messages = []
        for position, said in enumerate(listed):
            role, content = said.get(self.role), said.get(self.content)
            if not isinstance(role, str) or not isinstance(content, str):
                raise BadRow(f"turn {position} has no {self.role} or no {self.content}")
            messages.append(turn(ALIASES.get(role, role), content))
        return [messages]


class Alternating(Form):
    """LIMA: a list of texts, the user's first; a last one that nobody answers is cut off."""

    form: Literal["alternating"] = "alternating"
    turns: str = "conversations"

    def conversations(self, record: Record) -> list[list[Message]]:
        """One conversation."""
        texts = record.get(self.turns)
        if not isinstance(texts, list) or not all(isinstance(said, str) for said in texts):
            raise BadRow(f"the field {self.turns} is no list of texts")
        texts = texts[: len(texts) // 2 * 2]
        return [[turn(("user", "assistant")[i % 2], said) for i, said in enumerate(texts)]]
