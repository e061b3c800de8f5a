"""What a running sweep says of itself, in files, so that it shows over any launcher or cluster.

Below ``out/running``: a file a run that is going on (what it is at and since when), one a sweep
(its cells), and in the sweep's folder one a cell that ended. A file is alive while it is touched,
every 15 seconds, and its process is not known to be dead; what a kill left behind counts for
nothing and is removed by the next sweep. All of them are gone when the sweep has ended. They say
how far things are and decide nothing: results are in the records alone.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.files import write_atomic

log = logging.getLogger(__name__)

FOLDER = "running"
EVERY = 15.0  # seconds between two touches
STALE = 4 * EVERY
SWEEP = "WINNOW_SWEEP"  # tells the jobs of a sweep, in whatever process, which one they are of


class Heartbeat:
    """A run's file while it runs, as a context manager.

    Attributes:
        found: the run was there already; how long it took then says nothing of others.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._folder = out / FOLDER
        self._said: dict[str, Any] = {
            "run": name,
            "stage": "pool",
            "stage_started": time.time(),
            "started": time.time(),
            "cell": _cell(),
            **_process(),
        }
        self._stop = threading.Event()
        self.found = False

    def __enter__(self) -> Heartbeat:
        self._write()
        threading.Thread(target=_beat, args=(self._path, self._stop), daemon=True).start()
        return self

    def stage(self, name: str) -> None:
        """The run is at ``name`` from now on."""
        self._said |= {"stage": name, "stage_started": time.time()}
        self._write()

    def rename(self, name: str) -> None:
        """The run's name, once it is known."""
        old = self._path()
        self._said["run"] = name
        self._write()
        _remove(old)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        sweep = os.environ.get(SWEEP)
        ended = self._folder / (sweep or "")
        if sweep and ended.is_dir() and (kind is None or issubclass(kind, Exception)):
            said = {
                "run": self._said["run"],
                "status": "done" if kind is None else "failed",
                "seconds": time.time() - self._said["started"],
                "found": self.found,
            }
            _write(ended / f"{self._said['cell'] or self._said['run']}.json", said)
        _remove(self._path())
        _tidy(self._folder)

    def _path(self) -> Path:
        return self._folder / f"{self._said['run']}.json"

    def _write(self) -> None:
        _write(self._path(), self._said)


@contextmanager
def sweep(
    out: Path, jobs: Sequence[str] | None, report: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Say that a sweep goes on in ``out``, for as long as the ``with`` lasts.

    Args:
        out: the sweep's folder.
        jobs: what is set apart in each of its cells, in Hydra's order; None if it is not known.
        report: what its report is to be like (``report`` of the configuration).
    """
    folder = out / FOLDER
    clear_dead(folder)
    said = {
        "jobs": None if jobs is None else list(jobs),
        "report": dict(report or {}),
        "started": time.time(),
        **_process(),
    }
    name = f"{said['host']}-{said['pid']}"
    path = folder / f"{name}.sweep.json"
    _write(path, said)
    (folder / name).mkdir(exist_ok=True)
    os.environ[SWEEP] = name
    stop = threading.Event()
    threading.Thread(target=_beat, args=(lambda: path, stop), daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        os.environ.pop(SWEEP, None)
        _remove(path)
        shutil.rmtree(folder / name, ignore_errors=True)
        _tidy(folder)


def read(path: Path) -> dict[str, Any] | None:
    """What a file says, or None if it is not there (any more)."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def alive(path: Path, said: dict[str, Any], now: float | None = None) -> bool:
    """Whether whoever wrote ``path`` still runs, as far as can be told from here."""
    if said.get("host") == socket.gethostname() and not _is_there(int(said.get("pid", 0))):
        return False
    try:
        age = (time.time() if now is None else now) - path.stat().st_mtime
    except OSError:
        return False
    return age < STALE


def clear_dead(folder: Path) -> None:
    """Remove what kills left behind."""
    for path in folder.glob("*.json"):
        said = read(path)
        if said is not None and not alive(path, said):
            _remove(path)
            if path.name.endswith(".sweep.json"):
                shutil.rmtree(folder / path.name.removesuffix(".sweep.json"), ignore_errors=True)


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _cell() -> str:
    """The cell's number in its sweep; none outside of Hydra."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return ""
    return str(HydraConfig.get().job.num)


def _beat(path: Any, stop: threading.Event) -> None:
    while not stop.wait(EVERY):
        try:
            os.utime(path())
        except OSError as error:
            log.debug("no heartbeat: %s", error)


def _write(path: Path, said: dict[str, Any]) -> None:
    try:
        write_atomic(path, json.dumps(said))
    except OSError as error:  # nobody's run should fail for it
        log.debug("no heartbeat: %s", error)


def _tidy(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        log.debug("%s is not empty: more goes on there", folder)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("no heartbeat: %s", error)
