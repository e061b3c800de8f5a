"""What the sandbox promises to right programs and to the run as a whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import evaluation.sandbox as sandbox
from evaluation.sandbox import BACKENDS, Program, Sandbox, SandboxError, Verdict
from evaluation.sandbox.client import NotStarted, Worker, WorkerLost
from tests.evaluation.hostile import PROMPT, RIGHT, TEST

REPOSITORY = Path(__file__).parents[2]
HANG = "def f(x):\n    while True: pass\n"


def run(code: str, test: str = TEST, **settings: Any) -> Verdict:
    box = Sandbox(**{"timeout": 2.0, "memory_mb": 256, "workers": 1} | settings)
    try:
        verdict = box.run([Program(code, PROMPT, test, "f")])[0]
    except SandboxError as error:
        pytest.skip(f"{settings.get('backend')} does not work here: {error}")
    assert box.backend in BACKENDS and box.backend == settings.get("backend", box.backend)
    return verdict


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_right_passes_and_wrong_fails(backend: str) -> None:
    assert run(RIGHT, backend=backend) == Verdict(True)
    wrong = run("def f(x):\n    return x + 2\n", backend=backend)
    assert wrong == Verdict(False, "wrong answer")


def test_memory_is_limited(backend: str) -> None:
    # Code that survives with less than it asked for would pass.
    code = "def f(x):\n    a = bytearray(2 << 30)\n    return 2 * x\n"
    assert run(code, backend=backend) == Verdict(False, "MemoryError: ")
    assert run(code.replace("2 << 30", "8 << 20"), backend=backend).passed


def test_children_that_stay_do_not_hurt_the_next(backend: str) -> None:
    code = (
        "import os, time\ndef f(x):\n    for _ in range(3):\n        if os.fork() == 0:\n"
        "            os.setsid()\n            if os.fork() == 0: time.sleep(1000)\n"
        "            os._exit(0)\n    return 2 * x\n"
    )
    programs = [Program(f"{code}# {n}", PROMPT, TEST, "f") for n in range(4)]
    box = Sandbox(workers=1, backend=backend)
    try:
        assert box.run(programs) == [Verdict(True)] * 4
    except SandboxError as error:
        pytest.skip(str(error))


def test_a_folder_to_write_in_is_empty_every_time() -> None:
    code = (
        "import os\ndef f(x):\n    before = os.listdir('.')\n"
        "    with open('mine.txt', 'w') as stream: stream.write('ok')\n"
        "    return before + os.listdir('.') + sorted(os.environ)\n"
    )
    test = "def check(candidate):\n    assert candidate(0) == ['mine.txt'], candidate(0)\n"
    for isolation in ("bubblewrap", "namespaces"):
        try:
            programs = [Program(f"{code}# {n}", PROMPT, test, "f") for n in range(2)]
            assert Sandbox(workers=1, backend=isolation).run(programs) == [Verdict(True)] * 2
        except SandboxError as error:
            pytest.skip(str(error))


def test_the_standard_library_can_be_imported(backend: str) -> None:
    modules = "math re itertools collections hashlib statistics decimal fractions random json"
    code = f"import {', '.join(modules.split())}\ndef f(x):\n    return x + math.gcd(x, 100 * x)\n"
    assert run(code, backend=backend).passed
    if backend != "rlimits":  # whose user may lack the right to read the library
        assert run(code.replace("import ", "import lzma, asyncio, sqlite3, ", 1)).passed


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
        "    else: assert False\n"
        "    try: candidate(-2)\n    except UnicodeDecodeError: assert False\n"
        "    except Exception: pass\n    assert candidate(1) == 2\n"
    )
    code = (
        "def f(x):\n    if x == -1: raise ValueError('negative')\n"
        "    if x < 0: b'\\xff'.decode()\n    return 2 * x\n"
    )
    assert run(code, test).passed


def test_no_test_survives_the_programs_end() -> None:
    test = (
        "def check(candidate):\n    for x in range(3):\n        try: assert candidate(x) == 2 * x\n"
        "        except: pass\n"
    )
    assert run(RIGHT, test).passed
    verdict = run("import os\ndef f(x):\n    os._exit(0)\n", test)
    assert verdict == Verdict(False, "the program ended")


def test_hanging_programs_do_not_hold_up_others() -> None:
    sleep = "import time\ndef f(x):\n    time.sleep(1000)\n"
    programs = [
        Program((RIGHT if n % 2 else (HANG, sleep)[n // 2 % 2]) + f"# {n}", PROMPT, TEST, "f")
        for n in range(12)
    ] * 10
    verdicts = Sandbox(timeout=0.3).run(programs)
    assert [v.passed for v in verdicts] == [bool(n % 2) for n in range(12)] * 10
    assert {v.reason for v in verdicts} == {"", "time is up"}


def test_a_worker_that_is_killed_costs_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Worker.judge

    def killing(self: Worker, head: dict[str, Any], *rest: Any) -> dict[str, Any]:
        if "kill" in head["code"]:
            self._process.kill()
        return judge(self, head, *rest)

    monkeypatch.setattr(Worker, "judge", killing)
    programs = [Program(RIGHT + end, PROMPT, TEST, "f") for end in ("", "# kill", "# third")]
    verdicts = Sandbox(workers=1).run(programs)
    assert verdicts == [
        Verdict(True), Verdict(False, "the sandbox worker died"), Verdict(True)
    ]  # fmt: skip


def test_a_worker_that_is_closed_takes_its_program_with_it(backend: str) -> None:
    worker = Worker([backend])
    if worker.backend is None:
        worker.close()
        pytest.skip(str(worker.reasons))
    code = "import os, time\nos.fork()\nos.fork()\ntime.sleep(1000)\n"
    head = {"code": code, "entry_point": "f", "timeout": 60.0, "memory_mb": 256}
    with pytest.raises(WorkerLost, match="silent"):
        worker.judge(head, {"prompt": PROMPT, "test": TEST}, 2.0)
    started = _below(worker._process.pid)
    assert len(started) >= 3
    worker.close()
    deadline = time.monotonic() + 20
    while any(map(_runs, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in started if _runs(pid)] == []


def _below(pid: int) -> list[int]:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] + [n for word in words for n in _below(int(word))]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_worker_lost_once_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, lost = Worker.judge, []

    def killing(self: Worker, *arguments: Any) -> dict[str, Any]:
        if not lost:
            lost.append(self._process.kill())
        return judge(self, *arguments)

    monkeypatch.setattr(Worker, "judge", killing)
    assert run(RIGHT).passed and lost


def test_a_machine_that_starts_nothing_gives_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Worker, *arguments: Any) -> dict[str, Any]:
        raise NotStarted("a candidate does not start")

    monkeypatch.setattr(Worker, "judge", failing)
    with pytest.raises(SandboxError, match="does not start"):
        Sandbox(workers=2).run([Program(RIGHT, PROMPT, TEST, "f")])


def test_no_program_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "Worker", None)
    box = Sandbox()
    assert box.run([]) == [] and box.backend == "not used"


def test_missing_namespaces_are_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    sandbox._warn_once.cache_clear()
    for _ in range(2):
        sandbox._warn_once("refused", "landlock and seccomp")
    assert caplog.text.count("CODE SANDBOX WITHOUT NAMESPACES") == 1
    assert "refused" in caplog.text and "landlock and seccomp" in caplog.text


def test_what_is_not_covered_is_said_of_every_backend() -> None:
    text = sandbox.__doc__ or ""
    assert all(text.count(f"``{name}``") >= 2 for name in BACKENDS)
    assert all(f"``{name}`` does not cover" in text for name in BACKENDS)


def test_a_user_without_rights_has_all_backends() -> None:
    """As root the worker becomes nobody; here all of it is nobody's from the start."""
    tool, python = shutil.which("setpriv"), shutil.which("python3", path="/usr/bin")
    if os.geteuid() or not tool or not python:
        pytest.skip("needs root, setpriv and a system Python to become a user without rights")
    code = (
        "import json, os, sys\nfrom evaluation.sandbox import *\n"
        f"sys.version_info >= (3, 11) or sys.exit(77)\nT = {TEST!r}\nfound = []\n"
        'peek = "import os\\ndef f(x):\\n    for p in range(1, 4000):\\n        try:\\n"\n'
        "peek += \"            if p != os.getpid(): open(f'/proc/{p}/environ', 'rb').read()\\n\"\n"
        'peek += "            if p != os.getpid(): return 2 * x\\n"\n'
        'peek += "        except OSError: pass\\n"\n'
        "kill = 'import os\\ndef f(x):\\n    os.kill(os.getppid() or -1, 9)\\n'\n"
        "kill += '    return 2 * x\\n'\n"
        f"codes = ({RIGHT!r}, peek, kill, {HANG!r})\n"
        "for name in BACKENDS:\n    box = Sandbox(backend=name, timeout=0.3, workers=1)\n"
        "    try: found += [v.passed for v in box.run([Program(c, '', T, 'f') for c in codes])]\n"
        "    except SandboxError as error: found.append(str(error))\n"
        "print(json.dumps(found))\n"
    )
    words = [tool, "--reuid=65534", "--regid=65534", "--clear-groups", python, "-B", "-c", code]
    done = subprocess.run(
        words, cwd=REPOSITORY, capture_output=True, text=True, env={"TMPDIR": "/tmp"}, check=False
    )
    if done.returncode in (1, 77) and "json" not in done.stderr and not done.stdout:
        pytest.skip(f"the system's Python cannot run it: {done.stderr[-200:]}")
    found = json.loads(done.stdout)
    verdicts = [verdict for verdict in found if not isinstance(verdict, str)]
    absent = len(found) - len(verdicts)  # one reason each
    assert absent < len(BACKENDS), found
    assert verdicts == [True, False, False, False] * (len(BACKENDS) - absent), found
