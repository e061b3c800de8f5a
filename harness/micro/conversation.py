"""The one shape in which every conversation of the pool is made."""

Message = dict[str, str]
Conversation = list[Message]


def single_turn(user: str, assistant: str) -> Conversation:
    """Return a conversation of one question and one answer."""
    return dialogue([user, assistant])


def dialogue(turns: list[str]) -> Conversation:
    """Return a conversation whose turns alternate, the user first."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
