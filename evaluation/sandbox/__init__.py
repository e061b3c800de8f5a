"""Running functions that a model wrote: who is trusted with what, and what is not covered.

Three processes take part in every run of a program:

- the *candidate* (``candidate.py``) executes the model's code, isolated by a backend. It is told
  arguments and answers with values, as plain data; it never holds the test or the secret;
- the *checker* (``checker.py``) executes the benchmark's own test outside, calling the candidate
  for each value. Behind the last assertion it writes a fresh secret into a pipe that the candidate
  does not have;
- the *worker* (``worker.py``) starts both, reads the secret, watches time and memory
  (``watch.py``), kills whatever is left and goes on to the next.

So exiting early, printing a marker, replacing ``assert``'s comparison by an object that is equal to
everything, or looking for the test in memory do not give a pass.

Backends; the strongest that works is taken and recorded with the score:

- ``bubblewrap``: a fresh interpreter started by ``bwrap``, in namespaces of its own (user, mount,
  PID, network, IPC, host name), without capabilities. Its only files are the interpreter's and the
  system's libraries, read-only, and 32 MiB of memory to write in, which end with it.
- ``namespaces``: the same by our own system calls, in a copy of the worker.
- ``rlimits``: no namespaces, so the machine's files and processes are all there.

All three put limits on time, memory, processes, open files and file size, empty the environment,
and add the guards that the kernel has: ``seccomp`` refuses the network, other programs, signals to
others, tracing, namespaces and mounts (under ``rlimits`` also every change to files); ``landlock``
refuses files outside the libraries. ``Sandbox.guards`` names those in force.

Time is a program's own (``watch.py``): waiting for a processor does not count, so that a busy
machine fails no program. What hangs by computing is ended after as many seconds of a core, what
hangs by sleeping after as many seconds.

Not covered by any backend: errors of the kernel; timing channels; load on the machine within the
limits; bursts of memory shorter than a tenth of a second; secrets in the libraries' folders;
tests that are themselves hostile (they run under limits but outside the isolation); functions whose
arguments or values are not plain data (numbers, text, bytes, containers and iterators of them). A
program's prints go nowhere, and only the standard library can be imported. Beyond that

- ``bubblewrap`` does not cover errors of bubblewrap itself;
- ``namespaces`` does not cover what the worker's memory holds: it is copied into the candidate,
  with nothing of the test or the harness, but with the worker's modules;
- ``rlimits`` does not cover files that the user (root: that anyone) may read and the names and
  states of other processes, where ``landlock`` is missing; the network, signals to the user's
  processes and writing the user's files, where ``seccomp`` is missing; children that a program
  started, if the worker itself is killed by force. As root, it can import no more than the worker's
  own modules where the library's folder is closed to others.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.sandbox.client import NotStarted, Worker, WorkerLost

log = logging.getLogger(__name__)

BACKENDS = ("bubblewrap", "namespaces", "rlimits")

# Waiting for a processor is not counted where the kernel tells it, so that more programs than
# processors may run: those that sleep until their time is up hold up nobody.
_AT_A_TIME = 4
_ATTEMPTS = 3


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
        timeout: seconds for one program: of computing, or of waiting for something other than a
            processor (``watch.py``).
        memory_mb: address space of one process of a program, and memory of all of them.
        workers: programs at a time; default: four for each core this process may use, fewer where
            memory is short.
        backend: one of ``BACKENDS``; default: the strongest that works.

    Attributes:
        backend: of the programs run; "not used" before the first.
        guards: of the kernel that were in force beside it: "landlock", "seccomp".
    """

    def __init__(
        self,
        *,
        timeout: float = 3.0,
        memory_mb: int = 1024,
        workers: int | None = None,
        backend: str | None = None,
    ) -> None:
        self.timeout = timeout
        self.memory_mb = memory_mb
        self.workers = workers or _workers(memory_mb)
        self.backend = "not used"
        self.guards: tuple[str, ...] = ()
        self._wanted = BACKENDS if backend is None else (backend,)

    def run(self, programs: Sequence[Program]) -> list[Verdict]:
        """The verdict on each program; equal programs run once.

        Raises:
            SandboxError: no worker can be started, or no backend works.
        """
        if not programs:
            return []
        different = dict.fromkeys(programs)
        todo: queue.SimpleQueue[Program] = queue.SimpleQueue()
        for program in different:
            todo.put(program)
        verdicts: dict[Program, Verdict] = {}
        errors: list[BaseException] = []
        # The first worker finds the backend, the others must have the same.
        first: list[Worker] = [self._worker()]

        def work() -> None:
            worker: Worker | None = None
            try:
                while not errors:
                    try:
                        program = todo.get_nowait()
                    except queue.Empty:
                        return
                    for attempt in range(1, _ATTEMPTS + 1):
                        try:
                            worker = worker or _pop(first) or self._worker()
                            verdicts[program] = self._judge(worker, program)
                            break
                        except WorkerLost as error:
                            log.info("%s (attempt %d)", error, attempt)
                            if worker is not None:
                                worker.close()
                            worker = None
                            if attempt < _ATTEMPTS:
                                continue
                            if isinstance(error, NotStarted):  # the machine's fault
                                raise SandboxError(str(error)) from error
                            verdicts[program] = Verdict(False, "the sandbox worker died")
            except BaseException as error:
                errors.append(error)
            finally:
                if worker is not None:
                    worker.close()

        count = min(self.workers, len(different))
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # an interrupt: the threads stop after their program
            errors.append(error)
            raise
        finally:
            for worker in first:
                worker.close()
        if errors:
            raise errors[0]
        return [verdicts[program] for program in programs]

    def _worker(self) -> Worker:
        for _ in range(_ATTEMPTS):
            try:
                worker = Worker(self._wanted)
                break
            except WorkerLost as error:
                log.info("%s", error)
        else:
            raise SandboxError("the sandbox's worker process does not start")
        if worker.backend is None:
            worker.close()
            reasons = "; ".join(f"{name}: {why}" for name, why in worker.reasons.items())
            raise SandboxError(f"no backend of the code sandbox works here ({reasons})")
        if worker.backend == "rlimits" and "namespaces" in worker.reasons:
            _warn_once("; ".join(worker.reasons.values()), " and ".join(worker.guards))
        self.backend, self.guards = worker.backend, tuple(worker.guards)
        self._wanted = (worker.backend,)
        return worker

    def _judge(self, worker: Worker, program: Program) -> Verdict:
        head = {
            "code": program.code,
            "entry_point": program.entry_point,
            "timeout": self.timeout,
            "memory_mb": self.memory_mb,
        }
        test = {"prompt": program.prompt, "test": program.test}
        # The worker ends a program after ten times its time or half a minute (`watch.longest`).
        answer = worker.judge(head, test, max(10 * self.timeout, 30) + 120)
        return Verdict(answer["passed"], answer["reason"])


def _pop(workers: list[Worker]) -> Worker | None:
    with contextlib.suppress(IndexError):  # one thread gets it
        return workers.pop()
    return None


def _waiting_is_told() -> bool:
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[0]) > 0
    except (OSError, ValueError, IndexError):
        return False


def _workers(memory_mb: int) -> int:
    cores = len(os.sched_getaffinity(0))
    if not _waiting_is_told():
        return cores
    with contextlib.suppress(OSError), open("/proc/meminfo", encoding="ascii") as stream:
        facts = dict(line.split(":") for line in stream)
        available = int(facts["MemAvailable"].split()[0]) >> 10
        return max(cores, min(_AT_A_TIME * cores, available // memory_mb))
    return cores


@functools.cache
def _warn_once(reason: str, guards: str) -> None:
    log.warning(
        "CODE SANDBOX WITHOUT NAMESPACES: this machine does not allow them (%s). Programs run "
        "under resource limits and %s only. Install bubblewrap, allow unprivileged user "
        "namespaces, or run in a container.",
        reason,
        guards or "no guard of the kernel",
    )
