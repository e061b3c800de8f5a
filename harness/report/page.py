"""``report.html``: one page that holds everything and opens without a network.

Text of records is not trusted. The template escapes it, the script writes it as text only, and the
page's own policy lets two scripts run, known by their hashes, and nothing be fetched or sent.

The charts are drawn by plotly.js, from the file that the Python package ``plotly`` ships: it draws
SVG, so that what it shows is text in the page, it runs under a policy without ``eval``, and its
package is in the same registry as all else here. It stands in the page compressed (1.4 of 4.8 MB)
and is unpacked when the first chart comes into view.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.board import Board, spending
from harness.board_rows import BENCHMARKS
from harness.files import write_atomic
from harness.report import composition_figure
from harness.report.compared_scores import Compared
from harness.report.figures import FIGURES
from harness.report.pageboard import board_groups, heads
from harness.report.pagedata import page_data
from harness.report.published import figure, page_points
from harness.report.selected import Selections
from harness.report.style import embedded
from harness.report.table import decision_text, flops
from harness.single_task import SINGLE_TASK

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "charts.js", "published.js", "board.js")
MICRO = "micro"  # the name of the embedded model


def write_page(
    board: Board,
    path: Path,
    compared: Sequence[Compared] = (),
    folders: Sequence[Path] = (),
    *,
    refresh_seconds: int | None = None,
    progress: Mapping[str, int] | None = None,
) -> Path:
    """Write the page and return its path.

    Args:
        board: from records.
        path: the file.
        compared: published tables with ours beside them.
        folders: where the records lie; runs beside them tell the scores of what was selected.
        refresh_seconds: the page loads itself anew after so many seconds and keeps its place,
            sorting and filters; for a sweep that is running.
        progress: how many runs are ``done, running, failed, left``, for a line at the top.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"flops": flops, "duration": _duration}
    data = page_data(board, Selections(folders)) | {
        "published": page_points(compared),
        "compositions": composition_figure.page_bars(compared),
    }
    benchmarks = data["benchmarks"] or list(BENCHMARKS)
    script = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    library, size, library_hash = _library()
    text = environment.get_template("page.html").render(
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        library=Markup(library),
        library_bytes=size,
        hashes=[_sha256(script.encode()), library_hash],
        data=Markup(_json(data)),
        heads=heads(board, benchmarks),
        groups=board_groups(board, benchmarks),
        reference=board.statistics.reference,
        held=bool(board.leaderboard["difference"].notna().any()),
        decisions=[decision_text(row) for row in board.statistics.decisions],
        compared=compared,
        figures=[*FIGURES, *figure(compared), *composition_figure.figures(compared)],
        failures=board.failures[["run_id", "status", "error"]].to_dict("records"),
        done=int((board.runs["status"] == "done").sum()),
        runs=len(board.runs),
        refresh_seconds=refresh_seconds,
        progress=_progress(progress),
        warnings=[*board.warnings, *board.statistics.notes],
        single_task=bool((board.leaderboard["target"] == SINGLE_TASK).any()),
        micro=any(record.model == MICRO or embedded(record.pool) for record in board.records),
        spent=[
            (stage, row)
            for stage, row in spending(board.records).to_dict("index").items()
            if stage == "total" or row["flops"] or row["seconds"]
        ],
        provenance=provenance(board),
    )
    write_atomic(path, text)
    return path


def provenance(board: Board) -> list[tuple[str, list[tuple[str, int]]]]:
    """What the runs were made with: each property's values and how many runs had them."""
    rows: dict[str, Counter[str]] = {}

    def note(name: str, values: Iterable[Any]) -> None:
        rows.setdefault(name, Counter()).update(str(v) for v in values if v not in (None, ""))

    for record in board.records:
        for name in ("suite", "judge", "model", "selector_model", "recipe", "git_commit"):
            note(name.replace("_", " "), [getattr(record, name)])
        note("chat template hash", [record.chat_template_hash])
        for name, value in sorted(record.digests.items()):
            whose = f"{record.pool} {record.pool_size:,}: " if name == "pool" else ""
            if not whose or record.pool_size:  # a run that trains on nothing has no pool
                note(f"{name} digest", [f"{whose}{value}"])
        note("seed", [record.seed])
        note("hardware", [", ".join(f"{k} {v}" for k, v in sorted(record.hardware.items()))])
        for name, value in sorted(record.versions.items()):
            note(f"version of {name}", [value])
    return [(name, sorted(values.items())) for name, values in rows.items() if values]


@functools.cache
def _library() -> tuple[str, int, str]:
    """plotly.js compressed as base64 text, its size in bytes, and the hash of its source.

    Raises:
        FileNotFoundError: the package ``plotly`` is not there or does not hold it.
    """
    found = importlib.util.find_spec("plotly")  # importing it would take longer than all the rest
    folders = found.submodule_search_locations if found else None
    file = Path(next(iter(folders or ["plotly"]))) / "package_data" / "plotly.min.js"
    # What a script element runs is text with plain line ends, and so is what its hash is of.
    source = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    packed = base64.b64encode(gzip.compress(source, 6, mtime=0)).decode()
    return packed, len(source), _sha256(source)


def _sha256(text: bytes) -> str:
    return base64.b64encode(hashlib.sha256(text).digest()).decode()


def _json(data: Any) -> str:
    """JSON that can stand in a script element whatever it says."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _progress(counts: Mapping[str, int] | None) -> dict[str, Any] | None:
    """The counts, their total, and what the line says."""
    if counts is None:
        return None
    known = {name: int(counts.get(name, 0)) for name in ("done", "running", "failed", "left")}
    total = sum(known.values())
    words = [f"{known['done']} of {total} runs done"]
    words += [f"{known[name]} {name}" for name in ("running", "failed", "left") if known[name]]
    return {**known, "total": total, "words": ", ".join(words)}


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
