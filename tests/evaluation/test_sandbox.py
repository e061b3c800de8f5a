"""What the sandbox promises, each with a program that tries to break it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.sandbox import Program, Sandbox, Verdict

PROMPT = "def f(x):\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(5) == 10\n"
RIGHT = "def f(x):\n    return 2 * x\n"


def run(code: str, test: str = TEST, **settings: object) -> Verdict:
    settings = {"timeout": 2.0, "memory_mb": 256, "workers": 1} | settings
    sandbox = Sandbox(**settings)  # type: ignore[arg-type]
    verdict = sandbox.run([Program(code, "def f(x):\n    pass\n", test, "f")])[0]
    assert sandbox.backend in ("namespaces", "rlimits")
    return verdict


@pytest.fixture(scope="module")
def namespaces() -> None:
    sandbox = Sandbox(workers=1)
    sandbox.run([Program(RIGHT, "", TEST, "f")])
    if sandbox.backend != "namespaces":
        pytest.skip("this kernel allows no unprivileged namespaces")


@pytest.mark.parametrize("use", [True, False])
def test_right_passes_and_wrong_fails(use: bool) -> None:
    assert run(RIGHT, namespaces=use) == Verdict(True)
    assert run("def f(x):\n    return x + 2\n", namespaces=use) == Verdict(False, "wrong answer")


FORGERIES = {
    "os._exit": "import os\ndef f(x):\n    os._exit(0)\n",
    "os._exit at import": "import os\nos._exit(0)\n" + RIGHT,
    "SystemExit": "def f(x):\n    raise SystemExit(0)\n",
    "SystemExit at import": "raise SystemExit\n" + RIGHT,
    "marker on all descriptors": (
        "import os\ndef f(x):\n    for n in range(64):\n        for m in (b'ready\\npass\\n', "
        'b\'{"passed": true, "reason": ""}\\n\'):\n            try: os.write(n, m)\n'
        "            except OSError: pass\n    return 0\n"
    ),
    "equal to everything": (
        "class All(int):\n    def __eq__(self, other): return True\n    __hash__ = None\n"
        "def f(x):\n    return All(7)\n"
    ),
    "no assert": "import builtins\nbuiltins.AssertionError = type('Q', (Exception,), {})\n"
    "def f(x):\n    return 0\n",
    "assertions off": "import sys\nsys.flags = None\ndef f(x):\n    return 0\n",
    "look for the test": (
        "import gc, sys\ndef f(x):\n    frames = [sys._getframe()]\n"
        "    while frames[-1].f_back: frames.append(frames[-1].f_back)\n"
        "    for frame in frames:\n        for value in frame.f_locals.values():\n"
        "            if isinstance(value, dict) and 'check' in value: return 2 * x\n"
        "    if any(isinstance(o, dict) and 'test' in o and 'prompt' in o for o in "
        "gc.get_objects()): return 2 * x\n    return 0\n"
    ),
    "generator instead of a value": "def f(x):\n    yield 2 * x\n",
    "name missing": "def g(x):\n    return 2 * x\n",
    "no Python": "def f(x) return",
    "NUL byte": RIGHT + "\x00",
    "lone surrogate": RIGHT + "# \udc80",
    "deep nesting": "def f(x):\n    return " + "(" * 50_000,
    "huge answer": "def f(x):\n    return 'a' * 50_000_000\n",
    "self-containing answer": "def f(x):\n    a = []\n    a.append(a)\n    return a\n",
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("use", [True, False], ids=["namespaces", "rlimits"])
def test_forgery_fails(name: str, use: bool) -> None:
    verdict = run(FORGERIES[name], namespaces=use)
    assert not verdict.passed and verdict.reason


@pytest.mark.parametrize("use", [True, False], ids=["namespaces", "rlimits"])
@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    while True: pass\n",
        "import time\ndef f(x):\n    time.sleep(60)\n",
        "import signal, os\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\ndef f(x):\n    while True: pass\n",
        "def f(x):\n    while True: print('y' * 10000, flush=True)\n",
        "import sys\ndef f(x):\n    while True: sys.stderr.write('y' * 10000)\n",
    ],
    ids=["loop", "sleep", "signals ignored", "endless output", "endless errors"],
)
def test_time_is_limited(code: str, use: bool) -> None:
    start = time.monotonic()
    verdict = run(code, timeout=0.5, namespaces=use)
    assert verdict == Verdict(False, "time is up")
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("use", [True, False], ids=["namespaces", "rlimits"])
def test_memory_is_limited(use: bool) -> None:
    # Code that survives with less than it asked for would pass.
    code = "def f(x):\n    a = bytearray(2 << 30)\n    return 2 * x\n"
    assert run(code, namespaces=use) == Verdict(False, "MemoryError: ")
    assert run(code.replace("2 << 30", "8 << 20"), namespaces=use).passed


@pytest.mark.parametrize("use", [True, False], ids=["namespaces", "rlimits"])
def test_fork_bomb_is_contained(use: bool) -> None:
    code = (
        "import os\ndef f(x):\n    n = 0\n    while True:\n        try: n += os.fork() > 0\n"
        "        except OSError: return 2 * x if n > 100 else 'limited'\n"
    )
    assert not run(code, timeout=1.0, namespaces=use).passed
    assert _processes_named("worker.py") == 0


def test_children_do_not_stay() -> None:
    code = (
        "import os, time\ndef f(x):\n    for _ in range(3):\n        if os.fork() == 0:\n"
        "            os.setsid()\n            if os.fork() == 0: time.sleep(1000)\n"
        "            os._exit(0)\n    return 2 * x\n"
    )
    for use in (True, False):
        assert run(code, namespaces=use).passed
        assert _processes_named("worker.py") == 0


def _processes_named(name: str) -> int:
    count = 0
    for entry in os.listdir("/proc"):
        try:
            text = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
            children = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        count += f"sandbox/{name}" in text and children[0] != "Z"
    return count


@pytest.fixture
def server() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    stop.set()
    listener.close()


def test_no_network(namespaces: None, server: int) -> None:
    code = f"import socket\ndef f(x):\n    socket.create_connection(('127.0.0.1', {server}), 1)\n" \
           "    return 2 * x\n"  # fmt: skip
    with socket.create_connection(("127.0.0.1", server), 1):
        pass
    verdict = run(code)
    assert (not verdict.passed and "OSError" in verdict.reason) or "Refused" in verdict.reason


def test_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_TOKEN", "hunter2")
    test = "def check(candidate):\n    assert candidate(0) == []\n"
    code = (
        "import os\ndef f(x):\n    found = list(os.environ)\n    for pid in range(1, 3000):\n"
        "        try: text = open(f'/proc/{pid}/environ', 'rb').read()\n"
        "        except OSError: continue\n"
        "        if b'hunter2' in text: found.append('token')\n"
        "    return found\n"
    )
    for use in (True, False):
        if use or os.geteuid() == 0:  # without rights of its own, a user reads what is the user's
            assert run(code, test, namespaces=use, timeout=5.0).passed


def test_no_files_outside(namespaces: None, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    code = (
        f"import os, sys\nMINE = {[str(secret), __file__]!r}\ndef f(x):\n    seen = []\n"
        "    for path in (*MINE, '/etc/passwd', '/proc/self/maps', '/home', '/tmp'):\n"
        "        if os.path.exists(path): seen.append(path)\n"
        "    for path in ('/lib', '/usr/lib', os.path.dirname(os.__file__), '/'):\n"
        "        try:\n            open(path + '/made-by-a-program', 'w')\n"
        "            seen.append('wrote ' + path)\n        except OSError: pass\n"
        "    open('mine.txt', 'w').write('ok')\n    return seen + os.listdir('.')\n"
    )
    test = "def check(candidate):\n    assert candidate(0) == ['mine.txt'], candidate(0)\n"
    verdict = run(code, test)
    assert verdict.passed, verdict.reason
    # The next program finds an empty folder.
    assert run(code, test).passed


def test_no_rights(namespaces: None) -> None:
    code = (
        "import ctypes, os\ndef f(x):\n    libc = ctypes.CDLL(None)\n    result = []\n"
        "    result.append(libc.unshare(0x10000000))\n"  # a user namespace of its own
        "    result.append(libc.mount(b't', b'/work', b'tmpfs', 0, None))\n"
        "    result.append(libc.chroot(b'/work'))\n    return result\n"
    )
    test = "def check(candidate):\n    assert candidate(0) == [-1, -1, -1]\n"
    verdict = run(code, test)
    assert verdict.passed, verdict.reason


def test_file_size_is_limited() -> None:
    code = (
        "def f(x):\n    with open('big', 'wb') as stream:\n        for _ in range(64):\n"
        "            stream.write(b'x' * (1 << 20))\n    return 2 * x\n"
    )
    for use in (True, False):
        assert not run(code, namespaces=use).passed


def test_plain_data_pass_both_ways() -> None:
    values = [1, -2.5, float("inf"), "ü\ud800", None, True, (1, [2]), {"a": {3}, 4: ()}, b"\x00",
              frozenset({5}), 2 + 3j, 10**50]  # fmt: skip
    test = (
        f"inf = float('inf')\ndef check(candidate):\n    for value in {values!r}:\n"
        "        got = candidate(value)\n"
        "        assert type(got) is type(value) and got == value\n"
    )
    verdict = run("def f(x):\n    return x\n", test)
    assert verdict.passed, verdict.reason


def test_exceptions_pass_and_do_not_end_the_candidate() -> None:
    test = (
        "def check(candidate):\n    try: candidate(-1)\n    except ValueError: pass\n"
        "    else: assert False\n    assert candidate(1) == 2\n"
    )
    code = "def f(x):\n    if x < 0: raise ValueError('negative')\n    return 2 * x\n"
    assert run(code, test).passed


def test_many_programs_half_of_them_hanging() -> None:
    hang = "def f(x):\n    while True: pass\n"
    programs = [
        Program((RIGHT if n % 2 else hang) + f"# {n}", "", TEST, "f") for n in range(20)
    ] * 10
    start = time.monotonic()
    verdicts = Sandbox(timeout=0.3, workers=2).run(programs)
    assert [v.passed for v in verdicts] == [bool(n % 2) for n in range(20)] * 10
    # Equal programs run once: ten hang for 0.3 s each, on two workers.
    assert time.monotonic() - start < 15


def test_a_worker_that_is_killed_costs_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluation.sandbox as sandbox

    judge = sandbox._Worker.judge

    def killing(self: sandbox._Worker, program: Program, *rest: float) -> Verdict | None:
        if "kill" in program.code:
            self._process.kill()
        return judge(self, program, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sandbox._Worker, "judge", killing)
    programs = [Program(RIGHT + end, "", TEST, "f") for end in ("", "# kill", "# third")]
    verdicts = Sandbox(workers=1).run(programs)
    assert [v.passed for v in verdicts] == [True, False, True]


def test_missing_namespaces_are_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    import evaluation.sandbox as sandbox

    sandbox._warned = False
    sandbox._warn_once("refused")
    assert "CODE SANDBOX WITHOUT NAMESPACES" in caplog.text and "refused" in caplog.text
