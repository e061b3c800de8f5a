"""The checker: a trusted process that runs the benchmark's test on a candidate's answers.

Standard library only.
"""

from __future__ import annotations

import builtins
import os
import random
from collections.abc import Callable
from typing import Any

import plain
from limits import Limits, limit, shield

MAX_MESSAGE = 4 << 20  # bytes of one answer


class ProgramEnded(BaseException):
    """No answer came, or one that cannot be read: no test may survive that."""


def check(
    head: dict[str, Any],
    read_test: Callable[[], dict[str, Any] | None],
    handles: tuple[int, int, int],
    secret: str,
    limits: Limits,
) -> None:
    """Run the test on the candidate; write the secret if nothing was raised.

    Args:
        head: {code, entry_point}, handed on to the candidate.
        read_test: gives {prompt, test}.
        handles: pipe ends: questions to the candidate, answers from it, the report.
        secret: what the report says of a right program.
        limits: put on the checker too.

    The report has the lines "ready" (the test was taken), "started" and the candidate's guards, and
    the verdict.
    """
    asks, told, report = handles
    test = read_test()
    if test is None:
        return
    _tell(report, "ready")
    shield()
    limit(limits)
    conversation = _Conversation(asks, told)
    try:
        _tell(report, "started " + " ".join(conversation.receive()))
    except BaseException:
        return _tell(report, "not started")
    try:
        conversation.send({"code": head["code"], "entry_point": head["entry_point"]})
        conversation.receive()
        namespace: dict[str, Any] = {"__name__": "test"}
        random.seed(0)  # some tests draw their cases
        exec(test["prompt"], namespace)
        exec(test["test"], namespace)
        namespace[head["entry_point"]] = conversation.call
        namespace["check"](conversation.call)
        word = conversation.ended or secret
    except AssertionError:
        word = conversation.ended or "wrong answer"
    except ProgramEnded as error:
        word = str(error)
    except BaseException as error:
        word = conversation.ended or f"{type(error).__name__}: {error}"
    _tell(report, word.replace("\n", " ")[:300])


class _Conversation:
    """Questions and answers; ``ended`` says why there are no more, if so."""

    def __init__(self, asks: int, told: int) -> None:
        self._asks = asks
        self._answers = os.fdopen(told, "rb")
        self.ended = ""

    def call(self, *arguments: Any, **named: Any) -> Any:
        """What the test calls as ``candidate``."""
        self.send((arguments, named))
        return self.receive()

    def send(self, value: Any) -> None:
        data = plain.dumps(value)
        try:
            while data:
                data = data[os.write(self._asks, data) :]
        except BrokenPipeError:
            self._end("the program ended")

    def receive(self) -> Any:
        line = self._answers.readline(MAX_MESSAGE)
        if not line.endswith(b"\n"):
            self._end("the program ended" if not line else "an answer is too long or cut off")
        try:
            message = plain.loads(line)
            failed, value = "error" in message, message.get("value")
        except Exception as error:  # written by the program past us
            self._end(f"an answer that cannot be read: {type(error).__name__}")
        if failed:
            kind = getattr(builtins, str(message["error"]), None)
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                kind = RuntimeError
            try:
                error = kind(message["text"])
            except TypeError:  # UnicodeDecodeError and its like want more
                error = RuntimeError(message["text"])
            raise error
        return value

    def _end(self, reason: str) -> Any:
        self.ended = self.ended or reason
        raise ProgramEnded(self.ended)


def _tell(report: int, word: str) -> None:
    # Written in one go, so that no half of it can be read.
    os.write(report, word.encode("utf-8", "replace") + b"\n")
