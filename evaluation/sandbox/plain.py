"""Values as JSON and back, for what passes between candidate and checker.

Only plain data come out, whatever went in: numbers, text, bytes, containers of them, and iterators
that have an end. Standard library only: the sandbox's worker loads this file by its path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

TYPE_CHECKING = False  # importing typing would cost every candidate that is a fresh interpreter
if TYPE_CHECKING:
    from typing import Any

MAX_ITEMS = 100_000  # of an iterator


def dumps(value: Any) -> bytes:
    """One line of JSON.

    Raises:
        TypeError: a value is not plain data.
    """
    return json.dumps(_tagged(value)).encode() + b"\n"


def loads(line: bytes) -> Any:
    """The value of one line."""
    return _untagged(json.loads(line))


def _tagged(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value
    # Subclasses (Counter, named tuples, ...) become their base, which is equal to them.
    for kind, convert in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if isinstance(value, kind):
            return convert(value)
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, bytes | bytearray):
        return ["bytes", bytes(value).hex()]
    if isinstance(value, dict):
        return ["dict", *([_tagged(k), _tagged(v)] for k, v in dict.items(value))]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, Iterator):
        # Equal to nothing, as where it came from; a test may still go through it.
        items = list(islice(value, MAX_ITEMS + 1))
        if len(items) > MAX_ITEMS:
            raise TypeError("an iterator with too many items is not plain data")
        return ["iterator", *map(_tagged, items)]
    for name, kind in (("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if isinstance(value, kind):
            return [name, *map(_tagged, kind.__iter__(value))]  # type: ignore[attr-defined]
    raise TypeError(f"a {type(value).__name__} is not plain data")


def _untagged(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    name, *parts = value
    if name == "complex":
        return complex(*parts)
    if name == "bytes":
        return bytes.fromhex(parts[0])
    if name == "range":
        return range(*parts)
    if name == "iterator":
        return map(_untagged, parts)
    if name == "dict":
        return {_untagged(k): _untagged(v) for k, v in parts}
    kind = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[name]
    return kind(map(_untagged, parts))
