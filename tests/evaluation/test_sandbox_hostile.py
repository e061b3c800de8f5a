"""The hostile programs: each is contained and fails for its reason, on every backend there is."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from evaluation.sandbox import BACKENDS, Program, Sandbox, SandboxError, Verdict
from tests.evaluation.hostile import PROMPT, RIGHT, TEST, corpus

REPOSITORY = Path(__file__).parents[2]
NAMES = sorted(corpus({}))


@dataclass
class Outcome:
    verdicts: dict[str, Verdict]
    right: list[Verdict]
    connections: int
    processes: list[int]
    files: list[Path]
    secret: str
    changed: list[str]


@pytest.fixture(scope="module", params=BACKENDS)
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """All programs on one backend, with right ones between them."""
    token = f"left-{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("outside")
    folder.chmod(0o777)
    secret = folder / "secret.txt"
    secret.write_text("mine")
    secret.chmod(0o666)
    folder.parent.chmod(0o755)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SANDBOX_TEST_TOKEN", token)
    # What the programs leave behind is handed on to this process.
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1, 0, 0, 0)
    before, children = _state(), _children()
    server = _Server(token)
    facts = {
        "TOKEN": token,
        "FOLDER": str(folder),
        "REPOSITORY": str(REPOSITORY),
        "SANDBOX": str(REPOSITORY / "evaluation/sandbox"),
        "PORT": str(server.port),
        "PID": str(os.getpid()),
    }
    programs = {name: program for name, (_, program) in corpus(facts).items()}
    right = [Program(f"{RIGHT}# {n}", PROMPT, TEST, "f") for n in range(8)]
    mixed = list(programs.values())
    for n, program in enumerate(right):
        mixed.insert(n * len(mixed) // len(right), program)
    sandbox = Sandbox(timeout=0.3, memory_mb=256, workers=8, backend=request.param)
    try:
        verdicts = dict(zip(mixed, sandbox.run(mixed), strict=True))
    except SandboxError as error:
        pytest.skip(f"the backend {request.param} does not work here: {error}")
    finally:
        server.close()
        monkeypatch.undo()
        libc.prctl(36, 0, 0, 0, 0)
    assert sandbox.backend == request.param
    after = _state()
    yield Outcome(
        verdicts={name: verdicts[program] for name, program in programs.items()},
        right=[verdicts[program] for program in right],
        connections=server.connections,
        processes=sorted(_children() - children),
        files=_files_named(token, folder),
        secret=f"{secret.read_text()} {secret.stat().st_mode & 0o777:o}",
        changed=[name for name in before if before[name] != after[name]],
    )


def test_the_corpus_is_large() -> None:
    assert len(NAMES) >= 80


@pytest.mark.parametrize("name", NAMES)
def test_contained_and_failed(outcome: Outcome, name: str) -> None:
    verdict = outcome.verdicts[name]
    assert not verdict.passed
    assert re.search(corpus({})[name][0], verdict.reason), verdict.reason


def test_right_programs_between_them_pass(outcome: Outcome) -> None:
    assert outcome.right == [Verdict(True)] * 8


def test_nothing_is_left_behind(outcome: Outcome) -> None:
    assert outcome.processes == []
    assert outcome.files == []
    assert outcome.connections == 0
    assert outcome.secret == "mine 666"
    assert outcome.changed == []


def test_a_program_that_gets_what_it_wants_would_pass(tmp_path: Path) -> None:
    # The corpus can fail: without isolation these do as they like.
    facts = {"FOLDER": str(tmp_path), "TOKEN": "t", "REPOSITORY": str(tmp_path), "PORT": "1",
             "SANDBOX": str(tmp_path), "PID": "0"}  # fmt: skip
    (tmp_path / "secret.txt").write_text("mine")
    for name in ("file_read_outside", "file_change_mode", "file_truncate", "limits_raised",
                 "file_delete", "environment", "run_shell"):  # fmt: skip
        namespace: dict[str, object] = {"__name__": "candidate"}
        limits = [(kind, resource.getrlimit(kind)) for kind in _LIMITS]
        exec(corpus(facts)[name][1].code, namespace)
        try:
            answer = namespace["f"](2)  # type: ignore[operator]
        finally:
            for kind, values in limits:
                resource.setrlimit(kind, values)
        assert answer == 4, name
        (tmp_path / "secret.txt").write_text("mine")


def test_equal_programs_have_one_verdict() -> None:
    programs = [Program(RIGHT, PROMPT, TEST, "f")] * 3
    wrong = replace(programs[0], code="def f(x):\n    return 1\n")
    verdicts = Sandbox(workers=1).run([*programs, wrong])
    assert [v.passed for v in verdicts] == [True, True, True, False]


_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE)


def _state() -> dict[str, object]:
    """What a program could change of the process that started it."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "environment": dict(os.environ) | {"SANDBOX_TEST_TOKEN": "", "PYTEST_CURRENT_TEST": ""},
        "folder": os.getcwd(),
        "mask": mask,
        "host": socket.gethostname(),
        "limits": [resource.getrlimit(kind) for kind in _LIMITS],
        "signals": [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)],
        "processors": os.sched_getaffinity(0),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "user": (os.getuid(), os.getgid()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": Path("/proc/self/mounts").read_text(),
        "shared memory": Path("/proc/sysvipc/shm").read_text(),
    }


def _children() -> set[int]:
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        found |= {int(word) for word in (thread / "children").read_text().split()}
    return found


def _files_named(token: str, folder: Path) -> list[Path]:
    places = ["/tmp", "/var/tmp", "/dev/shm", "/", str(REPOSITORY), "/usr/lib", folder,
              os.path.dirname(os.__file__), REPOSITORY / "evaluation/sandbox"]  # fmt: skip
    found = [path for place in places for path in Path(place).glob(f"*{token}*")]
    return [*found, *(p for p in folder.iterdir() if p.name != "secret.txt")]


class _Server:
    """Listens on loopback and on an abstract name, counts who comes."""

    def __init__(self, token: str) -> None:
        self.connections = 0
        self._listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self._listeners[1].bind(f"\0{token}")
        self._listeners[1].listen()
        self.port = self._listeners[0].getsockname()[1]
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                listener.accept()[0].close()
                self.connections += 1
            except OSError:
                return

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
