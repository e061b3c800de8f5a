"""The runs of a sweep against one store: what each costs, and what is spent once for several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.files import canonical_json
from harness.ordering import DEPTH
from harness.plan.lengths import Profile
from harness.plan.work import SelectionPlan, Work, decoder_of, train_work
from harness.settings import MICRO, Settings


@dataclass
class RunPlan:
    """One run at full price.

    Attributes:
        words: method, pool rows, budget, target and seed.
        works: all that it needs, whether another run does it or not.
        known: whether its method says what its selection does.
    """

    words: dict[str, Any]
    works: list[Work]
    known: bool = True

    def flops(self, *stages: str, paper: bool = False) -> float:
        """Sum over the given stages."""
        column = "flops_paper" if paper else "flops"
        return float(sum(getattr(w, column) for w in self.works if w.stage in stages))


@dataclass
class SweepPlan:
    """All runs of a sweep.

    Attributes:
        asked: cells that were asked for; some may be one and the same run.
        runs: the distinct ones, in their order.
        spent: FLOPs by stage if each work is done once.
        passes_asked, passes_done: over the pool, by the selector or an embedder.
        stored, held: bytes that stay in the store, and at most on top while something runs.
        notes: what the plan could not know.
    """

    asked: int = 0
    runs: list[RunPlan] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    passes_asked: int = 0
    passes_done: int = 0
    trainings_asked: int = 0
    trainings_done: int = 0
    stored: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    held: float = 0.0
    notes: list[str] = field(default_factory=list)


def plan_sweep(cells: Sequence[Settings], profile: Profile, pool_rows: int | None) -> SweepPlan:
    """Plan the runs one after the other, as they would find the store.

    Args:
        pool_rows: of a pool whose size no setting says.
    """
    sweep, store = SweepPlan(asked=len(cells)), _Store()
    for settings in cells:
        run = _Run(settings, profile, pool_rows)
        if store.seen("run", run.key):
            continue
        if run.trains and not store.seen("ordering", run.ordering):
            store.do(sweep, run.selection.works)
        else:
            store.count(sweep, run.selection.works)
        store.do(sweep, run.training)
        store.do(sweep, run.evaluation)
        works = [*run.selection.works, *run.training, *run.evaluation]
        sweep.runs.append(RunPlan(run.words, works, run.selection.known))
        sweep.notes += [note for note in run.notes if note not in sweep.notes]
    return sweep


class _Run:
    """One cell: what it would do, and the names of what it shares."""

    def __init__(self, settings: Settings, profile: Profile, pool_rows: int | None) -> None:
        method = settings.method
        rows = settings.pool.size or pool_rows or profile.pool_rows
        budget = method.budget(settings.rows(rows), rows)
        self.trains = budget > 0
        self.notes: list[str] = []
        self.settings, self.profile = settings, profile
        if not (settings.pool.size or pool_rows or settings.pool.path == MICRO):
            self.notes.append(
                f"no setting says how many rows the pool has: {rows:,} are taken, those of the "
                f"profile {profile.name}. Say it: pool.size=N, or --rows N"
            )
        target = settings.target.name if method.needs_queries else "any"
        self.words = {
            "method": method.label,
            "model": settings.model.name,
            "pool": rows if self.trains else 0,
            "budget": budget,
            "target": target,
            "seed": settings.seed,
        }
        self.selection = SelectionPlan(settings, profile, rows, max(budget, 1))
        own = type(method).__module__, method.model_dump(mode="json")
        depth = min(rows, max(DEPTH, 1 << max(budget - 1, 0).bit_length()))
        self.ordering = canonical_json(
            {
                "method": own,
                "pool": [rows, depth, settings.pool.seed, settings.pool.order],
                "seed": settings.seed if method.seeded else None,
                "queries": self.selection.target if method.needs_queries else None,
                "model": settings.selector.model_dump() if method.needs_model else None,
            }
        )
        if self.trains:
            method.plan(self.selection)
            self.selection.works.append(
                Work("order", self.ordering, self.selection.products, 0.0, 0, depth)
            )
            if not self.selection.known:
                self.notes.append(
                    f"{method.label}: the method has no plan(), so its selection is left out"
                )
            if method.needs_queries and not self.selection.queries.count:
                self.notes.append(
                    f"target {target}: the length profile {profile.name} knows no queries of it"
                )
        self.training = self._training(budget) if self.trains else []
        trained = self.training[0].key if self.training else settings.model.model_dump_json()
        self.evaluation = self._evaluation(trained)
        self.key = self.evaluation[0].key

    def _training(self, budget: int) -> list[Work]:
        settings = self.settings
        key = canonical_json(
            {
                "rows": [self.ordering, budget],
                "recipe": settings.recipe.identity(),
                "model": settings.model.model_dump(),
                "seed": settings.seed,
            }
        )
        sample = (self.selection.picks or self.selection.pool).of(budget)
        work = train_work("train", key, settings.recipe, decoder_of(settings.model), sample)
        return [work if settings.keep_models else replace(work, stored=0.0)]

    def _evaluation(self, trained: str) -> list[Work]:
        """Answers are taken to be as long as they may be, prompts to have no beginning in common.

        Samples of an item share the pass over its prompt.
        """
        settings, flops = self.settings, decoder_of(self.settings.model)
        price, tokens, requests = 0.0, 0, 0
        for name, benchmark in settings.scored.benchmarks.items():
            known = self.profile.items.get(name)
            if known is None:
                self.notes.append(f"{name}: not in the length profile {self.profile.name}")
                continue
            items = min(settings.scored.limit or known["items"], known["items"])
            prompts = np.minimum(np.array(known["prompts"]), settings.scored.max_length)
            new = 0 if known["chosen"] else benchmark.max_new_tokens
            times, n = items / len(prompts), benchmark.sampling.n
            written = np.full(len(prompts), new)
            more = (n - 1) * flops.write(prompts, written)
            price += times * (flops.generate(prompts, written) + more)
            tokens += round(times * float((prompts + n * written).sum()))
            requests += items * n
        key = canonical_json([trained, settings.scored.model_dump(mode="json"), settings.seed])
        return [Work("evaluate", key, price, 0.0, tokens, requests)]


class _Store:
    """Which works are done, and how far."""

    def __init__(self) -> None:
        self._names: set[tuple[str, str]] = set()
        self._rows: dict[tuple[str, str], int] = defaultdict(int)

    def seen(self, kind: str, key: str) -> bool:
        """Whether it was there; from now on it is."""
        known = (kind, key) in self._names
        self._names.add((kind, key))
        return known

    def count(self, sweep: SweepPlan, works: Sequence[Work]) -> None:
        """What is asked for."""
        sweep.passes_asked += sum(work.stage == "score" for work in works)
        sweep.trainings_asked += sum(work.stage in ("train", "warmup") for work in works)

    def do(self, sweep: SweepPlan, works: Sequence[Work]) -> None:
        """Do what is not there; of rows the ones behind those that are."""
        self.count(sweep, works)
        for work in works:
            have = self._rows[work.key, work.needs]
            if have >= max(work.rows, 1):
                continue
            share = 1 - have / work.rows if work.nested and work.rows else 1.0
            for name in work.gives:
                self._rows[work.key, name] = max(self._rows[work.key, name], work.rows, 1)
            sweep.spent[work.stage] += share * (work.flops if work.spent is None else work.spent)
            sweep.passes_done += work.stage == "score"
            sweep.trainings_done += work.stage in ("train", "warmup")
            sweep.stored[work.stage] += share * work.stored
            sweep.held = max(sweep.held, work.held)
