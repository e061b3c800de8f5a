"""How every figure looks: colours, markers, names, and saving as PNG, SVG and CSV."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.board import csv
from harness.board_rows import REFERENCE_METHOD
from harness.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Chosen by search for the largest smallest distance between any two of them and the reference's
# grey, seen with and without deuteranopia or protanopia (tests/harness/test_report.py measures it);
# dark enough for a name in that colour on white.
PALETTE = (
    "#5566dd", "#dd8800", "#3399aa", "#994488", "#777700",
    "#2233aa", "#ee5577", "#660066", "#cc77ee", "#991100",
)  # fmt: skip
REFERENCE_COLOUR = "#4d4d4d"
FLOOR_COLOUR = "#767676"
OTHER_COLOUR = "#c8c8c8"
MARKERS = "osD^vP*X<>"

SETTINGS: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "legend.frameon": False,
    "svg.hashsalt": "winnow",  # the same ids in every build
    "text.parse_math": False,  # names come from records: a dollar sign is a dollar sign
}


def embedded(pool: str) -> bool:
    """Whether a pool is the embedded one, in whatever order."""
    return pool.partition("[")[0] == "micro"


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour per method that depends on its name, and on the others only to avoid a clash."""
    chosen: dict[str, str] = {}
    free: list[str] = []
    for name in sorted(set(methods)):
        if name == REFERENCE_METHOD:
            chosen[name] = REFERENCE_COLOUR
            continue
        free = free or list(PALETTE)  # more methods than colours: start over
        want = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(PALETTE)
        order = [*PALETTE[want:], *PALETTE[:want]]
        chosen[name] = next(colour for colour in order if colour in free)
        free.remove(chosen[name])
    return chosen


def markers(values: Iterable[int]) -> dict[int, str]:
    """A marker per budget, in order of size."""
    return {value: MARKERS[at % len(MARKERS)] for at, value in enumerate(sorted(set(values)))}


def short(text: str, width: int = 30) -> str:
    """``text`` on one line, its middle left out where it is longer than ``width``."""
    text = " ".join(text.split())
    tail = width // 3
    return text if len(text) <= width else f"{text[: width - tail - 1]}…{text[-tail:]}"


def panels(leaderboard: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Cells that may stand on common axes: one panel per suite, judge, model and recipe.

    Only cells with a mean, and not those that a ``single_task`` cell stands for; floors that were
    not trained stand in every panel of their model. Adds ``series``: the method, with those of its
    choices that differ between the panel's cells.
    """
    scored = leaderboard[leaderboard["mean"].notna() & (leaderboard["part_of"] == "")]
    rivals = scored[~scored["floor"].astype(bool)]
    base = ["suite", "judge", "model"]
    keys = [*base, "recipe"]
    found = []
    for _, rows in (rivals if len(rivals) else scored).groupby(keys, sort=True):
        first = rows.iloc[0]
        floors = scored[scored["floor"].astype(bool)]
        same = (floors[base] == first[base]).all(axis=1)
        fits = same & (floors["recipe"].isin([first["recipe"], "none"]))
        panel = pd.concat([rows[~rows["floor"].astype(bool)], floors[fits]], ignore_index=True)
        found.append((first, panel.assign(series=_series(panel))))
    varying = [key for key in keys if len({first[key] for first, _ in found}) > 1]
    return [(", ".join(f"{key} {first[key]}" for key in varying), panel) for first, panel in found]


LARGEST = ("pool", "pool_size", "budget")


def largest(leaderboard: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The first panel's name and its rivals at the largest pool size and budget.

    ``attrs["methods"]`` names all rivals of the board, so that a figure of some of them gives each
    the colour that it has in the others.
    """
    found = panels(leaderboard)
    rivals = [panel[~panel["floor"].astype(bool)] for _, panel in found]
    if not rivals or rivals[0].empty:
        return "", pd.DataFrame()
    keys = list(LARGEST)
    cell = rivals[0].sort_values(["pool_size", "budget", "pool"]).iloc[-1]
    chosen = rivals[0][(rivals[0][keys] == cell[keys]).all(axis=1)]
    chosen.attrs["methods"] = sorted({name for panel in rivals for name in panel["method"]})
    return found[0][0], chosen


def _series(panel: pd.DataFrame) -> list[str]:
    rivals = panel[~panel["floor"].astype(bool)]
    varying = [
        name
        for name in ("target", "selector_model", "pool")
        if rivals.loc[~rivals[name].isin(["any", "none"]), name].nunique() > 1
    ]
    return [
        " · ".join([row["method"], *(row[n] for n in varying if row[n] not in ("any", "none"))])
        for _, row in panel.iterrows()
    ]


def intervals(panel: pd.DataFrame, name: str = "mean") -> pd.DataFrame:
    """Columns ``low``, ``high`` and ``error_kind`` for a score (``mean`` or a benchmark's column).

    The mean's is the board's interval, of items and seeds; where it has none, and for a benchmark,
    1.96 standard errors of the test items. Without either, both ends are the score itself.
    """
    score = panel[name].astype(float)
    spread = 1.96 * panel[f"{name}_stderr"].astype(float)
    low, high = score - spread, score + spread
    kind = pd.Series("items", index=panel.index).where(spread.notna(), "")
    if name == "mean":
        own = panel["mean_low"].notna()
        low = panel["mean_low"].astype(float).where(own, low)
        high = panel["mean_high"].astype(float).where(own, high)
        kind = kind.mask(own, "board")
    return pd.DataFrame({"low": low.fillna(score), "high": high.fillna(score), "error_kind": kind})


def log_ticks(axes: Axes) -> None:
    """Ticks such as 10¹² on a logarithmic x axis, with 2 and 5 between where it is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    steps = (1.0, 2.0, 5.0) if decades < 1.8 else (1.0, 3.0) if decades < 3.2 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))


def power_of_ten(value: float) -> str:
    """``2e13`` as ``2×10¹³``."""
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}×{power}"


def empty_figure(message: str) -> Figure:
    """A small figure that says why there is nothing to draw."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.6))
    figure.text(0.5, 0.5, message, ha="center", va="center", color=FLOOR_COLOUR)
    return figure


def save(figure: Figure, data: pd.DataFrame, folder: Path, name: str) -> dict[str, Path]:
    """Write ``name.png``, ``name.svg`` and ``name.csv`` into ``folder``.

    Text that sticks out of the figure widens the picture instead of being cut.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {f"{name}_{kind}": folder / f"{name}.{kind}" for kind in ("png", "svg", "csv")}
    # Laid out and measured once, not for every format.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    bounds = figure.get_tightbbox().padded(0.12)
    for kind, dpi in (("png", 150), ("svg", 72)):
        stream = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(
            stream, format=kind, dpi=dpi, metadata=metadata, bbox_inches=bounds, facecolor="white"
        )
        paths[f"{name}_{kind}"].write_bytes(stream.getvalue())
    write_atomic(paths[f"{name}_csv"], csv(data))
    return paths


def rows_label(count: int) -> str:
    """``2000`` as ``2,000 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def spread(wanted: Sequence[float], height: float, low: float, high: float) -> list[float]:
    """Positions as near as possible to ``wanted`` that are ``height`` apart, within bounds.

    Where they do not all fit, they overlap evenly.
    """
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    if len(order) > 1:
        height = min(height, (high - low) / (len(order) - 1))
    placed = [0.0] * len(wanted)
    floor = low
    for at in order:
        placed[at] = floor = max(wanted[at], floor)
        floor += height
    ceiling = high
    for at in reversed(order):
        placed[at] = ceiling = min(placed[at], ceiling)
        ceiling -= height
    return placed
