"""What the stages of a run would do, at full price, from shapes and lengths alone.

A method says in ``plan`` which passes its ``order`` makes, by the methods of ``SelectionPlan``,
which mirror those of the context that it is given when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.chat import Span
from harness.files import canonical_json
from harness.flops import ModelFlops, paper_forward, paper_train
from harness.model import ModelConfig
from harness.plan.lengths import Profile, Sample
from harness.plan.models import architecture, decoder, encoder
from harness.record import Stage
from harness.settings import Settings
from harness.training import Recipe

POOLINGS = 3  # that every pass stores


@dataclass(frozen=True)
class Work:
    """One pass or training, at full price.

    Attributes:
        key: works of the same key are done once in a sweep.
        gives: what the store has after it, and ``needs`` what it is asked for: a pass with losses
            leaves poolings too.
        rows: of the pool that it covers; of two with the same key the longer one counts.
        stored: bytes that stay in the store.
        held: bytes on the disk while it runs, checkpoints included.
    """

    stage: Stage
    key: str
    flops: float
    flops_paper: float
    tokens: int
    rows: int
    needs: str = "it"
    gives: tuple[str, ...] = ("it",)
    stored: float = 0.0
    held: float = 0.0
    nested: bool = False
    spent: float | None = None  # FLOPs if it runs, where that is more than its price


@dataclass
class SelectionPlan:
    """Collects what a method's ``order`` would ask for.

    Attributes:
        rows: of the pool in use.
        works: collected so far.
        products: FLOPs of similarity products: of all queries' features with all rows', once each.
        picks: lengths of the rows that it selects; those of the pool unless a method says so.
        known: whether the method said what it does.
    """

    settings: Settings
    profile: Profile
    rows: int
    budget: int
    works: list[Work] = field(default_factory=list)
    products: float = 0.0
    picks: Sample | None = None
    known: bool = True

    @property
    def selector(self) -> ModelConfig:
        """The selector model."""
        return self.settings.selector

    @property
    def flops(self) -> ModelFlops:
        """Costs of the selector model."""
        return decoder_of(self.selector)

    @property
    def max_length(self) -> int:
        """Tokens of a row that count."""
        text = self.flops.config.get_text_config()
        return min(self.settings.features.max_length, text.max_position_embeddings)

    @property
    def pool(self) -> Sample:
        """Lengths of the rows in use."""
        return self.profile.sample.of(self.rows)

    def unknown(self) -> None:
        """The method does not say what it does: its selection is left out, and the plan says so."""
        self.known = False

    def takes_longest(self) -> None:
        """The selected rows are the longest of the pool."""
        self.picks = self.pool.longest(self.budget / self.rows)

    def pool_pass(
        self,
        span: Span = "full",
        *,
        head: bool = False,
        layer: int = -1,
        rows: int | None = None,
    ) -> None:
        """``pool_poolings``; with ``head`` ``pool_losses``; over the first ``rows`` rows."""
        sample = self.pool.of(min(rows or self.rows, self.rows))
        lengths = np.minimum(self._tokens(sample, span), self.max_length)
        flops = self.flops if layer == -1 else upto(self.selector, layer)
        both = head or (self.settings.features.with_losses and layer == -1)
        body = sample.total(flops.body, lengths)
        full = body + sample.total(flops.head, lengths)
        width = flops.config.get_text_config().hidden_size
        hidden, losses = 2 * width * POOLINGS + 4, 12
        self.works.append(
            Work(
                "score",
                _key("pass", self.selector, self.where, span, layer, self.max_length),
                full if head else body,
                paper_forward(flops.parameters, sample.count),
                sample.tokens(lengths),
                sample.count,
                needs="losses" if head else "hidden",
                gives=("losses", "hidden") if both else ("hidden",),
                stored=sample.count * (hidden + losses * both),
                nested=True,
                spent=full if both else body,
            )
        )

    def query_pass(self, span: Span = "full", layer: int = -1) -> None:
        """``query_poolings``."""
        flops = self.flops if layer == -1 else upto(self.selector, layer)
        width = flops.config.get_text_config().hidden_size
        where = _key("queries", self.selector, self.target, span, layer)
        lengths = np.minimum(self._tokens(self.queries, span), self.max_length)
        self._queries(where, flops, lengths, 2 * width * POOLINGS)
        self._product(width)

    def embed(
        self, path: str, *, revision: str | None, trust: bool, max_length: int, eos: bool
    ) -> None:
        """A sentence embedder over the pool and the queries; ``max_length`` 0 is the model's."""
        flops = encoder(path, revision, trust)
        limit = max_length or int(getattr(flops.config, "max_position_embeddings", 0)) or 512
        lengths = np.minimum(self.pool.column("tokens") + eos, limit)
        width = int(flops.config.hidden_size)
        name = [path, revision, limit, eos]
        self.works.append(
            Work(
                "score",
                _key("embeddings", name, self.where),
                self.pool.total(flops.body, lengths),
                paper_forward(flops.parameters, self.rows),
                self.pool.tokens(lengths),
                self.rows,
                stored=self.rows * (2.0 * width + 4),
                nested=True,
            )
        )
        lengths = self.queries.cut("tokens", limit)
        self._queries(_key("queries", name, self.target), flops, lengths, 2 * width)
        self._product(width)

    def answers(self, warm: str) -> None:
        """IFD's two losses of every answer, by the model of the warm-up ``warm``."""
        sample, flops = self.pool, self.flops
        whole, labels = sample.column("tokens"), sample.column("labels")
        fits = (whole <= self.max_length) & (labels > 0)
        turns, labels, whole = sample.column("turns")[fits], labels[fits], whole[fits]
        alone = self.profile.header + 1 + np.ceil(labels / np.maximum(turns, 1)).astype(np.int64)
        price = flops.body(whole) + flops.body(np.repeat(alone, turns)) + 2 * flops.head(labels)
        self.works.append(
            Work(
                "score",
                _key("ifd", warm, self.where),
                price * sample.weight,
                paper_forward(flops.parameters, self.rows),
                round(float(whole.sum() + (alone * turns).sum()) * sample.weight),
                self.rows,
                stored=self.rows * 32.0,
                nested=True,
            )
        )

    def training(self, name: str, rows: int, recipe: Recipe, *, epochs: bool = False) -> str:
        """``warm_up`` on ``rows`` rows; ``epochs``: all are kept. Returns its key."""
        sample = self.pool.of(min(rows, self.rows))
        key = _key(
            "warmup", name, self.selector, recipe.identity(), sample.count, self.settings.seed
        )
        kept = recipe.epochs if epochs else 1
        work = train_work("warmup", key, recipe, self.flops, sample)
        weights = trained_bytes(self.flops, recipe)
        more = kept * weights * (3 if epochs else 1)  # with both moments of Adam
        self.works.append(replace(work, stored=more))
        return key

    def gradients(self, warm: str, recipe: Recipe, dim: int, checkpoints: int) -> None:
        """LESS's projected gradients of rows and queries at the first ``checkpoints`` epochs."""
        assert recipe.lora is not None
        counted = self.flops.gradients(recipe.lora.model_dump())
        for epoch in range(checkpoints):
            self._product(dim)
            for stage, sample, where in (
                ("score", self.pool, self.where),
                ("queries", self.queries, self.target),
            ):
                read, labels = sample.labelled(self.max_length)
                found = int((labels > 0).sum())
                price = counted(read, labels) + counted.projected(found, dim)
                self.works.append(
                    Work(
                        "score" if stage == "score" else "queries",
                        _key("gradients", warm, epoch, where, dim),
                        price * sample.weight,
                        paper_train(self.flops.parameters, sample.count, 1)
                        if stage == "score"
                        else 0.0,
                        sample.tokens(np.minimum(sample.column("tokens"), self.max_length)),
                        sample.count,
                        stored=sample.count * (2.0 * dim + 12),
                        nested=stage == "score",
                    )
                )

    @property
    def where(self) -> list[Any]:
        """The pool whose prefixes share features."""
        pool = self.settings.pool
        return [pool.path, pool.seed, pool.order]

    @property
    def target(self) -> list[Any]:
        """The queries."""
        return [self.settings.target.name, self.settings.target.path, self.tasks]

    @property
    def tasks(self) -> list[str]:
        """Benchmarks whose query sets the target is."""
        if self.settings.target.path is not None:
            return []
        return self.settings.target.tasks or list(self.settings.suite.benchmarks)

    @property
    def queries(self) -> Sample:
        """Lengths of the target's queries; none for those that the profile does not know."""
        known = [self.profile.queries[t] for t in self.tasks if t in self.profile.queries]
        rows = np.concatenate(known) if known else np.zeros((0, 5), dtype=np.int64)
        return Sample(rows, len(rows))

    def _tokens(self, sample: Sample, span: Span) -> np.ndarray:
        """Tokens of each row's span, uncut."""
        if span != "label":
            return sample.column("prompt" if span == "prompt" else "tokens")
        first = sample.column("labels") // np.maximum(sample.column("turns"), 1)
        return first + 1 + self.profile.header

    def _queries(self, key: str, flops: ModelFlops, lengths: np.ndarray, width: float) -> None:
        count, tokens = len(lengths), int(lengths.sum())
        price = flops.body(lengths)
        self.works.append(Work("queries", key, price, 0.0, tokens, count, stored=width * count))

    def _product(self, width: int) -> None:
        self.products += 2.0 * self.rows * self.queries.count * width


