"""OpenAssistant's trees: at every turn the reply of the best quality (paper C.1)."""

from __future__ import annotations

from typing import Any, Literal

from harness.chat import Message
from harness.pool.sources.base import Form, Record, turn
from harness.rows import BadRow

ROLES = {"prompter": "user", "assistant": "assistant"}


class Trees(Form):
    """A tree a record: ``prompt`` with its ``replies``, those with theirs.

    One conversation a tree: from the root, the reply whose reviewers gave the highest quality
    (0 where none is given; of equals the first), until an assistant's turn was never replied to. A
    path that ends otherwise is none: with a user's turn, or where all replies were deleted.
    """

    form: Literal["trees"] = "trees"

    def conversations(self, record: Record) -> list[list[Message]]:
        """One conversation, or none."""
        node: Any = record.get("prompt")
        if not isinstance(node, dict):
            raise BadRow("the field prompt is no message")
        messages: list[Message] = []
        while node is not None and not node.get("deleted"):
            if node.get("role") not in ROLES or not isinstance(node.get("text"), str):
                raise BadRow("a message has no text or an unknown role")
            messages.append(turn(ROLES[node["role"]], node["text"]))
            replies = [reply for reply in node.get("replies") or [] if not reply.get("deleted")]
            if not replies:
                complete = node["role"] == "assistant" and not node.get("replies")
                return [messages] if complete else []
            node = max(replies, key=_quality)
        return []


def _quality(reply: dict[str, Any]) -> float:
    return float(((reply.get("labels") or {}).get("quality") or {}).get("value") or 0.0)
