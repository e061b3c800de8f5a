"""Embed (paper A.7): cosine of sentence embeddings between pool rows and queries.

Any sentence-transformers model; presets for the paper's two, GTR-T5-base and NV-Embed-v2. A row is
its whole conversation in Tulu's layout, without begin and end tokens and without an opened
assistant turn; a query is written as one conversation in the same layout, behind ``query_prefix``.

Deviations from the published code: it cuts a query to 512 or 2,048 tokens (by its task) of prompt
and of label, and decodes the tokens again; here the text itself is embedded, cut at ``max_length``
like a pool row. It runs every model in bfloat16; here that is ``dtype``, and float32 for GTR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.context import Context
from harness.embedder import Embedder, LoadedEmbedder, chat_text
from harness.files import digest
from harness.memory import peak_memory_mb
from harness.pool import Row
from harness.ranges import load, save
from methods.base import PairMethod

if TYPE_CHECKING:
    from harness.plan.work import SelectionPlan


class Embed(PairMethod):
    """The fields but ``query_prefix`` are those of ``harness.embedder.Embedder``."""

    model: str
    revision: str | None = None
    query_prefix: str = ""
    max_length: int = Field(default=0, ge=0)
    append_eos: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False
    max_tokens: int = Field(default=2048, gt=0)

    # A preset's settings are what its name stands for.
    unlabelled: ClassVar[frozenset[str]] = frozenset(Embedder.model_fields) | {
        "model",
        "query_prefix",
    }
    # How the embedder is found and run; its content stands in the identity instead.
    technical: ClassVar[set[str]] = {"model", "revision", "trust_remote_code", "max_tokens"}

    @cached_property
    def embedder(self) -> LoadedEmbedder:
        """The model, loaded when it is needed."""
        settings = self.model_dump(include=set(Embedder.model_fields))
        return Embedder(path=self.model, **settings).load()

    def identity(self) -> dict[str, Any]:
        """The embedder by its bytes; batches do not enter."""
        every = super().identity()
        kept = {key: value for key, value in every.items() if key not in self.technical}
        return {**kept, "embedder": self.embedder.config.content_identity()}

    def plan(self, plan: SelectionPlan) -> None:
        """The embedder over the pool and over the queries; the prefix is not counted."""
        plan.embed(
            self.model,
            revision=self.revision,
            trust=self.trust_remote_code,
            max_length=self.max_length,
            eos=self.append_eos,
        )

    def pool_features(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width]."""
        flops, identity = self.embedder.flops, self.embedder.config.content_identity()

        def compute(rows: list[Row], on_rows: Any) -> dict[str, np.ndarray]:
            return self.embedder.embed([chat_text(row.messages) for row in rows], on_batch=on_rows)

        width = flops.config.hidden_size
        found = context.compute("embeddings", identity, compute, bytes_per_row=2 * width + 4)
        lengths = found.array("lengths")
        context.charge_forward("score", "embeddings", lengths, feature=found, flops=flops)
        return found.blocks("embeddings")

    def query_features(self, context: Context) -> np.ndarray:
        """float16 [queries, width]."""
        texts = [chat_text(query.messages) for query in context.queries]
        identity = {
            **self.embedder.config.content_identity(),
            "prefix": self.query_prefix,
            "queries": digest(texts),
        }
        artifact = context.features.store.require(
            "queries", identity, lambda part: self._embed(part, texts)
        )
        lengths, flops = load(artifact, "lengths"), self.embedder.flops
        context.charge_forward("queries", "embeddings", lengths, artifact=artifact, flops=flops)
        return load(artifact, "embeddings")

    def _embed(self, part: Any, texts: Sequence[str]) -> dict[str, Any]:
        arrays, seconds = self.embedder.timed(texts, prefix=self.query_prefix)
        save(part, arrays)
        return {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}
