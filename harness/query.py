"""A query: one labelled example of what a selection is made for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """One example of a target's query set.

    Attributes:
        id: unique within its task.
        task: the benchmark (or outside set) that it belongs to.
        prompt: the user's turn.
        prefix: what the assistant's turn opens with ("The answer is:"), or "".
        label: the answer that follows the prefix, without a leading space; "" if none is known.
    """

    id: str
    task: str
    prompt: str
    label: str
    prefix: str = ""

    @property
    def answer(self) -> str:
        """The assistant's whole turn: prefix and label, joined as a model would write them."""
        if not self.prefix:
            return self.label
        glue = "" if self.prefix[-1].isspace() or self.label[:1].isspace() else " "
        return self.prefix + glue + self.label

    @property
    def messages(self) -> list[dict[str, str]]:
        """The query as a conversation, in the form of a pool row; without a label, the prompt."""
        turns = [{"role": "user", "content": self.prompt}]
        if self.label:
            turns.append({"role": "assistant", "content": self.answer})
        return turns
