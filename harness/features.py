"""Features of pool rows and queries, computed once and kept in fixed row ranges.

A range depends on the prepared pool alone, not on the pool size in use or on how many jobs work, so
one pass serves every pool size, budget and seed of a sweep, and several jobs share the work: each
takes the ranges that no other job is at. A stop loses at most one range.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from harness.artifacts import Artifact, Store
from harness.chat import Chat, Message, Span
from harness.component import Component
from harness.files import digest
from harness.memory import peak_memory_mb
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.encoder import Encoding

VERSION = 1  # of the numbers: raise it when the same inputs give other features


class FeatureSettings(Component):
    """How features are computed.

    Attributes:
        max_length: tokens of a row that count; longer rows are cut on the right (paper: 2,048).
        rows_per_range: rows in one stored range.
        max_tokens: padded tokens in one batch: about 2,000 on CPU, 16,000 and more on a GPU.
        with_losses: compute losses in every pass, so that perplexity methods of the same sweep find
            them; costs the language-model head where only hidden states were asked for.
    """

    max_length: int = Field(default=2048, gt=1)
    rows_per_range: int = Field(default=1024, gt=0)
    max_tokens: int = Field(default=2048, gt=0)
    with_losses: bool = False


class LoadedModel:
    """A selector model that is loaded when the first row has to be encoded, and not before."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    @cached_property
    def chat(self) -> Chat:
        """The tokenizer with its template."""
        return self.config.load_chat()

    @cached_property
    def model(self) -> PreTrainedModel:
        """The weights."""
        return self.config.load()

    @cached_property
    def max_length(self) -> int:
        """The longest sequence that the architecture takes."""
        text = self.config.load_config().get_text_config()
        return int(getattr(text, "max_position_embeddings", sys.maxsize))

    def close(self) -> None:
        """Free the weights."""
        self.__dict__.pop("model", None)


