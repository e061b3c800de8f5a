"""Measuring a length profile: first rows of the pool's seeded order, and the suite's prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.artifacts import Store
from harness.chat import Chat, Message
from harness.plan.lengths import COLUMNS, Profile
from harness.pool import prepare
from harness.settings import Settings

PROMPTS = 256  # test prompts of a benchmark that are counted, by even stride


def measure(settings: Settings, name: str, rows: int, source: str = "") -> Profile:
    """A profile of the first ``rows`` rows of the pool, of all queries and of some test prompts.

    The pool is prepared in the store, as a run would do it. Without ``suite.data`` the profile has
    no queries and no prompts.
    """
    from harness.answer_loss import assistant_header

    pool = prepare(settings.pool, Store(settings.store), progress=settings.progress)
    chat = settings.selector.load_chat()
    sampled = pool.rows(range(min(rows, pool.size)))
    texts = ["".join(m["content"] for m in row.messages) for row in sampled]
    queries, items = _suite(settings, chat) if settings.suite.data else ({}, {})
    said = source or (
        f"{len(sampled):,} rows of pool {settings.pool.label} ({pool.size:,} rows, {pool.digest}), "
        f"tokenizer of {settings.selector.name}"
    )
    return Profile(
        name=name,
        source=said,
        rows=table([row.messages for row in sampled], chat),
        pool_rows=pool.size,
        pool_bytes=round(sum(len(t.encode()) for t in texts) / len(texts), 1),
        header=len(assistant_header(chat)),
        queries=queries,
        items=items,
    )


def table(conversations: Sequence[Sequence[Message]], chat: Chat) -> np.ndarray:
    """int64 [rows, 5]: see ``Sample.table``."""
    uncut = 1 << 30
    whole = chat.encode(conversations, uncut, labels=True)
    prompts = chat.encode(conversations, uncut, span="prompt")
    found = np.zeros((len(conversations), len(COLUMNS)), dtype=np.int64)
    for index, (row, prompt) in enumerate(zip(whole, prompts, strict=True)):
        labels = np.flatnonzero(row.is_label[1:]) + 1
        turns = int((np.diff(labels) > 1).sum()) + 1 if len(labels) else 0
        read = int(labels[-1]) if len(labels) else 0
        found[index] = (len(row.ids), len(prompt.ids), read, len(labels), turns)
    return found


def _suite(settings: Settings, chat: Chat) -> tuple[dict[str, Any], dict[str, Any]]:
    suite = settings.suite
    queries = {
        task: table([query.messages for query in found], chat)
        for task, found in suite.queries().items()
    }
    items = {}
    for task, benchmark in suite.benchmarks.items():
        found, _ = benchmark.test_items(suite.source())
        some = found[:: max(1, len(found) // PROMPTS)][:PROMPTS]
        texts = [
            chat.render([{"role": "user", "content": item.prompt}], generation_prompt=True)
            + item.prefix
            for item in some
        ]
        lengths = [len(ids) for ids in chat.tokenise(texts)["input_ids"]]
        items[task] = {"items": len(found), "chosen": bool(found[0].choices), "prompts": lengths}
    return queries, items
