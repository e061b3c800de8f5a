"""The candidate: a process that gives up its rights and then runs what a model wrote.

In bubblewrap it is a fresh interpreter (``main``), by the other backends a copy of the worker.
Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import plain
from limits import Limits, end_with_parent, give_up_rights

TYPE_CHECKING = False  # importing typing would cost every candidate that is a fresh interpreter
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any


def serve(asked: int, tells: int, limits: Limits, *, writable: Collection[str]) -> None:
    """Say that it has started and with which guards, take the program, answer calls; ends.

    Args:
        asked: JSON lines: {code, entry_point}, then [arguments, named arguments] of each call.
        tells: JSON lines: {value} or {error, text}.
        limits: put on before anything of the program is read.
        writable: see ``give_up_rights``.
    """
    guards = give_up_rights(limits, writable=writable)
    end_with_parent()  # a change of the user has undone it
    warnings.simplefilter("ignore")  # of code that is parsed
    requests = os.fdopen(asked, "rb")
    _send(tells, {"value": guards})
    try:
        program = plain.loads(requests.readline())
        namespace: dict[str, Any] = {"__name__": "candidate"}
        exec(compile(program["code"], "candidate.py", "exec"), namespace)
        function = namespace[program["entry_point"]]
        _send(tells, {"value": None})
        for line in requests:
            arguments, named = plain.loads(line)
            try:
                _send(tells, {"value": function(*arguments, **named)})
            except Exception as error:
                _send(tells, _told(error))
    except BaseException as error:
        _send(tells, _told(error))
    finally:
        os._exit(0)


def _told(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)[:200]}


def _send(handle: int, message: dict[str, Any]) -> None:
    data = plain.dumps(message)
    while data:
        data = data[os.write(handle, data) :]


def main() -> None:
    """Serve as the arguments say: two pipe ends, limits, the folder to write in."""
    asked, tells, limits, work = sys.argv[1:]
    serve(int(asked), int(tells), Limits(**json.loads(limits)), writable=[work])
