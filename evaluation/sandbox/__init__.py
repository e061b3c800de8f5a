"""Running functions that a model wrote: who is trusted with what, and what is not covered.

Three processes take part in every run of a program (see ``worker.py``):

- the *candidate* executes the model's code in namespaces of its own (user, mount, PID, network,
  IPC, host name) with a read-only view of the standard library as its only files, an empty
  in-memory folder to write in, no capabilities, and limits on time, memory, processes, open files
  and file size. It is told arguments and answers with values, as plain data; it never holds the
  test or the secret;
- the *checker* executes the benchmark's own test outside, calling the candidate for each value.
  Behind the last assertion it writes a fresh secret into a pipe that the candidate does not have;
- the *worker* starts both, reads the secret, kills whatever is left and goes on to the next.

So exiting early, printing a marker, replacing ``assert``'s comparison by an object that is equal to
everything, or looking for the test in memory do not give a pass.

Where the kernel allows no namespaces the limits alone remain, which ``Sandbox.backend`` says and a
warning repeats: files that the user can read, and the network, are then within the program's reach.

Not covered in any case: errors of the kernel; timing channels; load on the machine within the
limits; benchmarks whose test is itself hostile (it runs with limits but outside the namespaces);
functions whose arguments or values are not plain data (numbers, text, bytes and containers of
them). A program's prints go nowhere, and only the standard library can be imported.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Program:
    """A model's code, and what decides whether it is right.

    Attributes:
        code: source that defines ``entry_point``.
        prompt: trusted source with helpers that the test may use, a stub of ``entry_point`` too.
        test: trusted source that defines ``check(candidate)``, which raises if an answer is wrong.
        entry_point: the function's name.
    """

    code: str
    prompt: str
    test: str
    entry_point: str


@dataclass(frozen=True)
class Verdict:
    """Whether a program passed; if not, ``reason`` says why in a few words."""

    passed: bool
    reason: str = ""


class SandboxError(RuntimeError):
    """The sandbox itself does not work here."""


class Sandbox:
    """Runs programs in parallel.

    Args:
        timeout: seconds of wall time (and about as much CPU time) for one program.
        memory_mb: address space of one process of a program.
        workers: programs at a time; default: the cores this process may use.
        namespaces: False to do without them, as where the kernel allows none.

    Attributes:
        backend: "namespaces" or "rlimits", known after the first program.
    """

    def __init__(
        self,
        *,
        timeout: float = 3.0,
        memory_mb: int = 1024,
        workers: int | None = None,
        namespaces: bool = True,
    ) -> None:
        self.timeout = timeout
        self.memory_mb = memory_mb
        self.workers = workers or len(os.sched_getaffinity(0))
        self.namespaces = namespaces
        self.backend = "not used"

    def run(self, programs: Sequence[Program]) -> list[Verdict]:
        """The verdict on each program; equal programs run once.

        Raises:
            SandboxError: no worker can be started.
        """
        verdicts: dict[Program, Verdict] = {}
        todo: queue.SimpleQueue[Program] = queue.SimpleQueue()
        different = dict.fromkeys(programs)
        for program in different:
            todo.put(program)
        errors: list[BaseException] = []

        def work() -> None:
            worker: _Worker | None = None
            try:
                while not errors:
                    try:
                        program = todo.get_nowait()
                    except queue.Empty:
                        return
                    worker = worker or _Worker(self.namespaces)
                    self.backend = worker.backend
                    verdict = worker.judge(program, self.timeout, self.memory_mb)
                    if verdict is None:  # the worker is lost; the next program gets a new one
                        verdict = Verdict(False, "the sandbox worker died")
                        worker.close()
                        worker = None
                    verdicts[program] = verdict
            except BaseException as error:
                errors.append(error)
            finally:
                if worker is not None:
                    worker.close()

        count = min(self.workers, len(different))
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [verdicts[program] for program in programs]


class _Worker:
    """The pipe to one worker process."""

    def __init__(self, namespaces: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), self._folder.name, str(int(namespaces))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            cwd=self._folder.name,
            start_new_session=True,
            bufsize=0,
        )
        hello = self._read(time.monotonic() + 30)
        if hello is None:
            self.close()
            raise SandboxError("the sandbox's worker process does not start")
        self.backend: str = hello["backend"]
        if self.backend == "rlimits" and namespaces:
            _warn_once(hello["reason"])

    def judge(self, program: Program, timeout: float, memory_mb: int) -> Verdict | None:
        """The verdict, or ``None`` if the worker does not answer."""
        # The test goes apart, so that the candidate is started before anyone there has read it.
        secret = _frame({"prompt": program.prompt, "test": program.test})
        head = {
            "code": program.code,
            "entry_point": program.entry_point,
            "timeout": timeout,
            "memory_mb": memory_mb,
        }
        try:
            assert self._process.stdin is not None
            self._write(_frame(head) + secret)
        except OSError:
            return None
        answer = self._read(time.monotonic() + timeout + 20)
        return None if answer is None else Verdict(answer["passed"], answer["reason"])

    def close(self) -> None:
        """Kill the worker and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._folder.cleanup()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._process.stdin.fileno(), view) :]  # type: ignore[union-attr]

    def _read(self, deadline: float) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([handle], [], [], wait)[0]:
                return None
            part = os.read(handle, 65536)
            if not part:
                return None
            line += part
        return json.loads(line)


def _frame(data: dict[str, Any]) -> bytes:
    body = json.dumps(data).encode()
    return len(body).to_bytes(8, "big") + body


_warned = False


def _warn_once(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        log.warning(
            "CODE SANDBOX WITHOUT NAMESPACES: this kernel does not allow them (%s). Programs run "
            "under resource limits only and can reach your files and the network. Allow "
            "unprivileged user namespaces, or run in a container.",
            reason,
        )
