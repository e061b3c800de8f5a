"""The pipe from the harness to one worker process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Worker and candidate are no modules of this package: they run alone, without its dependencies.
_WORKER = Path(__file__).with_name("worker.py")
_START_SECONDS = 120.0
_END_SECONDS = 30.0


class WorkerLost(RuntimeError):
    """The worker ended or is silent; a new one may do better."""


class NotStarted(WorkerLost):
    """A program could not be brought to start, whatever it is."""


class Worker:
    """A worker process.

    Args:
        backends: the isolation it may use, in the order of preference.

    Attributes:
        backend: the one it uses; ``None`` if none of them works.
        guards: of the kernel, in force for programs.
        reasons: why those before ``backend`` do not work.

    Raises:
        WorkerLost: it does not start.
    """

    def __init__(self, backends: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), self._folder.name, *backends],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            cwd=self._folder.name,
            start_new_session=True,
            bufsize=0,
        )
        try:
            hello = self._read(_START_SECONDS * max(1, len(backends)))
        except WorkerLost:
            self.close()
            raise
        self.backend: str | None = hello["backend"]
        self.guards: list[str] = hello["guards"]
        self.reasons: dict[str, str] = hello["reasons"]

    def judge(self, head: dict[str, Any], test: dict[str, str], longest: float) -> dict[str, Any]:
        """Run one program: {passed, reason}.

        Args:
            head: {code, entry_point, timeout, memory_mb}.
            test: {prompt, test}; goes apart, so that only the checker reads it.
            longest: seconds to wait.

        Raises:
            WorkerLost: no answer came.
            NotStarted: the program could not be started.
        """
        try:
            self._write(_frame(head) + _frame(test))
        except OSError as error:
            raise WorkerLost("the sandbox's worker has ended") from error
        answer = self._read(longest)
        if "error" in answer:
            raise NotStarted(answer["error"])
        return answer

    def close(self) -> None:
        """End the worker, which ends what it started."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._folder.cleanup()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._process.stdin.fileno(), view) :]

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([handle], [], [], wait)[0]:
                raise WorkerLost("the sandbox's worker is silent")
            part = os.read(handle, 65536)
            if not part:
                raise WorkerLost("the sandbox's worker has ended")
            line += part
        return json.loads(line)


def _frame(data: dict[str, Any]) -> bytes:
    body = json.dumps(data).encode()
    return len(body).to_bytes(8, "big") + body