class Features:
    """Hidden-state poolings, losses and lengths of a pool's rows and of queries.

    ``span`` says which text of a row is read (paper B.1).
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        model: LoadedModel,
        settings: FeatureSettings,
        *,
        progress: bool = True,
    ) -> None:
        self.store, self.pool, self.model = store, pool, model
        self.settings, self.progress = settings, progress
        self._model_identity = model.config.content_identity()
        self.max_length = min(settings.max_length, model.max_length)

    def _identity(self, kind: str, span: Span) -> dict[str, Any]:
        return {
            "version": VERSION,
            "kind": kind,
            "model": self._model_identity,
            "max_length": self.max_length,
            "span": span,
        }

    # -- the pool ------------------------------------------------------------------------------

    def pool_poolings(self, pooling: str, span: Span) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width], in pool order, of the rows in use."""
        for rows, artifact in self.ensure("hidden", span):
            yield _load(artifact, pooling)[: max(0, self.pool.size - rows.start)]

    def pool_losses(self, span: Span) -> tuple[np.ndarray, np.ndarray]:
        """Summed losses float64 [rows] in nats and predicted tokens int64 [rows]."""
        parts = [
            (_load(artifact, "loss_sum"), _load(artifact, "lengths"))
            for _, artifact in self.ensure("losses", span)
        ]
        size = self.pool.size
        loss = np.concatenate([part[0] for part in parts])[:size]
        lengths = np.concatenate([part[1] for part in parts])[:size]
        return loss, lengths.astype(np.int64) - 1

    def pool_lengths(self, kind: str, span: Span) -> tuple[np.ndarray, float, float, bool]:
        """What the pass over the rows in use costs.

        Returns:
            lengths int32 [rows in use]; seconds; peak memory in MB; whether all was there already.
        """
        lengths, seconds, memory, reused = [], 0.0, 0.0, True
        for rows, artifact in self.ensure(kind, span):
            used = min(len(rows), self.pool.size - rows.start)
            lengths.append(_load(artifact, "lengths")[:used])
            seconds += artifact.info["seconds"] * used / len(rows)
            memory = max(memory, artifact.info["peak_memory_mb"])
            reused &= artifact.reused
        return np.concatenate(lengths), seconds, memory, reused

    @cached_property
    def _done(self) -> dict[tuple[str, Span], list[tuple[range, Artifact]]]:
        return {}

    def ensure(self, kind: str, span: Span) -> list[tuple[range, Artifact]]:
        """Every stored range that covers the rows in use, computing what is missing.

        ``kind``: ``hidden`` (all poolings), ``losses`` (which yields the poolings too), or
        ``tokens`` (lengths of the whole row, uncut, by the tokenizer alone).
        """
        if (kind, span) in self._done:
            return self._done[kind, span]
        from harness.progress import RowProgress

        ranges = self.pool.ranges(self.settings.rows_per_range)
        found: dict[int, Artifact] = {}
        with RowProgress(f"{kind} ({span})", self.pool.size, show=self.progress) as bar:
            for wait in (False, True):  # first what no other job is at, then wait for the rest
                for rows in ranges:
                    if rows.start in found:
                        continue
                    artifact = self._ensure_range(kind, span, rows, wait, bar)
                    if artifact is not None:
                        found[rows.start] = artifact
                        if artifact.found:
                            bar.skip(len(rows))
        self._done[kind, span] = [(rows, found[rows.start]) for rows in ranges]
        return self._done[kind, span]

    def _ensure_range(
        self, kind: str, span: Span, rows: range, wait: bool, bar: Any
    ) -> Artifact | None:
        where = {"pool": self.pool.digest, "rows": [rows.start, rows.stop]}
        identity = {kind: {**self._identity(kind, span), **where} for kind in ("hidden", "losses")}
        if kind == "tokens":
            tokens = {**where, "model": self._model_identity, "version": VERSION}
            return self.store.ensure(kind, tokens, lambda part: self._count(part, rows), wait=wait)

        def build(part: Any) -> dict[str, Any]:
            both = kind == "losses" or self.settings.with_losses
            encoding = self._encode(
                [row.messages for row in self.pool.rows(rows)], span, both, bar.update
            )
            other = "hidden" if kind == "losses" else "losses"
            if both:  # the same pass yields the other kind: keep it too, unless a job is at it
                self.store.ensure(
                    other,
                    identity[other],
                    lambda part: _save(part, encoding, other),
                    wait=False,
                )
            return _save(part, encoding, kind)

        return self.store.ensure(kind, identity[kind], build, wait=wait)

    def _count(self, part: Any, rows: range) -> dict[str, Any]:
        from safetensors.numpy import save_file

        texts = [row.messages for row in self.pool.rows(rows)]
        encoded = self.model.chat.encode(texts, max_length=sys.maxsize)
        lengths = np.array([len(row.ids) for row in encoded], dtype=np.int32)
        save_file({"lengths": lengths}, part / "features.safetensors")
        return {"seconds": 0.0, "peak_memory_mb": peak_memory_mb(), "tokens": int(lengths.sum())}

    # -- the queries ---------------------------------------------------------------------------

    def query_poolings(self, queries: Sequence[Query], span: Span) -> Artifact:
        """All poolings of the queries, in their order, encoded like pool rows."""
        rows = [query.messages for query in queries]
        identity = {**self._identity("hidden", span), "queries": digest(rows)}

        def build(part: Any) -> dict[str, Any]:
            return _save(part, self._encode(rows, span, False), "hidden")

        return self.store.require("queries", identity, build)

    def load(self, artifact: Artifact, name: str) -> np.ndarray:
        """One array of a stored range or query set."""
        return _load(artifact, name)

    # -- shared --------------------------------------------------------------------------------

    def _encode(
        self, rows: Sequence[Sequence[Message]], span: Span, losses: bool, on_batch: Any = None
    ) -> Encoding:
        from harness.encoder import encode

        chat = self.model.chat
        ids = [row.ids for row in chat.encode(rows, self.max_length, span=span)]
        return encode(
            self.model.model,
            ids,
            losses=losses,
            max_tokens=self.settings.max_tokens,
            pad_id=chat.tokenizer.pad_token_id,
            **({"on_batch": on_batch} if on_batch else {}),
        )


def _save(part: Any, encoding: Encoding, kind: str) -> dict[str, Any]:
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {"lengths": encoding.lengths}
    seconds = encoding.seconds_body
    if kind == "losses":
        assert encoding.loss_sum is not None
        arrays["loss_sum"] = encoding.loss_sum
        seconds += encoding.seconds_head
    else:
        arrays |= {name: value.astype(np.float16) for name, value in encoding.poolings.items()}
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise FloatingPointError(
                f"the selector model gave {name} that are not finite; try model.dtype=float32"
            )
    save_file(arrays, part / "features.safetensors")
    return {
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "tokens": int(encoding.lengths.sum()),
    }


def _load(artifact: Artifact, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(artifact.path / "features.safetensors", framework="numpy") as file:
        return file.get_tensor(name)
