"""One row of a pool: the forms in which it may come, and the one form in which we keep it."""

from __future__ import annotations

from typing import Any

ROLES = ("system", "user", "assistant")
# ShareGPT's words for the roles.
ALIASES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}


class BadRow(ValueError):
    """A row that cannot be used; the message is the reason given in the rejects file."""


def parse_row(raw: Any, *, default_dataset: str, where: str) -> dict[str, Any]:
    """A raw row as ``{"id", "dataset", "messages"}``.

    Understands ``messages`` [{role, content}], ShareGPT's ``conversations`` [{from, value}],
    ``prompt`` + ``completion`` or ``response``, and Alpaca's ``instruction``, ``input``,
    ``output``. A missing id becomes "file:line", a missing dataset the file's stem.

    Raises:
        BadRow: the row has none of these forms, a blank or non-text turn, an unknown role, or no
            assistant turn.
    """
    if isinstance(raw, BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise BadRow(f"a row must be an object, this is a {type(raw).__name__}")
    messages = [_message(turn, index) for index, turn in enumerate(_turns(raw))]
    if not any(message["role"] == "assistant" for message in messages):
        raise BadRow("no assistant turn")
    return {
        "id": str(raw["id"]) if raw.get("id") not in (None, "") else where,
        "dataset": str(raw.get("dataset") or raw.get("source") or default_dataset),
        "messages": messages,
    }


def _turns(raw: dict[str, Any]) -> list[Any]:
    if raw.get("messages") is not None or raw.get("conversations") is not None:
        turns = raw.get("messages")
        turns = turns if turns is not None else raw["conversations"]
        if not isinstance(turns, list) or not turns:
            raise BadRow("messages must be a list with at least one turn")
        return turns
    if "prompt" in raw and ("completion" in raw or "response" in raw):
        answer = raw["completion"] if "completion" in raw else raw["response"]
        if isinstance(raw["prompt"], list) and isinstance(answer, list):  # as TRL has it
            return raw["prompt"] + answer
        return [_turn("user", raw["prompt"]), _turn("assistant", answer)]
    if "instruction" in raw and "output" in raw:
        # Instruction and input are joined by a blank line.
        parts = [raw["instruction"], raw.get("input")]
        prompt = "\n\n".join(part for part in parts if isinstance(part, str) and part.strip())
        return [_turn("user", prompt), _turn("assistant", raw["output"])]
    raise BadRow(
        "no messages, conversations, prompt + completion, or instruction + output; "
        f"the fields are {', '.join(sorted(map(str, raw))) or 'none'}"
    )


def _turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _message(turn: Any, index: int) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise BadRow(f"turn {index} must be an object, it is a {type(turn).__name__}")
    role = turn.get("role", turn.get("from"))
    role = ALIASES.get(role, role) if isinstance(role, str) else role
    content = turn.get("content", turn.get("value"))
    if role not in ROLES:
        raise BadRow(f"turn {index} has the role {role!r}; roles are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise BadRow(f"turn {index} ({role}) has no text")
    if not content.strip():
        raise BadRow(f"turn {index} ({role}) is blank")
    try:
        content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(f"turn {index} ({role}) holds half a surrogate pair, not text") from error
    return {"role": role, "content": content}
