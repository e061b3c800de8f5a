"""The sandbox's worker: starts candidate and checker of one program after another.

Run as ``python -I -S worker.py FOLDER BACKEND...``, the backends in the order of preference, with
frames (8 bytes of length, JSON) on standard input: a head {code, entry_point, timeout, memory_mb}
and then, read by the checker alone, {prompt, test}. Answers are JSON lines: first {backend, guards,
reasons}, then {passed, reason} of each program. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import warnings
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import backends
import bubblewrap
import checker
from limits import Limits, adopt_orphans, shield
from watch import Watch

MAX_CODE = 1 << 20  # characters of a program
START_SECONDS = 60.0  # for a candidate to start, on a busy machine too

# What solutions import most, loaded once instead of in every copy; as root the library may lie
# where only root can read, and the backend "rlimits" then has these alone.
PRELOADED = (
    *("array", "base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy"),
    *("ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc"),
    *("hashlib", "heapq", "inspect", "io", "itertools", "json", "math", "mmap", "numbers"),
    *("operator", "pickle", "queue", "random", "re", "resource", "secrets", "socket"),
    *("statistics", "string", "struct", "subprocess", "textwrap", "threading", "traceback"),
    *("typing", "unicodedata", "zlib"),
)

PROBE = {
    "code": "def f(x):\n    return x\n",
    "entry_point": "f",
    "timeout": 30.0,
    "memory_mb": 1024,
}
PROBE_TEST = {"prompt": "", "test": "def check(candidate):\n    assert candidate(1) == 1\n"}
# Not among those above: a shared library must be found.
PROBE_IMPORT = "import bz2\n"


class NotStarted(RuntimeError):
    """The candidate did not come up, whatever its program is."""


def main(root: str, wanted: list[str]) -> None:
    """Say which backend works here, then serve until standard input ends."""
    adopt_orphans()
    shield()
    warnings.simplefilter("ignore")
    for name in PRELOADED:
        importlib.import_module(name)
    backend, hello = choose(root, wanted)
    _answer(hello)
    while backend is not None:
        head = _read_frame()
        if head is None:
            return
        try:
            passed, reason, _ = judge(head, _read_frame, backend)
        except NotStarted as error:
            _answer({"error": str(error)})
            return
        _answer({"passed": passed, "reason": reason})


def choose(root: str, wanted: list[str]) -> tuple[backends.Backend | None, dict[str, Any]]:
    """The first backend that works, and what to tell the parent."""
    reasons: dict[str, str] = {}
    for name in wanted:
        backend = backends.BACKENDS[name](root)
        reason = backends.platform_reason()
        if name == "bubblewrap" and not reason and not bubblewrap.installed():
            reason = "bwrap is not installed"
        if not reason:
            try:
                code = (PROBE_IMPORT if backend.reads_library else "") + PROBE["code"]
                passed, reason, guards = judge({**PROBE, "code": code}, lambda: PROBE_TEST, backend)
            except (NotStarted, OSError) as error:
                passed, reason = False, str(error)
            if passed:
                return backend, {"backend": name, "guards": guards, "reasons": reasons}
        reasons[name] = reason
    return None, {"backend": None, "guards": [], "reasons": reasons}


def judge(
    head: dict[str, Any], read_test: Any, backend: backends.Backend
) -> tuple[bool, str, list[str]]:
    """Run one program: passed, reason, the kernel's guards.

    Raises:
        NotStarted: the candidate did not come up.
    """
    if len(head["code"]) > MAX_CODE:
        read_test()
        return False, "the program is too long", []
    asked, asks = os.pipe()  # checker to candidate
    told, tells = os.pipe()  # candidate to checker
    limits = Limits(head["timeout"], head["memory_mb"])
    backend.start(asked, tells, limits)
    os.close(asked)
    os.close(tells)
    # Both made after the candidate was started, which therefore has neither.
    verdict, report = os.pipe()
    secret = os.urandom(16).hex()
    if os.fork() == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(verdict)
            checker.check(head, read_test, (asks, told, report), secret, limits)
        finally:
            os._exit(0)
    for handle in (asks, told, report):
        os.close(handle)
    try:
        if _read_line(verdict) != "ready":
            raise SystemExit("the checker did not take the test")  # the stream is out of step
        started = _read_line(verdict, time.monotonic() + START_SECONDS)
        if started is None or not started.startswith("started"):
            raise NotStarted(f"{backend.name}: a candidate does not start")
        reason = _watch(verdict, Watch(limits.timeout, limits.memory_mb))
    finally:
        os.close(verdict)
        backends.kill_children()
    return reason == secret, "" if reason == secret else reason, started.split()[1:]


def _watch(verdict: int, watch: Watch) -> str:
    """The checker's last word, or which limit was exceeded before it came."""
    while not select.select([verdict], [], [], watch.next_look())[0]:
        reason = watch.verdict()
        if reason:
            return reason
    return _read_line(verdict) or "the checker was ended"


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


def _read_line(handle: int, deadline: float | None = None) -> str | None:
    """A line, "" at the pipe's end, ``None`` when time is up."""
    line = b""
    while True:
        wait = None if deadline is None else deadline - time.monotonic()
        if wait is not None and (wait <= 0 or not select.select([handle], [], [], wait)[0]):
            return None
        # Byte by byte, since two lines may come at once.
        part = os.read(handle, 1)
        if not part or part == b"\n":
            return line.decode("utf-8", "replace")
        line += part


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        main(sys.argv[1], sys.argv[2:])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        backends.kill_children()
