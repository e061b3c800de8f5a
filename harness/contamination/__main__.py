"""``python -m harness.contamination``: which rows of a pool hold which benchmark texts."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from harness.artifacts import Store
from harness.contamination.found import Found, scan, texts_of
from harness.contamination.index import RULES, Detector
from harness.contamination.texts import PARTS
from harness.memory import peak_memory_mb
from harness.pool import PoolConfig, PoolError, prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan a pool and print what was found; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        detector = Detector(ngram=args.ngram, threshold=args.threshold)
        suite = _suite(args.suite, args.data)
        suite.check()
        store = Store(args.store)
        config = PoolConfig(name="pool", path=str(args.pool), format=args.format, size=args.size)
        pool = prepare(config, store)
    except (ValueError, PoolError, OSError) as error:  # bad settings, data or pool
        print(f"error: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    outside = args.data if args.data.is_dir() else None
    texts = texts_of(suite, store, outside=outside)
    read = time.perf_counter() - start
    found = scan(pool, texts, store, detector=detector)
    print(table(found))
    print(examples(found, args.examples))
    if args.out:
        with args.out.open("w", encoding="utf-8") as stream:
            for line in found.lines():
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(f"every flagged pair of row and text: {args.out}")
    print(
        f"{time.perf_counter() - start:.1f} s, {read:.1f} of them to read the texts "
        f"(finding: {found.seconds:.1f} s, whenever it was done); {peak_memory_mb():.0f} MB"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.contamination",
        description="Finds rows of a pool that hold whole texts of benchmarks.",
    )
    parser.add_argument("--pool", type=Path, required=True, help="as pool.path")
    parser.add_argument("--data", type=Path, required=True, help="as suite.data: a folder")
    parser.add_argument("--suite", default="paper", help="of conf/suite, or a YAML file")
    parser.add_argument("--format", default="auto", help="as pool.format")
    parser.add_argument("--size", type=int, default=None, help="as pool.size")
    parser.add_argument("--store", type=Path, default=Path("outputs/store"), help="as store")
    parser.add_argument("--ngram", type=int, default=13, help="words of an n-gram")
    parser.add_argument("--threshold", type=float, default=0.8, help="share of a text's n-grams")
    parser.add_argument("--examples", type=int, default=2, help="rows shown a benchmark and rule")
    parser.add_argument("--out", type=Path, default=None, help="all that was found, as JSON lines")
    return parser


def _suite(name: str, data: Path) -> Any:
    from importlib.resources import files

    from omegaconf import OmegaConf

    from harness.settings import instantiate

    path = Path(name)
    text = (
        path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml")
        else files("conf.suite").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    )
    config = OmegaConf.create(text)
    config.data = str(data)
    config.allow_code_execution = True  # nothing is run here, and the check would ask for it
    config.limit = None
    return instantiate(cast("dict[str, Any]", OmegaConf.to_container(config)))


def table(found: Found) -> str:
    """Rows flagged by benchmark, part and rule, then by source."""
    summary = found.summary("report")
    texts = Counter(found.texts.group.tolist())
    numbers = {group: i for i, group in enumerate(found.texts.groups)}
    head = ("benchmark", "part", "texts", "rows", *RULES)
    lines = [head]
    for benchmark in summary.benchmarks:
        for part in PARTS:
            number = numbers.get((benchmark, part))
            if number is None:
                continue
            here = found.texts.group[found.text] == number
            by_rule = (len(set(found.row[here & (found.rule == i)])) for i in range(len(RULES)))
            rows = summary.benchmarks[benchmark][part]
            lines.append((benchmark, part, *(f"{n:,}" for n in (texts[number], rows, *by_rule))))
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(head))]
    shown = [
        "  ".join(
            str(cell).ljust(width) if i < 2 else str(cell).rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    rules = ", ".join(f"{rule} {count:,}" for rule, count in summary.rules.items())
    sources = found.pool.count_sources(found.rows)
    most = sorted(sources.items(), key=lambda entry: -entry[1])
    return "\n".join(
        [
            *shown,
            f"{summary.flagged:,} of {summary.rows:,} rows hold a text (first rule: {rules})",
            "by source: " + (", ".join(f"{name} {count:,}" for name, count in most) or "none"),
        ]
    )


def examples(found: Found, count: int) -> str:
    """``count`` pairs of row and text of each benchmark, part and rule, picked by a fixed seed."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (text, rule) in enumerate(zip(found.text, found.rule, strict=True)):
        groups.setdefault((int(found.texts.group[text]), int(rule)), []).append(i)
    pick = random.Random(0)
    shown = {i for some in groups.values() for i in pick.sample(some, min(count, len(some)))}
    return "\n".join(
        f"{line['benchmark']} {line['part']} {line['rule']} {line['share']:.2f}  "
        f"{line['id']} ({line['role']}): {' '.join(line['text'].split())[:110]}"
        for line in found.lines(only=shown.__contains__)
    )


if __name__ == "__main__":
    sys.exit(main())
