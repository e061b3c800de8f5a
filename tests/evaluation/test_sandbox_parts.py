"""The worker's parts: the choice of a backend, bubblewrap's command, what counts as time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.sandbox import BACKENDS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker's files as the modules that they are to it."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "evaluation/sandbox"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "evaluation/sandbox" in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_the_first_backend_that_works_is_taken(
    parts: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import backends
    import bubblewrap
    import worker

    asked: list[str] = []

    def judge(head: Any, read_test: Any, backend: Any) -> Any:
        asked.append(backend.name)
        if backend.name == "namespaces":
            raise worker.NotStarted("refused")
        return True, "", ["seccomp"]

    assert tuple(backends.BACKENDS) == BACKENDS
    monkeypatch.setattr(worker, "judge", judge)
    monkeypatch.setattr(bubblewrap, "installed", lambda: None)
    chosen, hello = worker.choose(str(tmp_path), list(BACKENDS))
    assert chosen.name == "rlimits" and asked == ["namespaces", "rlimits"]
    assert hello == {
        "backend": "rlimits",
        "guards": ["seccomp"],
        "reasons": {"bubblewrap": "bwrap is not installed", "namespaces": "refused"},
    }
    monkeypatch.setattr(bubblewrap, "installed", lambda: "/usr/bin/bwrap")
    assert worker.choose(str(tmp_path), list(BACKENDS))[0].name == "bubblewrap"
    assert worker.choose(str(tmp_path), ["namespaces"])[1]["backend"] is None


@pytest.mark.parametrize("root", [True, False])
def test_the_command_of_bubblewrap(
    parts: None, monkeypatch: pytest.MonkeyPatch, root: bool
) -> None:
    import bubblewrap
    from limits import Limits

    monkeypatch.setattr(bubblewrap, "installed", lambda: "/usr/bin/bwrap")
    words = bubblewrap.command(7, 9, Limits(3.0, 512), root=root)
    ours, theirs = words[: words.index("--")], words[words.index("--") + 1 :]
    assert ours[0] == "/usr/bin/bwrap"
    alone = {"--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--clearenv",
             "--die-with-parent", "--new-session"}  # fmt: skip
    assert alone <= set(ours)
    assert ("--unshare-user" in ours) is not root
    text = " ".join(ours)
    assert "--cap-drop ALL" in text and ("--cap-add CAP_SETUID" in text) is root
    # Nothing is bound writable, nor anything beyond libraries, the interpreter and our own files.
    assert not {"--bind", "--dev-bind", "--proc", "--dev"} & set(ours)
    bound = [ours[n + 1] for n, word in enumerate(ours) if word == "--ro-bind"]
    assert all("lib" in place or "python" in place or "sandbox" in place for place in bound)
    assert text.endswith("--chdir /work --remount-ro /")
    assert theirs[1:4] == ["-I", "-S", "-B"]
    assert theirs[4] == "-c" and "candidate.main()" in theirs[5] and "/sandbox" in theirs[5]
    assert theirs[6:8] == ["7", "9"] and theirs[9] == "/work"
    assert vars(Limits(**json.loads(theirs[8]))) == vars(Limits(3.0, 512))
    monkeypatch.setattr(bubblewrap, "installed", lambda: None)
    with pytest.raises(FileNotFoundError, match="bwrap is not installed"):
        bubblewrap.command(7, 9, Limits(3.0, 512), root=root)


def test_waiting_for_a_processor_is_not_counted(
    parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watch

    now, facts = [100.0], {"computed": 0.0, "waited": 5.0, "resident": 10.0}
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch, "descendants", lambda: [1])
    for name in facts:
        monkeypatch.setattr(watch, f"_{name}", lambda pid, name=name: facts[name])
    look = watch.Watch(3.0, 512)
    now[0] += 20.0
    facts |= {"computed": 2.5, "waited": 22.4}  # waited 17.4 of 20 s: 2.6 s are its own
    assert look.verdict() == ""
    facts["waited"] = 21.9
    assert look.verdict() == "time is up"
    facts |= {"waited": 25.0, "computed": 3.1}  # of several processes together
    assert look.verdict() == "time is up"
    facts["computed"] = 0.0
    assert look.verdict() == ""
    facts["resident"] = 700.0
    assert look.verdict() == "out of memory"
    facts |= {"resident": 10.0, "waited": 500.0}
    now[0] += 11.0  # ten times three seconds are the end
    assert look.verdict() == "time is up"
