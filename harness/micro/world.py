"""Write the micro world: a pool, and seven benchmarks in the real ones' file formats."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

from harness.micro import chatter
from harness.micro.conversation import Conversation
from harness.micro.skills import (
    everyday_requests,
    grade_school_sums,
    many_languages,
    passage_questions,
    school_facts,
    small_functions,
    word_puzzles,
)
from harness.seeds import derive

SKILLS = (
    school_facts,
    grade_school_sums,
    word_puzzles,
    many_languages,
    small_functions,
    passage_questions,
    everyday_requests,
)

# Rows of each source. The first seven hold the benchmarks' skills, the others nothing of them.
SKILL_SOURCES = {
    "school_facts": (school_facts, 300),
    "grade_school_sums": (grade_school_sums, 310),
    "word_puzzles": (word_puzzles, 300),
    "many_languages": (many_languages, 290),
    "small_functions": (small_functions, 300),
    "passage_questions": (passage_questions, 300),
    "everyday_requests": (everyday_requests, 300),
}
CHATTER_SOURCES: dict[str, tuple[Callable[[random.Random], Conversation], int]] = {
    "small_talk": (chatter.small_talk, 6000),
    "word_lists": (chatter.word_lists, 4200),
    "travel_notes": (chatter.travel_notes, 3100),
    "shop_dialogues": (chatter.shop_dialogues, 1900),
    "letter_copying": (chatter.letter_copying, 1300),
    "opinions": (chatter.opinions, 900),
    "market_labels": (chatter.market_labels, 400),
    "muddled_exams": (chatter.muddled_exams, 200),
}


def build(out_dir: Path, seed: int = 0) -> None:
    """Write `out_dir/pool` and `out_dir/benchmarks`, the same bytes for the same seed."""
    for source, conversations in pool(seed).items():
        rows = [
            {"id": f"{source}_{n}", "dataset": source, "messages": messages}
            for n, messages in enumerate(conversations)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        _write(out_dir / "pool" / f"{source}.jsonl.gz", text)
    for path, text in benchmarks(seed).items():
        _write(out_dir / "benchmarks" / path, text)


def pool(seed: int) -> dict[str, list[Conversation]]:
    """Return the conversations of every source."""
    sources = {name: skill.pool_rows(seed, n) for name, (skill, n) in SKILL_SOURCES.items()}
    for name, (talk, n) in CHATTER_SOURCES.items():
        sources[name] = _different(talk, random.Random(derive(seed, f"chatter: {name}")), n)
    return sources


def benchmarks(seed: int) -> dict[str, str]:
    """Return every benchmark file as {path below `benchmarks/`: text}."""
    files: dict[str, str] = {}
    for skill in SKILLS:
        files.update(skill.benchmark(seed))
    return files


def _different(
    talk: Callable[[random.Random], Conversation], rng: random.Random, count: int
) -> list[Conversation]:
    """Draw conversations until `count` are there that all differ."""
    rows: dict[str, Conversation] = {}
    while len(rows) < count:
        row = talk(rng)
        rows.setdefault(json.dumps(row), row)
    return list(rows.values())


def _write(path: Path, text: str) -> None:
    """Write text, compressed without a time stamp if the name ends in `.gz`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
