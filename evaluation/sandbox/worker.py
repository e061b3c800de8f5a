"""The sandbox's worker: starts candidate and checker of one program after another.

Run as ``python -I -S worker.py FOLDER NAMESPACES`` with frames (8 bytes of length, JSON) on
standard input: a head {code, entry_point, timeout, memory_mb} and then, read by the checker alone,
{prompt, test}. Answers are JSON lines {passed, reason}. Standard library only.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import random
import select
import signal
import sys
import time
import warnings
from types import CodeType
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import isolation
import plain

# Largest message from a candidate, in bytes.
MAX_MESSAGE = 4 << 20

# What solutions import most, loaded once instead of in every child.
PRELOADED = (
    *("bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "hashlib"),
    *("heapq", "itertools", "math", "operator", "re", "statistics", "string", "typing"),
)


def main(root: str, namespaces: bool) -> None:
    """Say which backend works here, then serve until standard input ends."""
    isolation.adopt_orphans()
    warnings.simplefilter("ignore")  # of code that is parsed
    for name in PRELOADED:
        importlib.import_module(name)
    reason = isolation.probe(root) if namespaces else "switched off"
    backend = "rlimits" if reason else "namespaces"
    _answer({"backend": backend, "reason": reason})
    while True:
        head = _read_frame()
        if head is None:
            return
        passed, reason = judge(head, root, backend == "namespaces")
        _answer({"passed": passed, "reason": reason})


def judge(head: dict[str, Any], root: str, namespaces: bool) -> tuple[bool, str]:
    """Run one program; (passed, reason)."""
    try:
        # Parsing executes nothing, and what does not parse needs no process.
        code = compile(head["code"], "candidate.py", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        _read_frame()
        return False, f"{type(error).__name__}: {error}"
    deadline = time.monotonic() + head["timeout"]
    asked, asks = os.pipe()  # checker to candidate
    told, tells = os.pipe()  # candidate to checker

    def run_candidate() -> None:
        serve(code, head["entry_point"], asked, tells)

    limits = isolation.Limits(head["timeout"], head["memory_mb"])
    isolation.start(run_candidate, root, limits, keep=(asked, tells), namespaces=namespaces)
    os.close(asked)
    os.close(tells)
    # Both made after the candidate was started, which therefore has neither.
    verdict, report = os.pipe()
    secret = os.urandom(16).hex()
    if os.fork() == 0:
        try:
            os.close(verdict)
            check(head["entry_point"], asks, told, report, secret, limits)
        finally:
            os._exit(0)
    for handle in (asks, told, report):
        os.close(handle)
    try:
        if _read_line(verdict, None) != "ready":
            raise SystemExit("the checker did not take the test")  # the stream is out of step
        word = _read_line(verdict, deadline)
    finally:
        os.close(verdict)
        isolation.kill_children()
    if word == secret:
        return True, ""
    return False, "time is up" if word is None else word or "the checker was ended"


def serve(code: CodeType, entry_point: str, asked: int, tells: int) -> None:
    """The candidate: execute the code, then answer calls until the pipe closes."""
    requests = os.fdopen(asked, "rb")
    namespace: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(code, namespace)
        function = namespace[entry_point]
        _send(tells, {"value": None})
        for line in requests:
            arguments, named = plain.loads(line)
            try:
                answer = {"value": function(*arguments, **named)}
                _send(tells, answer)
            except Exception as error:
                _send(tells, {"error": type(error).__name__, "text": str(error)[:200]})
    except BaseException as error:
        _send(tells, {"error": type(error).__name__, "text": str(error)[:200]})


def check(
    entry_point: str, asks: int, told: int, report: int, secret: str, limits: isolation.Limits
) -> None:
    """The checker: run the test on the candidate; write the secret if nothing was raised."""
    test = _read_frame()
    os.write(report, b"ready\n")
    if test is None:
        return
    isolation.shield()
    isolation.limit(limits)
    answers = os.fdopen(told, "rb")

    def receive() -> Any:
        line = answers.readline(MAX_MESSAGE)
        if not line.endswith(b"\n"):
            raise SystemExit("the program ended" if not line else "an answer is too long")
        message = plain.loads(line)
        if "error" in message:
            kind = getattr(builtins, str(message["error"]), None)
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                kind = RuntimeError
            raise kind(message["text"])
        return message["value"]

    def candidate(*arguments: Any, **named: Any) -> Any:
        try:
            os.write(asks, plain.dumps((arguments, named)))
        except BrokenPipeError:
            raise SystemExit("the program ended") from None
        return receive()

    try:
        receive()
        namespace: dict[str, Any] = {"__name__": "test"}
        random.seed(0)  # some tests draw their cases
        exec(test["prompt"], namespace)
        exec(test["test"], namespace)
        namespace[entry_point] = candidate
        namespace["check"](candidate)
        word = secret
    except AssertionError:
        word = "wrong answer"
    except SystemExit as error:
        word = str(error)
    except BaseException as error:
        word = f"{type(error).__name__}: {error}"
    # Written in one go, so that no half of it can be read.
    os.write(report, word.replace("\n", " ")[:300].encode("utf-8", "replace") + b"\n")


def _send(handle: int, message: dict[str, Any]) -> None:
    data = plain.dumps(message)
    while data:
        data = data[os.write(handle, data) :]


def _answer(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _read_frame() -> dict[str, Any] | None:
    size = _read_exactly(8)
    body = _read_exactly(int.from_bytes(size, "big")) if size else b""
    return json.loads(body) if body else None


def _read_exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            return b""
        data += part
    return data


def _read_line(handle: int, deadline: float | None) -> str | None:
    """A line, "" at the pipe's end, ``None`` when time is up."""
    line = b""
    while True:
        wait = None if deadline is None else deadline - time.monotonic()
        if wait is not None and (wait <= 0 or not select.select([handle], [], [], wait)[0]):
            return None
        # Byte by byte where two lines may come at once.
        part = os.read(handle, 1)
        if not part or part == b"\n":
            return line.decode("utf-8", "replace")
        line += part


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1], sys.argv[2] == "1")