def _key(*parts: Any) -> str:
    return canonical_json([p.model_dump() if isinstance(p, ModelConfig) else p for p in parts])


def decoder_of(model: ModelConfig) -> ModelFlops:
    """Costs of a configured model."""
    return decoder(model.path, model.revision, model.trust_remote_code)


def upto(model: ModelConfig, layer: int) -> ModelFlops:
    """Costs of its first ``layer`` layers alone."""
    from harness.context import cut_off
    from harness.flops import model_flops

    return model_flops(
        cut_off(architecture(model.path, model.revision, model.trust_remote_code), layer)
    )


def train_work(stage: Stage, key: str, recipe: Recipe, flops: ModelFlops, sample: Sample) -> Work:
    """A training on the rows of a sample."""
    _, labels = sample.labelled(recipe.max_length)
    lengths = np.minimum(sample.column("tokens"), recipe.max_length)[labels > 0]
    lora = recipe.lora.model_dump() if recipe.lora else None
    once = flops.train(lengths, lora=lora, gradient_checkpointing=recipe.gradient_checkpointing)
    weights = trained_bytes(flops, recipe)
    return Work(
        stage,
        key,
        once * sample.weight * recipe.epochs,
        paper_train(flops.parameters, sample.count, recipe.epochs),
        round(float(lengths.sum()) * sample.weight * recipe.epochs),
        sample.count,
        stored=weights,
        held=weights * 4,  # weights once more, and a checkpoint with both moments of Adam
    )


def trained_bytes(flops: ModelFlops, recipe: Recipe) -> float:
    """Bytes of the trained weights, which are kept in fp32: all, or the adapter alone."""
    if recipe.lora is None:
        return 4.0 * flops.parameters
    return 4.0 * flops.gradients(recipe.lora.model_dump()).size
