"""``python -m harness.plan [-m] [KEY=VALUE ...]``: the words of ``python -m harness``, priced."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from pathlib import Path

from harness.hub import ModelError
from harness.overrides import UsageError
from harness.plan.cells import cells
from harness.plan.hardware import UTILISATION, Hardware, devices
from harness.plan.lengths import ProfileError, names, read_profile
from harness.settings import Settings

EPILOG = """\
examples:
  python -m harness.plan experiment=demo
  python -m harness.plan -m method=random,rds_plus,less pool.size=200000,5817792 scale=llama2_7b
  python -m harness.plan --measure my_pool.json scale=llama2_7b pool.path=DIR suite.data=DIR
  python -m harness.plan --profile my_pool.json experiment=single_task scale=llama2_7b
"""


def main(arguments: list[str] | None = None) -> int:
    """Plan a sweep, or measure the lengths that a plan is made from. Returns the exit code."""
    started = time.perf_counter()
    known, words = _parser().parse_known_args(arguments)
    words = [*(["-m"] if known.multirun else []), *words]
    warnings.filterwarnings("ignore", category=FutureWarning)
    for library in ("fvcore", "httpx", "urllib3"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        found = cells(words)
        if known.measure:
            return _measure(known, found)
        hardware = _hardware(known)
        name = known.profile or ("micro" if found[0].pool.path == "micro" else "mixed")
        profile = read_profile(name)
        from harness.plan.show import as_json, show
        from harness.plan.sweep import plan_sweep

        sweep = plan_sweep(found, profile, known.rows)
    except (UsageError, ProfileError, ModelError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started
    plan = as_json(sweep, profile, hardware, known.utilisation, seconds)
    if known.json:
        print(json.dumps(plan, indent=1))
    else:
        show(sweep, plan, hardware, known.utilisation)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.plan",
        description="What a sweep will cost, before anything runs and without weights or data.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="a sweep over lists of values"
    )
    parser.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help=f"token lengths: {', '.join(names())}, or a file of --measure",
    )
    parser.add_argument(
        "--hardware",
        default="h100_sxm,a100_80gb,l40s,rtx_4090",
        metavar="NAMES",
        help=f"of {', '.join(devices())}",
    )
    parser.add_argument("--tflops", type=float, help="peak of a device that is not in the table")
    parser.add_argument(
        "--utilisation",
        type=float,
        default=UTILISATION,
        metavar="SHARE",
        help=f"of the dense bf16 peak that is reached (default: {UTILISATION})",
    )
    parser.add_argument("--rows", type=int, help="of a pool whose pool.size is not given")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--measure", type=Path, metavar="FILE", help="measure a length profile")
    parser.add_argument(
        "--sample", type=int, default=4096, help="rows to measure (default: 4096)", metavar="ROWS"
    )
    return parser


def _hardware(known: argparse.Namespace) -> dict[str, Hardware]:
    if not 0 < known.utilisation <= 1:
        raise ValueError(f"--utilisation {known.utilisation}: a share above 0, at most 1")
    if known.tflops:
        given = Hardware(f"{known.tflops:g} TFLOP/s", known.tflops, 0, "given with --tflops")
        return {"given": given}
    wanted = known.hardware.split(",")
    for name in wanted:
        if name not in devices():
            raise ValueError(f"--hardware {name}: there are {', '.join(devices())}; or --tflops")
    return {name: devices()[name] for name in wanted}


def _measure(known: argparse.Namespace, found: list[Settings]) -> int:
    from harness.artifacts import Store
    from harness.plan.measure import measure
    from harness.run import locate_micro

    settings = locate_micro(found[0], Store(found[0].store))
    profile = measure(settings, known.measure.stem, known.sample)
    profile.write(known.measure)
    mean = profile.sample.column("tokens").mean()
    print(f"{known.measure}: {mean:.1f} tokens a row (standard error {profile.error:.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
