"""Asking in alpaca-eval's place: its prompts as requests, replies as what its parsers read.

Every question is looked for among the kept replies first; the cost is estimated before the first
is asked and counted after each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.judges.client import Client, Endpoint
from evaluation.judges.replies import Replies
from evaluation.judges.spend import SpendError, Spent, estimate

if TYPE_CHECKING:
    from evaluation.judges.api import ApiJudge

log = logging.getLogger(__name__)


class Asking:
    """alpaca-eval's completion function; called once, with all questions of an evaluation."""

    def __init__(self, judge: ApiJudge, notes: dict[str, Any]) -> None:
        self.judge, self.notes = judge, notes

    def __call__(self, prompts: Sequence[str], **parameters: Any) -> dict[str, list[Any]]:
        """Completions in alpaca-eval's form, in the order of ``prompts``.

        Raises:
            SpendError: the limit of spending would be passed, or was.
            JudgeError: the endpoint does not answer, or refuses too many questions.
        """
        judge = self.judge
        bodies = [_body(prompt, parameters) for prompt in prompts]
        kept = Replies(
            Path(judge.cache).expanduser() if judge.cache else None,
            judge.endpoint_url(),
            str(parameters["model_name"]),
        )
        replies = [kept.get(body) for body in bodies]
        asked = [number for number, reply in enumerate(replies) if reply is None]
        refused: dict[int, str] = {}
        spent = Spent(judge.price(), judge.max_spend)
        self._announce(bodies, asked, spent)
        if asked:
            allowed = int(judge.max_unparsable * len(bodies))
            refused = self._ask(bodies, asked, replies, kept, spent, allowed)
        self.notes["cost"] |= {
            "prompt_tokens": spent.prompt_tokens,
            "reply_tokens": spent.reply_tokens,
            "usd": None if spent.dollars is None else round(spent.dollars, 4),
        }
        if refused:
            self.notes["refused"] = {
                "questions": len(refused),
                "e.g.": next(iter(refused.values())),
            }
        choices = [_choice(reply, judge.reply) for reply in replies]
        return {
            "completions": [choice["text"] for choice in choices],
            "completions_all": choices,
            "price_per_example": [0.0] * len(choices),
            "time_per_example": [0.0] * len(choices),
        }

    def _announce(self, bodies: list[dict[str, Any]], asked: list[int], spent: Spent) -> None:
        """Log and note the estimate before the first question; refuse what is too much."""
        prompt, reply = estimate(bodies[number] for number in asked)
        dollars = None if spent.price is None else spent.price.dollars(prompt, reply)
        self.notes["cost"] = {
            "questions": len(bodies),
            "answered_before": len(bodies) - len(asked),
            "estimated_tokens": prompt + reply,
            "estimated_usd": None if dollars is None else round(dollars, 4),
        }
        log.info(
            "judge: %d questions, %d of them answered before; up to %s tokens%s",
            len(bodies), len(bodies) - len(asked), f"{prompt + reply:,}",
            "" if dollars is None else f", about {dollars:.2f} US dollars",
        )  # fmt: skip
        if dollars is not None and spent.limit is not None and dollars > spent.limit:
            raise SpendError(
                f"{len(asked)} questions to the judge would cost about {dollars:.2f} US dollars "
                f"and judge.max_spend is {spent.limit:.2f}: raise it, or judge fewer items "
                "(suite.limit). Nothing was asked"
            )

    def _ask(
        self,
        bodies: list[dict[str, Any]],
        asked: list[int],
        replies: list[dict[str, Any] | None],
        kept: Replies,
        spent: Spent,
        allowed: int,
    ) -> dict[int, str]:
        from tqdm import tqdm

        judge = self.judge
        endpoint = Endpoint(
            judge.endpoint_url(),
            judge.key(),
            judge.concurrency,
            judge.attempts,
            judge.timeout,
            judge.max_wait,
        )
        with tqdm(total=len(asked), desc="judge", unit="verdict") as bar:

            def on_reply(number: int, reply: dict[str, Any]) -> None:
                place = asked[number]
                short = {"choices": reply["choices"][:1], "usage": reply.get("usage")}
                replies[place] = short
                kept.put(bodies[place], short)
                bar.update()
                spent.add(reply.get("usage"))

            return Client(endpoint).ask([bodies[place] for place in asked], on_reply, allowed)


def _body(prompt: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The request; alpaca-eval writes prompts as ChatML and always sends ``top_p`` 1."""
    from alpaca_eval.utils import prompt_to_chatml

    rest = {k: v for k, v in parameters.items() if k not in ("model_name", "requires_chatml")}
    return {
        "model": parameters["model_name"],
        "messages": prompt_to_chatml(prompt.strip()),
        "top_p": 1.0,
        **rest,
    }


def reader(name: str, notes: dict[str, Any]) -> Callable[..., list[Any]]:
    """alpaca-eval's parser of that name, counting the replies that it cannot read."""
    from alpaca_eval import completion_parsers

    parser = getattr(completion_parsers, name)

    def read(completion: Any, **settings: Any) -> list[Any]:
        try:
            found = list(parser(completion, **settings))
        except Exception:  # whatever a model may write
            found = [float("nan")]
        text = completion.get("text", "") if isinstance(completion, dict) else completion
        if text and any(value is None or value != value for value in found):
            notes.setdefault("unreadable", {"replies": 0, "e.g.": str(text)[:300]})["replies"] += 1
        return found

    return read


def _choice(
    reply: dict[str, Any] | None, form: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """The first choice with its text; an empty text is what no parser reads."""
    if reply is None:
        return {"text": ""}
    choice = dict(reply["choices"][0])
    message = choice.get("message") or {}
    calls = message.get("tool_calls") or []
    text = calls[0]["function"]["arguments"] if calls else message.get("content")
    return form({**choice, "text": text if isinstance(text, str) else ""})
