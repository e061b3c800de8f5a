"""``python -m harness.pool``: build the paper's pools from their public sources."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.memory import peak_memory_mb
from harness.pool.build import Built, build
from harness.pool.config import PoolError
from harness.pool.recipe import Recipe, names, read_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0, 1 if counts differ from the paper's, 2 for a usage or source error, 130
        if it was interrupted.
    """
    args = _parser().parse_args(arguments)
    try:
        recipe = read_recipe(args.recipe)
        if args.command == "sources":
            print(listing(recipe))
            return 0
        start = time.perf_counter()
        out = args.out or Path("outputs/pools") / recipe.name
        only = [name for name in (args.sources or "").split(",") if name]
        built = build(recipe, out, local=args.from_, only=only, limit=args.limit)
    except PoolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished shard", file=sys.stderr)
        return 130
    print(report(built))
    print(
        f"{out}: {sum(one.counts.rows for one in built):,} rows in "
        f"{time.perf_counter() - start:.0f} s, {peak_memory_mb():,.0f} MB at most"
    )
    return _verdict(built, args.allow_count_differences)


def _verdict(built: Sequence[Built], allowed: bool) -> int:
    if any(one.reference is None for one in built):
        print("counts were not compared: --limit read a part of each source")
        return 0
    other = [one for one in built if one.difference]
    if not other:
        return 0
    for one in other:
        print(
            f"{one.name}: {abs(one.difference):,} rows {'more' if one.difference > 0 else 'fewer'} "
            f"than the paper's {one.reference:,}" + (f" ({one.note})" if one.note else ""),
            file=sys.stderr,
        )
    if allowed:
        return 0
    print(
        "error: the pool is not the paper's. It is written and can be used as it is; "
        "--allow-count-differences says that it should be",
        file=sys.stderr,
    )
    return 1


def report(built: Sequence[Built]) -> str:
    """What became of every source, as a table."""
    lines: list[tuple[str, ...]]
    lines = [("source", "records", "rejected", "duplicates", "rows", "paper", "difference")]
    for one in built:
        counts = one.counts
        numbers = (counts.records, counts.rejected, counts.duplicates, counts.rows)
        compared = (
            ("-", "-") if one.reference is None else (f"{one.reference:,}", f"{one.difference:+,}")
        )
        lines.append((one.name, *(f"{number:,}" for number in numbers), *compared))
    reasons = [f"{one.name}, {reason}" for one in built for reason in one.counts.reasons[:3]]
    return "\n".join([_aligned(lines), *reasons])


def listing(recipe: Recipe) -> str:
    """The sources of a recipe: the paper's counts, where they come from, what is uncertain."""
    lines = [("source", "paper", "from", "form")]
    notes = []
    for name, source in recipe.sources.items():
        origin = source.origin
        place = origin.repo + (f"@{origin.revision[:7]}" if origin.revision else "")
        gated = " (gated)" if origin.gated else ""
        lines.append((name, f"{source.rows:,}", place + gated, source.form.form))
        notes += [f"{name}: {source.note}"] if source.note else []
    return "\n".join([_aligned(lines, right=(1,)), f"total: {recipe.rows:,}", *notes])


def _aligned(lines: Sequence[tuple[str, ...]], right: Sequence[int] = range(1, 7)) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.pool", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    what = f"{', '.join(names())}, or a YAML file of your own"
    one = commands.add_parser("build", help="build a pool, or what is missing of it")
    one.add_argument("recipe", help=what)
    one.add_argument("--out", type=Path, help="folder of the pool; default: outputs/pools/RECIPE")
    one.add_argument(
        "--from", dest="from_", type=Path, metavar="DIR",
        help="read DIR/owner/name/files and download nothing",
    )  # fmt: skip
    one.add_argument("--sources", metavar="A,B", help="only these")
    one.add_argument("--limit", type=int, metavar="N", help="the first N records of every source")
    one.add_argument("--allow-count-differences", action="store_true")
    two = commands.add_parser("sources", help="what a pool is built from")
    two.add_argument("recipe", help=what)
    return parser


if __name__ == "__main__":
    sys.exit(main())
