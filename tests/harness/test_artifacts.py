"""The store's promises: whole or absent, computed once, damage noticed, kills survived."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness.artifacts import MANIFEST, Store
from harness.files import write_atomic


def write(text: str) -> Any:
    def build(part: Path) -> dict[str, Any]:
        (part / "data.txt").write_text(text)
        return {"length": len(text)}

    return build


def forbidden(part: Path) -> None:
    raise AssertionError("built again")


def test_a_second_request_finds_what_the_first_built(store: Store) -> None:
    first = store.require("kind", {"x": 1}, write("abc"))
    again = Store(store.root).require("kind", {"x": 1}, forbidden)
    assert (first.reused, again.reused) == (False, True)
    assert again.path == first.path and again.info == {"length": 3}
    assert store.require("kind", {"x": 2}, write("d")).path != first.path


def test_what_an_owner_made_before_is_still_its_own_expense(tmp_path: Path) -> None:
    Store(tmp_path, "run a").require("kind", {}, write("abc"))
    again = Store(tmp_path, "run a").require("kind", {}, forbidden)
    other = Store(tmp_path, "run b").require("kind", {}, forbidden)
    assert (again.found, again.reused) == (True, False)
    assert (other.found, other.reused) == (True, True)


def test_key_order_does_not_change_the_name(store: Store) -> None:
    assert store.folder("k", {"a": 1, "b": 2}) == store.folder("k", {"b": 2, "a": 1})


def test_a_failed_build_leaves_no_artifact(store: Store) -> None:
    def fail(part: Path) -> None:
        (part / "half.txt").write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        store.require("kind", {}, fail)
    assert store.find("kind", {}) is None
    artifact = store.require("kind", {}, write("whole"))
    assert sorted(p.name for p in artifact.path.iterdir()) == ["data.txt", MANIFEST]


def test_an_interrupted_build_can_go_on_from_its_part(store: Store) -> None:
    def stop(part: Path) -> None:
        (part / "checkpoint").write_text("5")
        raise KeyboardInterrupt

    def go_on(part: Path) -> dict[str, Any]:
        return {"from": (part / "checkpoint").read_text()}

    with pytest.raises(KeyboardInterrupt):
        store.require("kind", {}, stop, resume=True)
    assert store.require("kind", {}, go_on, resume=True).info == {"from": "5"}


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "data.txt").write_text("xbc"),  # same size, other bytes
        lambda folder: (folder / "data.txt").write_text("abcd"),
        lambda folder: (folder / "data.txt").unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).unlink(),
    ],
    ids=["changed", "grown", "missing", "manifest", "no_manifest"],
)
def test_damage_is_noticed_named_and_mended(
    store: Store, harm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = store.require("kind", {}, write("abc")).path
    harm(folder)
    os.utime(folder / "data.txt", (1, 1)) if (folder / "data.txt").exists() else None
    fresh = Store(store.root)
    assert fresh.find("kind", {}) is None
    mended = fresh.require("kind", {}, write("abc"))
    assert (mended.path / "data.txt").read_text() == "abc" and not mended.reused
    if (folder / MANIFEST).exists() and "no_manifest" not in str(harm):
        assert all(str(folder) in r.getMessage() for r in caplog.records)


def test_the_manifest_states_size_and_hash(store: Store) -> None:
    folder = store.require("kind", {"x": 1}, write("abc")).path
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["identity"] == {"x": 1}
    assert manifest["files"]["data.txt"] == {
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def _slow_build(root: Path, log: Path) -> None:
    def build(part: Path) -> dict[str, Any]:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.5)
        return {}

    Store(root).require("kind", {}, build)


def test_two_processes_compute_one_artifact_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spawn = multiprocessing.get_context("spawn")
    jobs = [spawn.Process(target=_slow_build, args=(tmp_path / "s", log)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert log.read_text() == "built\n"


def _hang(root: Path, started: Any) -> None:
    def build(part: Path) -> None:
        (part / "half").write_text("x")
        started.set()
        time.sleep(60)

    Store(root).require("kind", {}, build)


def test_a_killed_job_frees_its_lock_and_its_half_is_not_taken(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    job = spawn.Process(target=_hang, args=(tmp_path / "s", started))
    job.start()
    assert started.wait(30)
    store = Store(tmp_path / "s")
    assert store.ensure("kind", {}, forbidden, wait=False) is None  # locked: not waited for
    os.kill(job.pid or 0, signal.SIGKILL)
    job.join()
    artifact = store.require("kind", {}, write("abc"))
    assert not (artifact.path / "half").exists()


def test_a_text_that_cannot_be_written_whole_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path,
) -> None:
    write_atomic(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a.txt", "new \ud800")  # half of a pair is no UTF-8
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
