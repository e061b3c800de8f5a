"""What a method is given: the pool, the target's queries, features, and a bill to charge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifacts import Artifact
from harness.attempts import spent
from harness.chat import Span
from harness.features import Features
from harness.pool import Pool
from harness.query import Query
from harness.ranges import Compute, RowFeature, load
from harness.record import Stage, StageCost
from harness.seeds import generator

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from harness.flops import ModelFlops
    from harness.training import Recipe
    from harness.warmup import WarmUp


@dataclass
class Context:
    """The world as a method sees it. Every pass that it asks for is charged to it.

    Attributes:
        pool: the rows in use.
        queries: the target's, task after task.
        seed: of the run. Use ``rng``, never the global generators.
        depth: how many positions of the ordering are needed.
    """

    pool: Pool
    queries: list[Query]
    seed: int
    depth: int
    features: Features
    _bill: dict[tuple[Stage, str], StageCost] = field(default_factory=dict)

    @property
    def costs(self) -> list[StageCost]:
        """What the method asked for so far. A pass counts once, however often it is read."""
        return list(self._bill.values())

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for every purpose."""
        return generator(self.seed, purpose)

    @property
    def tasks(self) -> np.ndarray:
        """int64 [Q]: the task of each query, numbered in order of first appearance."""
        names = list(dict.fromkeys(query.task for query in self.queries))
        return np.array([names.index(query.task) for query in self.queries], dtype=np.int64)

    def pool_poolings(self, pooling: str, span: Span, layer: int = -1) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width] hidden-state poolings, in pool order.

        ``layer``: -1 for the last hidden state, after the final norm; k for what layer k gave (0:
        the embeddings). A pass for a lower layer stops there, and is charged for the layers that
        it ran.
        """
        if layer == -1:
            return self._pass("hidden", span, head=False).blocks(pooling)
        found = self.features.pass_over("hidden", span, layer)
        self.charge_forward(
            "score",
            f"{span}, layer {layer}",
            found.array("lengths"),
            feature=found,
            flops=self._flops_up_to(layer),
        )
        return found.blocks(pooling)

    def query_poolings(self, pooling: str, span: Span, layer: int = -1) -> np.ndarray:
        """float16 [Q, width] of the queries; see ``pool_poolings``."""
        artifact = self.features.query_poolings(self.queries, span, layer)
        self.charge_forward(
            "queries",
            span if layer == -1 else f"{span}, layer {layer}",
            load(artifact, "lengths"),
            artifact=artifact,
            flops=self._flops_up_to(layer),
        )
        return load(artifact, pooling)

    def _flops_up_to(self, layer: int) -> ModelFlops:
        """FLOP counts of the selector model cut off behind its first ``layer`` layers.

        The paper's convention then has the parameters of that smaller model as its N.
        """
        from harness.flops import model_flops

        config = self.features.model.config.load_config()
        return model_flops(config if layer == -1 else cut_off(config, layer))

    def pool_losses(self, span: Span = "full") -> tuple[np.ndarray, np.ndarray]:
        """Summed next-token losses float64 [rows] in nats and predicted tokens int64 [rows]."""
        found = self._pass("losses", span, head=True)
        return found.array("loss_sum"), found.array("lengths").astype(np.int64) - 1

    def token_lengths(self) -> np.ndarray:
        """int64 [rows]: tokens of the whole row in the selector model's template, uncut.

        Charged with its tokens and seconds; no model runs, so there are no FLOPs.
        """
        found = self.features.pass_over("tokens", "full")
        lengths = found.array("lengths").astype(np.int64)
        self.charge(
            "tokens",
            StageCost(stage="score", rows=len(lengths), tokens=int(lengths.sum()), **found.spent),
        )
        return lengths

    def compute(
        self, kind: str, identity: Mapping[str, Any], compute: Compute, *, bytes_per_row: int
    ) -> RowFeature:
        """A feature of the method's own, one entry a row, computed once and kept in the store.

        It charges nothing: say with ``charge`` what the method's work costs.

        Args:
            kind: one word for it; ``identity``: all that decides its values but pool and rows.
            compute: gives arrays [rows, ...] by name for the rows of one range.
            bytes_per_row: what a row takes on the disk.
        """
        return self.features.compute(kind, identity, compute, bytes_per_row=bytes_per_row)

    def first(self, rows: int) -> Context:
        """The same world with only the first rows of the pool, on the same bill."""
        pool, features = copy(self.pool), self.features
        pool.size = min(rows, pool.size)
        pool.source_of = pool.source_of[: pool.size]
        fewer = Features(
            features.store, pool, features.model, features.settings, progress=features.progress
        )
        return replace(self, pool=pool, features=fewer)

    def warm_up(
        self,
        positions: Sequence[int] | np.ndarray,
        recipe: Recipe,
        *,
        name: str,
        keep_epochs: bool = False,
    ) -> WarmUp:
        """The selector model fine-tuned on the rows at ``positions``; charged as ``warmup``.

        It depends on the run's seed, so a method that calls this is ``seeded``.

        Args:
            name: the word for it on the bill and in logs.
            keep_epochs: keep weights, Adam's moments and the mean learning rate of every epoch.
        """
        from harness.warmup import warm_up

        self.features.model.close()  # the training loads weights of its own
        done = warm_up(
            self.features.store,
            self.pool,
            positions,
            recipe,
            self.features.model.config,
            seed=self.seed,
            name=name,
            keep_epochs=keep_epochs,
        )
        self.charge(name, done.cost)
        return done

    def _pass(self, kind: str, span: Span, *, head: bool) -> RowFeature:
        found = self.features.pass_over(kind, span)
        self.charge_forward("score", span, found.array("lengths"), feature=found, head=head)
        return found

    def charge(self, key: str, cost: StageCost) -> None:
        """Put a cost on the bill. Of two with the same stage and key the dearer one counts.

        Its seconds are those of what the store made for it (``RowFeature.spent``). All other time
        in a method's ``order`` is charged as ``order`` by ``ordering.order``, with the products
        that ``ranking`` made.
        """
        known = self._bill.get((cost.stage, key))
        if known is None or known.flops < cost.flops:
            self._bill[cost.stage, key] = cost

    def charge_forward(
        self,
        stage: Stage,
        key: str,
        lengths: np.ndarray,
        *,
        feature: RowFeature | None = None,
        artifact: Artifact | None = None,
        head: bool = False,
        flops: ModelFlops | None = None,
    ) -> None:
        """Charge one forward pass over sequences of these lengths.

        Hidden states and losses of one text come from one pass: with the same ``key`` the dearer of
        the two is it.

        Args:
            feature, artifact: what the pass left; it tells seconds, memory and reuse.
            head: with the language-model head.
            flops: of the model that ran; the selector model if None.
        """
        from harness.flops import paper_forward

        counted = flops or self.selector_flops
        if feature is not None:
            took = feature.spent
        else:
            assert artifact is not None
            took = {key: artifact.info[key] for key in ("seconds", "peak_memory_mb")}
            took |= {"reused": artifact.reused, **spent(artifact.attempts)}
        cost = StageCost(
            stage=stage,
            flops=counted.forward(lengths, head=head),
            # The paper charges the pass over the pool and takes the queries as free (App. E).
            flops_paper=paper_forward(counted.parameters, len(lengths)) if stage == "score" else 0,
            tokens=int(lengths.sum()),
            rows=len(lengths),
            **took,
        )
        self.charge(key, cost)

    @property
    def selector_flops(self) -> ModelFlops:
        """FLOP counts of the selector model."""
        from harness.flops import model_flops

        return model_flops(self.features.model.config.load_config())


def cut_off(config: PretrainedConfig, layer: int) -> PretrainedConfig:
    """``config``, changed to that of its first ``layer`` layers."""
    text = config.get_text_config()
    layers, text.num_hidden_layers = text.num_hidden_layers, layer
    for name, value in vars(text).items():  # such as layer_types
        if isinstance(value, list) and len(value) == layers:
            setattr(text, name, value[:layer])
    return config
