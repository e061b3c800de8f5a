"""``report.html``: one page that holds everything and opens without a network.

Text of records is not trusted. The template escapes it, figures hold text as outlines, and the
page's own policy lets nothing run but its one script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.board import Board, spending
from harness.board_rows import BENCHMARKS
from harness.files import write_atomic
from harness.report.compared import Compared, pair
from harness.report.figures import Picture
from harness.report.style import embedded
from harness.report.table import contests, flops
from harness.single_task import SINGLE_TASK

_HERE = Path(__file__).parent
MICRO = "micro"  # the name of the embedded model


def write_page(
    board: Board, pictures: Sequence[Picture], path: Path, compared: Sequence[Compared] = ()
) -> Path:
    """Write the page and return its path."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"flops": flops, "score": _score, "duration": _duration}
    source = (_HERE / "page.html").read_text(encoding="utf-8")
    script = source.split("<script>")[1].split("</script>")[0]
    scored = [name for name in board.benchmarks if board.leaderboard[name].notna().any()]
    text = environment.get_template("page.html").render(
        contests=[(title, rows.to_dict("records")) for title, rows in contests(board.leaderboard)],
        benchmarks=scored or list(BENCHMARKS),
        compared=compared,
        pair=pair,
        figures=[
            (picture, Markup(inline_svg(picture.paths[f"{picture.name}_svg"], picture.name)))
            for picture in pictures
        ],
        failures=board.failures[["run_id", "status", "error"]].to_dict("records"),
        done=int((board.runs["status"] == "done").sum()),
        runs=len(board.runs),
        warnings=board.warnings,
        several={name: _several(board.leaderboard, name) for name in ("selector_model", "target")},
        single_task=bool((board.leaderboard["target"] == SINGLE_TASK).any()),
        micro=any(record.model == MICRO or embedded(record.pool) for record in board.records),
        spent=[
            (stage, row)
            for stage, row in spending(board.records).to_dict("index").items()
            if stage == "total" or row["flops"] or row["seconds"]
        ],
        provenance=provenance(board),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomic(path, text)
    return path


def inline_svg(path: Path, name: str) -> str:
    """A figure's ``<svg>`` element with ids of its own, ready to stand in the page."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    # The page decides the width; the view box keeps the proportions.
    head, rest = text.split(">", 1)
    width = re.search(r'width="([\d.]+)pt"', head)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    style = f' style="max-width:{float(width.group(1)) * 1.25:.0f}px"' if width else ""
    return f'{head} role="img" aria-labelledby="{name}-title"{style}>{rest}'


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


def _several(leaderboard: pd.DataFrame, name: str) -> bool:
    """Whether rows have to say which ``name`` they have."""
    shown = leaderboard.loc[leaderboard["part_of"] == "", name]
    return bool(shown[~shown.isin(["any", "none"])].nunique() > 1)


def _score(value: Any, digits: int = 1) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.{digits}f}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
