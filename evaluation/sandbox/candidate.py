"""The candidate: a process that gives up its rights and then runs what a model wrote.

Run by bubblewrap as ``python -I -S candidate.py ASKED TELLS LIMITS``, by the other backends in a
copy of the worker. Standard library only.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plain
from limits import Limits, end_with_parent, give_up_rights


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


if __name__ == "__main__":
    import json

    serve(int(sys.argv[1]), int(sys.argv[2]), Limits(**json.loads(sys.argv[3])), writable=["/work"])
