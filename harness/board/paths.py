"""Taking local paths out of a record before it is shown to others.

A path tells who ran something and where, and no number follows from it: runs are named by content.
What is left is the path's last part, which names the same thing to whoever has it.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import Any

from harness.record import Record

_ABSOLUTE = re.compile(r"(?:file://)?(?:[/~]|[A-Za-z]:[\\/]|\\\\|\.{1,2}[\\/])\S[^\n]*")
_RELATIVE = re.compile(r"[\w.\-*]+(?:/[\w.\-*]+){2,}/?")  # more parts than a hub id has
_OUR_FOLDERS = ("out", "store")  # paths whatever they look like


def without_paths(record: Record) -> Record:
    """The record with every local path cut down to its last part.

    Names, scores, digests, seeds, the paths of per-item results and the names of sources (which may
    well have slashes) stay as they are.
    """
    fields = record.model_dump(mode="json")
    for name in _OUR_FOLDERS:
        if isinstance(fields["config"].get(name), str):
            fields["config"][name] = _last(fields["config"][name])
    folders = {str(Path.home()), str(Path.cwd())}
    _folders(fields["config"], folders)
    # Longest first, so that no part of a path stays behind. The root itself tells nothing.
    known = [one for one in sorted(folders, key=len, reverse=True) if len(one) > 1]
    kept = {name: score["items"] for name, score in fields["scores"].items()}
    selection = fields.pop("selection")
    cleaned = _clean(fields, known) | {"selection": selection}
    for name, items in kept.items():
        cleaned["scores"][name]["items"] = items
    return Record.model_validate(cleaned)


def _folders(value: Any, found: set[str]) -> None:
    """The folders of all absolute paths in a configuration: they may be told of elsewhere."""
    if isinstance(value, dict):
        for key, part in value.items():
            _folders(key, found)
            _folders(part, found)
    elif isinstance(value, list):
        for part in value:
            _folders(part, found)
    elif isinstance(value, str):
        text = value.partition("=")[2] if value.startswith("--") else value
        if _is_path(text) and not text.startswith("."):
            found.add(re.split(r"[\\/][^\\/]*[\\/]?$", text.removeprefix("file://"))[0])


def _clean(value: Any, folders: list[str]) -> Any:
    if isinstance(value, dict):
        return {_clean(key, folders): _clean(part, folders) for key, part in value.items()}
    if isinstance(value, list):
        return [_clean(part, folders) for part in value]
    if not isinstance(value, str):
        return value
    option, equals, path = value.partition("=") if value.startswith("--") else ("", "", value)
    if _is_path(path):
        return option + equals + _last(path)
    for folder in folders:
        value = re.sub(re.escape(folder) + r"(?![\w.-])[\\/]?", "", value)
    return value


def _is_path(text: str) -> bool:
    return bool(_ABSOLUTE.fullmatch(text) or _RELATIVE.fullmatch(text))


def _last(path: str) -> str:
    """The last part, be the path of this system or of Windows'."""
    return PureWindowsPath(path).name or "."
