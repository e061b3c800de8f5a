"""Asks an endpoint of OpenAI's chat interface: many questions, few at a time, with patience.

A status of 408, 409, 425, 429 or 5xx, a broken connection and a reply that is no chat completion
are tried again, after ``Retry-After`` where the endpoint says it and else after 1, 2, 4, ...
seconds; a 429 makes all threads wait. Status 400, 413 and 422 refuse one question (too long,
filtered) and leave it without a verdict. Any other status ends the evaluation.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

_AGAIN = (408, 409, 425, 429)
_REFUSED = (400, 413, 422)


class JudgeError(RuntimeError):
    """The judge cannot be asked any further; what it answered so far is kept."""


class Refused(Exception):
    """The endpoint does not answer this one question."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Attributes:
        url: the interface's base, such as https://host/v1.
        key: sent as a bearer token, if any; never logged or stored.
        concurrency: most questions at the same time.
        attempts: most tries of one question.
        timeout: seconds to wait for one reply.
        max_wait: most seconds between two tries; a longer ``Retry-After`` ends the evaluation.
    """

    url: str
    key: str | None = None
    concurrency: int = 4
    attempts: int = 8
    timeout: float = 120.0
    max_wait: float = 120.0


class Client:
    """Threads that ask one endpoint and wait together."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._resume = 0.0  # no thread asks before this time
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def ask(
        self,
        bodies: Sequence[dict[str, Any]],
        on_reply: Callable[[int, dict[str, Any]], None],
        most_refused: int,
    ) -> dict[int, str]:
        """Ask all; ``on_reply`` gets a number and the reply, in the thread that asked.

        Returns:
            why, by number, for questions that stayed without a reply: ``most_refused`` at most.

        Raises:
            JudgeError: the endpoint does not answer; also whatever ``on_reply`` raises. Questions
                that were not begun by then are not asked.
        """
        refused: dict[int, str] = {}

        def one(number: int) -> None:
            if self._stop.is_set():
                return
            try:
                on_reply(number, self._one(bodies[number]))
            except Refused as error:
                refused[number] = str(error)
                if len(refused) > most_refused:
                    self._stop.set()
                    raise JudgeError(
                        f"{len(refused)} of {len(bodies)} questions are refused, more than "
                        f"judge.max_unparsable allows; the last one: {error}"
                    ) from error
            except _Stopped:
                pass
            except BaseException:
                self._stop.set()  # at once: this thread would begin the next question
                raise

        with ThreadPoolExecutor(max_workers=self.endpoint.concurrency) as pool:
            futures = [pool.submit(one, number) for number in range(len(bodies))]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return refused

    def _one(self, body: dict[str, Any]) -> dict[str, Any]:
        problem = ""
        malformed = False
        for attempt in range(self.endpoint.attempts):
            self._wait()
            wait: float | None = None
            try:
                return self._post(body)
            except urllib.error.HTTPError as error:
                problem, malformed = self._status(error), False
                wait = _retry_after(error.headers.get("Retry-After"))
                if error.code == 429:
                    self._hold(self._pause(attempt, wait))
                    continue
            except _Malformed as error:
                problem, malformed = str(error), True
            except (OSError, http.client.HTTPException) as error:  # timeouts are OSErrors
                problem, malformed = f"{self.endpoint.url}: {error or type(error).__name__}", False
            if attempt + 1 < self.endpoint.attempts:
                self._stop.wait(self._pause(attempt, wait))
        if malformed:
            raise Refused(problem)
        raise JudgeError(f"the judge gave up after {self.endpoint.attempts} tries: {problem}")

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "User-Agent": "winnow"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        request = urllib.request.Request(
            f"{self.endpoint.url.rstrip('/')}/chat/completions",
            data=json.dumps(body).encode(),
            headers=headers,
        )
        with urllib.request.urlopen(request, timeout=self.endpoint.timeout) as response:
            data = response.read()
        try:
            reply = json.loads(data)
            message = reply["choices"][0]["message"]
            if not isinstance(message, dict):
                raise TypeError("message")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _Malformed(f"no chat completion: {data[:200]!r}") from error
        return dict(reply)

    def _status(self, error: urllib.error.HTTPError) -> str:
        """The problem in words, if it is worth another try; raises if it is not."""
        try:
            text = error.read(2000).decode("utf-8", "replace").strip()
        except OSError:
            text = ""
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "***")
        problem = f"{self.endpoint.url} answered {error.code} {error.reason}: {text[:300]}"
        if error.code in _AGAIN or error.code >= 500:
            if error.code == 429 and "insufficient_quota" in text:  # no waiting helps
                raise JudgeError(problem) from None
            return problem
        if error.code in _REFUSED:
            raise Refused(problem) from None
        raise JudgeError(problem) from None

    def _pause(self, attempt: int, asked: float | None) -> float:
        if asked is None:
            return float(min(2.0**attempt, self.endpoint.max_wait))
        if asked > self.endpoint.max_wait:
            raise JudgeError(
                f"{self.endpoint.url} asks to wait {asked:.0f} s and judge.max_wait is "
                f"{self.endpoint.max_wait:.0f} s; raise it, or run again later: what was answered "
                "is kept"
            )
        return asked

    def _hold(self, seconds: float) -> None:
        with self._lock:
            self._resume = max(self._resume, time.monotonic() + seconds)

    def _wait(self) -> None:
        while not self._stop.is_set() and (left := self._resume - time.monotonic()) > 0:
            self._stop.wait(left)
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """Another thread's question has ended it all."""


class _Malformed(Exception):
    """A reply that is no chat completion."""


def _retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
