"""Replies of judges, kept on disk: no question is paid for twice.

One file of JSON lines per endpoint and model; a reply is found by the hash of the endpoint and the
whole request (model, every message, every parameter), so neither another judge under the same name
nor another prompt finds it. Lines are added under a lock and never changed, so any number of runs
may write at once; a line that a kill cut off is passed over.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from harness.files import digest

log = logging.getLogger(__name__)


class Replies:
    """The kept replies of one endpoint and model; keeps nothing if ``folder`` is None."""

    def __init__(self, folder: Path | None, url: str, model: str) -> None:
        self.url = url
        self._found: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.path: Path | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            words = "".join(c if c.isalnum() or c in "-_." else "_" for c in model)[:80]
            self.path = folder / f"{words}-{digest([url, model], 12)}.jsonl"
            self._read()

    def key(self, body: dict[str, Any]) -> str:
        """Name of a request's reply."""
        return digest([self.url, body], 32)

    def get(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The reply that was given to this request, or None."""
        return self._found.get(self.key(body))

    def put(self, body: dict[str, Any], reply: dict[str, Any]) -> None:
        """Keep a reply at once: the next question may end in an error."""
        from filelock import FileLock

        key = self.key(body)
        self._found[key] = reply
        if self.path is None:
            return
        line = json.dumps({"key": key, "reply": reply}, ensure_ascii=True).encode()
        with self._lock, FileLock(f"{self.path}.lock"), self.path.open("a+b") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self) -> None:
        assert self.path is not None
        damaged = 0
        for line in self.path.read_bytes().split(b"\n") if self.path.is_file() else ():
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                key, reply = entry["key"], entry["reply"]
                if not isinstance(reply, dict):
                    raise TypeError(reply)
            except (ValueError, KeyError, TypeError):
                damaged += 1
                continue
            self._found[key] = reply
        if damaged:
            log.warning("%s: %d damaged lines are passed over and asked again", self.path, damaged)
