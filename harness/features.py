"""Features of pool rows and queries that the selector model gives, computed once and kept.

One pass over the rows serves every pooling and the losses, and every pool size, budget and seed of
a sweep: the results lie in fixed row ranges (``ranges``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from harness.artifacts import Artifact, Store
from harness.chat import Chat, Message, Span
from harness.component import Component
from harness.encoder import LAST
from harness.files import digest
from harness.lengths import TokenCounter
from harness.memory import peak_memory_mb
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from harness.ranges import Compute, RowFeature, check_room, compute_ranges, ensure_ranges, save

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.encoder import Encoding

VERSION = 1  # of the numbers: raise it when the same inputs give other features


class FeatureSettings(Component):
    """How features are computed.

    Attributes:
        max_length: tokens of a row that count; longer rows are cut on the right (paper: 2,048).
        rows_per_range: rows in one stored range.
        max_tokens: tokens in one batch; None chooses by the device: 1,024 on a CPU, 32,768 else.
        with_losses: compute losses in every pass, so that perplexity methods of the same sweep find
            them; costs the language-model head where only hidden states were asked for. A pass that
            reads a lower layer stops there and yields no losses.

    The type of the weights is the model's (``model.dtype``) and so part of what names a feature:
    bfloat16 is the fastest where the processor computes it (see ``encoder.computes_natively``).
    """

    max_length: int = Field(default=2048, gt=1)
    rows_per_range: int = Field(default=1024, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
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

    def _identity(self, kind: str, span: Span, layer: int) -> dict[str, Any]:
        return {
            "version": VERSION,
            "kind": kind,
            "model": self._model_identity,
            "max_length": self.max_length,
            "span": span,
            **({} if layer == LAST else {"layer": layer}),
        }

    def check_layer(self, layer: int) -> None:
        """Refuse a layer that the selector model does not have.

        Raises:
            ValueError: with what is allowed.
        """
        layers = self.model.config.load_config().get_text_config().num_hidden_layers
        if not LAST <= layer < layers:
            raise ValueError(
                f"method.layer={layer}: selector model {self.model.config.name} has {layers} "
                f"layers; allowed are -1 (the last hidden state, after the final norm) and 0 to "
                f"{layers - 1} (0: the embeddings, k: what layer k gave)"
            )

    # -- the pool ------------------------------------------------------------------------------

    def pass_over(self, kind: str, span: Span, layer: int = LAST) -> RowFeature:
        """One pass of the selector model over the rows in use, computing what is missing.

        ``kind``: ``hidden`` (float16 [rows, width] for each pooling), ``losses`` (``loss_sum``,
        float64 [rows] in nats; the same pass yields the poolings too), or ``tokens`` (the whole
        row, uncut, by the tokenizer alone). All have ``lengths``, int32 [rows]. ``layer`` says
        which hidden states ``hidden`` pools; see ``encoder.encode``.
        """
        key = (kind, span, layer)
        if key not in self._done:
            self.check_layer(layer)
            self._check_room(*key)
            self._done[key] = ensure_ranges(
                self.pool,
                self.settings.rows_per_range,
                lambda rows, wait, on_rows: self._ensure(*key, rows, wait, on_rows),
                label=f"{kind} ({span})" if layer == LAST else f"{kind} ({span}, layer {layer})",
                progress=self.progress,
            )
        return self._done[key]

    def compute(
        self, kind: str, identity: Mapping[str, Any], compute: Compute, *, bytes_per_row: int
    ) -> RowFeature:
        """A method's own feature of the rows in use; see ``ranges.compute_ranges``."""
        return compute_ranges(
            self.store,
            self.pool,
            self.settings.rows_per_range,
            kind,
            identity,
            compute,
            bytes_per_row=bytes_per_row,
            progress=self.progress,
        )

    @cached_property
    def _done(self) -> dict[tuple[str, Span, int], RowFeature]:
        return {}

    def _names(self, span: Span, layer: int, rows: range) -> dict[str, dict[str, Any]]:
        """The identities of what is known of a range, by kind."""
        where = {"pool": self.pool.digest, "rows": [rows.start, rows.stop]}
        kinds = ("hidden", "losses")
        names = {kind: {**self._identity(kind, span, layer), **where} for kind in kinds}
        return {**names, "tokens": {**where, "model": self._model_identity, "version": VERSION}}

    def _check_room(self, kind: str, span: Span, layer: int) -> None:
        from harness.encoder import POOLINGS

        missing = sum(
            len(rows)
            for rows in self.pool.ranges(self.settings.rows_per_range)
            if not self.store.folder(kind, self._names(span, layer, rows)[kind]).is_dir()
        )
        if kind != "tokens" and missing:
            width = self.model.config.load_config().get_text_config().hidden_size
            check_room(self.store, kind, missing, 2 * width * len(POOLINGS) + 16)

    def _ensure(
        self, kind: str, span: Span, layer: int, rows: range, wait: bool, on_rows: Any
    ) -> Any:
        names = self._names(span, layer, rows)
        if kind == "tokens":
            return self.store.ensure(
                kind, names[kind], lambda part: self._count(part, rows, on_rows), wait=wait
            )

        def build(part: Any) -> dict[str, Any]:
            both = kind == "losses" or (self.settings.with_losses and layer == LAST)
            encoding = self._encode(
                [row.messages for row in self.pool.rows(rows)], span, layer, both, on_rows
            )
            other = "hidden" if kind == "losses" else "losses"
            if both:  # the same pass yields the other kind: keep it too, unless a job is at it
                self.store.ensure(
                    other,
                    names[other],
                    lambda part: _save(part, encoding, other),
                    wait=False,
                    alongside=True,
                )
            return _save(part, encoding, kind)

        return self.store.ensure(kind, names[kind], build, wait=wait)

    def _count(self, part: Any, rows: range, on_rows: Any) -> dict[str, Any]:
        start = time.perf_counter()
        texts = [self.model.chat.text(row.messages) for row in self.pool.rows(rows)]
        lengths = self._count_tokens(texts)
        tokens = int(lengths.sum())
        save(part, {"lengths": lengths})
        on_rows(len(rows), tokens)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "peak_memory_mb": peak_memory_mb(), "tokens": tokens}

    @cached_property
    def _count_tokens(self) -> TokenCounter:
        return TokenCounter(self.model.chat)

    # -- the queries ---------------------------------------------------------------------------

    def query_poolings(self, queries: Sequence[Query], span: Span, layer: int = LAST) -> Artifact:
        """All poolings of the queries, in their order, encoded like pool rows."""
        self.check_layer(layer)
        rows = [query.messages for query in queries]
        identity = {**self._identity("hidden", span, layer), "queries": digest(rows)}

        def build(part: Any) -> dict[str, Any]:
            return _save(part, self._encode(rows, span, layer, False), "hidden")

        return self.store.require("queries", identity, build)

    # -- shared --------------------------------------------------------------------------------

    def _encode(
        self,
        rows: Sequence[Sequence[Message]],
        span: Span,
        layer: int,
        losses: bool,
        on_batch: Any = None,
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
            layer=layer,
            **({"on_batch": on_batch} if on_batch else {}),
        )


def _save(part: Any, encoding: Encoding, kind: str) -> dict[str, Any]:
    arrays: dict[str, np.ndarray] = {"lengths": encoding.lengths}
    seconds = encoding.seconds_body
    if kind == "losses":
        assert encoding.loss_sum is not None
        arrays["loss_sum"] = encoding.loss_sum
        seconds += encoding.seconds_head
    else:
        arrays |= {name: value.astype(np.float16) for name, value in encoding.poolings.items()}
    save(part, arrays)
    return {
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "tokens": int(encoding.lengths.sum()),
    }
