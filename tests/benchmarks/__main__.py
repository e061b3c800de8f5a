"""Run the benchmarks, print a table and write it down.

    python -m tests.benchmarks                 all (what `make bench` does)
    python -m tests.benchmarks encode ranking  some
    python -m tests.benchmarks gpu             the pass at an 8B model's shape, on a GPU

Ratios within one run: figures of different runs or machines do not compare.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path

from harness.files import write_atomic
from harness.versions import hardware, package_versions
from tests.benchmarks.frame import Row

# Each a module with rows() -> list[Row].
SUITES = ("encode", "ranking", "less", "evaluation", "sandbox", "pool_scale")
OUT = Path("outputs/bench/bench.json")


def main() -> int:
    """Exit code 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"of {', '.join(SUITES)}, gpu")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found: list[Row] = []
    for name in options.suites:
        print(f"... {name}", flush=True)
        for row in importlib.import_module(f"tests.benchmarks.{name}").rows():
            found.append(row)
            print(_line(row), flush=True)
    report = {
        "hardware": hardware(),
        "versions": package_versions(),
        "load_average": os.getloadavg(),
        "rows": [row.plain() for row in found],
    }
    write_atomic(options.out, json.dumps(report, indent=1) + "\n")
    print(f"\n{'name':<58} {'ours':>10} {'baseline':>10} {'ratio':>7}  unit, target, met")
    for row in found:
        print(_line(row))
    print(f"\n{options.out}")
    return int(any(row.met is False for row in found))


def _line(row: Row) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.4g}"

    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return (
        f"{row.name:<58} {number(row.ours):>10} {number(row.baseline):>10} "
        f"{number(row.ratio):>7}  {row.unit}; {row.target}; {met}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
