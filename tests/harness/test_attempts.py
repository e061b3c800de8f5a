"""What work took is added up over its attempts; what was done again is told apart."""

from __future__ import annotations

import ctypes
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import attempts
from harness.artifacts import Store
from harness.attempts import Attempts
from harness.energy import Energy, gpus, packages
from harness.record import StageCost


class Clock:
    """A counter of joules that a test turns."""

    def __init__(self, wrap: float = 0.0) -> None:
        self.joules, self.wrap = 0.0, wrap

    def __call__(self) -> tuple[float, float]:
        return self.joules, self.wrap


def journal(path: Path, **entry: float) -> None:
    """What a killed attempt leaves."""
    plain = {"began": 1000.0, "seconds": 0.0, "joules": None, "host_mb": 0.0, "device_mb": 0.0}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**plain, **entry}]))


def test_the_first_attempt_wastes_nothing(tmp_path: Path) -> None:
    with Attempts(tmp_path / "j.json") as work:
        assert (tmp_path / "j.json").is_file()
        found = work.summary()
    assert (found["attempts"], found["seconds_before"], found["seconds_wasted"]) == (1, 0, 0)
    assert found["peak_host_mb"] > 10
    assert not (tmp_path / "j.json").exists()


def test_work_that_cannot_go_on_is_all_wasted(tmp_path: Path) -> None:
    journal(tmp_path / "j.json", seconds=50.0, joules=200.0, host_mb=1e6)
    with Attempts(tmp_path / "j.json") as work:
        found = work.summary()
    assert (found["attempts"], found["seconds_before"], found["seconds_wasted"]) == (2, 0, 50)
    assert found["energy_wasted_joules"] == 200 and found["peak_host_mb"] == 1e6


def test_work_up_to_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    part = tmp_path / "part"
    for step, at in ((1, 1010.0), (2, 1030.0)):
        state = part / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        state.parent.mkdir(parents=True)
        state.write_text("{}")
        os.utime(state, (at, at))
    journal(tmp_path / "j.json", seconds=40.0, joules=400.0)
    with Attempts(tmp_path / "j.json", part) as work:
        found = work.summary()
    assert (found["seconds_before"], found["seconds_wasted"]) == (30, 10)
    assert found["energy_wasted_joules"] == pytest.approx(100)
    cost = StageCost(stage="train", seconds=5.0).over(found)
    assert (cost.seconds, cost.seconds_wasted, cost.attempts) == (35, 10, 2)


def test_a_store_that_was_killed_twice(tmp_path: Path) -> None:
    """An attempt that raises is one that was interrupted; the manifest has them all."""
    store = Store(tmp_path)

    def fails(part: Path) -> None:
        time.sleep(0.02)
        raise RuntimeError("power cut")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            store.require("thing", {"a": 1}, fails)
    made = store.require("thing", {"a": 1}, lambda part: {"n": 1})
    assert made.attempts["attempts"] == 3 and made.attempts["seconds_wasted"] >= 0.04
    assert Store(tmp_path).require("thing", {"a": 1}, fails).attempts == made.attempts
    assert made.info == {"n": 1} and not list((tmp_path / "attempts").iterdir())


def test_a_killed_process_leaves_its_figures(tmp_path: Path) -> None:
    """The journal is renewed while the work goes on, so that nothing has to be said at the end."""
    with Attempts(tmp_path / "j.json", beat=0.01):
        time.sleep(0.15)
        (entry,) = json.loads((tmp_path / "j.json").read_text())
    assert entry["seconds"] > 0.02


def test_two_artifacts_of_one_work(tmp_path: Path) -> None:
    with Attempts(tmp_path / "a.json") as one:
        time.sleep(0.05)
        with Attempts(tmp_path / "b.json", alongside=True) as other:
            assert other.clock is one.clock and other._entry()["seconds"] > 0.04
        with Attempts(tmp_path / "c.json") as apart:
            assert apart._entry()["seconds"] < one._entry()["seconds"]


def test_a_clock_stands_still_apart_from_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds, joules and memory; what a kill inside leaves in the journal too."""
    joules, megabytes = Clock(), [100.0]
    now = SimpleNamespace(at=0.0, time=lambda: now.at, perf_counter=lambda: now.at)
    monkeypatch.setattr(attempts, "time", now)
    monkeypatch.setattr(attempts, "Energy", lambda: Energy([joules]))
    monkeypatch.setattr(attempts, "host_peak_mb", lambda: megabytes[0])

    def go_on(seconds: float) -> None:
        now.at, joules.joules = now.at + seconds, joules.joules + 2 * seconds

    with Attempts(tmp_path / "outer.json") as outer:
        go_on(3)
        with attempts.apart():
            go_on(50)  # waiting
            with Attempts(tmp_path / "inner.json") as inner:
                go_on(100)
                with attempts.apart():
                    go_on(1000)
                megabytes[0] = 900.0
                assert attempts.clock() is inner.clock and inner.clock.read() == (100, 200)
                outer._note()
            (entry,) = json.loads((tmp_path / "outer.json").read_text())
            assert (entry["seconds"], entry["joules"], entry["host_mb"]) == (3, 6, 100)
        megabytes[0] = 120.0
        go_on(4)
        found = outer.summary()
    assert outer.clock.read() == (7, 14)
    assert (found["energy_joules"], found["peak_host_mb"]) == (14, 120)
    with attempts.apart():  # nobody is at any work
        go_on(1)


def test_energy_adds_up_and_counters_wrap() -> None:
    steady, wrapping = Clock(), Clock(wrap=100.0)
    wrapping.joules = 90.0
    energy = Energy([steady, wrapping])
    steady.joules, wrapping.joules = 7.0, 95.0
    assert energy.joules() == 12
    wrapping.joules = 4.0  # 95, 100 = 0, 4
    assert energy.joules() == 21
    assert Energy([]).joules() is None


def test_rapl_packages_are_read_and_their_parts_are_not(tmp_path: Path) -> None:
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:0:0", 9), ("intel-rapl:1", "x")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "energy_uj").write_text(f"{value}\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
    (counter,) = packages(tmp_path)
    assert counter() == (5.0, pytest.approx(262_143.32885))
    assert packages(tmp_path / "nothing") == []


class Nvml:
    """NVML's calls as ctypes makes them: three devices, of which the last has no counter."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, number) -> int:
        number._obj.value = 3
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle) -> int:
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, value) -> int:
        value._obj.value = 1000 * handle.value
        return 3 if handle.value == 3 else 0  # NVML_ERROR_NOT_SUPPORTED


def test_gpus_by_nvml() -> None:
    assert [read() for read in gpus(Nvml(), None)] == [(1.0, 0.0), (2.0, 0.0)]
    assert [read() for read in gpus(Nvml(), "1,2")] == [(2.0, 0.0)]
    assert gpus(None, None) == []


def test_old_records_and_artifacts_are_read() -> None:
    assert StageCost.model_validate({"stage": "train", "seconds": 3.0}).over({}).seconds == 3
