"""Per-item results on disk."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

from evaluation.base import Item


def write_items(
    path: Path,
    items: Sequence[Item],
    prompt_hashes: Sequence[str],
    outputs: Sequence[Sequence[str]],
    values: Sequence[float],
) -> None:
    """Write one JSON line per item: item_id, subject, prompt_hash, outputs, target, score.

    The file is packed without a time stamp, so equal results give equal bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "item_id": item.id,
                "subject": item.group,
                "prompt_hash": prompt_hash,
                "outputs": list(texts),
                "target": item.target,
                "score": value if value == value else None,  # NaN: no verdict
            },
            ensure_ascii=False,
        )
        for item, prompt_hash, texts, value in zip(
            items, prompt_hashes, outputs, values, strict=True
        )
    ]
    # Lone surrogates, which a byte-level model can write, have no UTF-8 form.
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(gzip.compress(data, mtime=0))
    os.replace(part, path)
