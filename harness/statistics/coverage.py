"""How often the intervals hold the truth: ``python -m harness.statistics.coverage``.

Boards are made up from a model in which everything is normal on a latent scale: clusters, items,
what a method does to a cluster or an item, seeds, and chance. An item is right where the sum is
above 0, so the true score is a known number. The suite has seven benchmarks of unlike sizes,
some in many groups (drawn anew for every board) and one in few (which count as given).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.files import digest
from harness.record import Score
from harness.seeds import generator
from harness.statistics.bootstrap import sample
from harness.statistics.compare import differences
from harness.statistics.design import MIN_GROUPS, Cell, Result, design
from harness.statistics.items import ItemScores, ItemSet

# (benchmark, groups, items a group)
SUITE = (("one", 20, 10), ("two", 1, 60), ("three", 15, 8), ("four", 9, 12), ("five", 1, 60),
         ("six", 1, 150), ("seven", 5, 20))  # fmt: skip
ITEM, METHOD_ITEM, CHANCE = 0.8, 0.4, 0.6


@dataclass(frozen=True)
class World:
    """Sizes of a simulated board.

    Attributes:
        seeds: of the method and of the reference.
        seed_sd: of trainings, on the latent scale; about 30 points of score a unit.
        cluster_sd: of a group, and of what a method does to a group.
        gap: latent difference between method and reference.
    """

    seeds: tuple[int, int] = (3, 3)
    seed_sd: tuple[float, float] = (0.1, 0.1)
    cluster_sd: float = 0.2
    gap: float = 0.1


@dataclass(frozen=True)
class Coverage:
    """Shares over simulated boards, and the mean width of an interval in points."""

    mean: float
    single: float
    width: float
    rejected: float


def simulate(world: World, boards: int, replicates: int = 500) -> Coverage:
    """Coverage of the intervals of the mean's difference and of the seven single differences.

    ``rejected`` is the share of boards with p < 0.05 for the mean: the power, or with ``gap`` 0
    the rate of false alarms.
    """
    random = generator(0, f"coverage:{world}")
    hits, single, width, rejected = 0, 0, 0.0, 0
    levels = np.array([-0.3, world.gap - 0.3])
    for _ in range(boards):
        cells, truth = _board(world, levels, random)
        sampled = sample(design(cells, [name for name, *_ in SUITE]), replicates)
        for measure in range(len(SUITE) + 1):
            found = differences(sampled, measure, np.array([1]), 0)
            inside = bool(found.low[0] <= truth[measure] <= found.high[0])
            if measure < len(SUITE):
                single += inside
            else:
                hits += inside
                width += float(found.high[0] - found.low[0])
                rejected += bool(found.p[0] < 0.05)
    return Coverage(hits / boards, single / boards / len(SUITE), width / boards, rejected / boards)


def _board(
    world: World, levels: np.ndarray, random: np.random.Generator
) -> tuple[list[Cell], np.ndarray]:
    """A reference and a method with their results, and the true differences in percent."""
    results: list[list[dict[str, Result]]] = [[{} for _ in range(n)] for n in world.seeds]
    truth = []
    shift = [random.normal(0, sd, n) for sd, n in zip(world.seed_sd, world.seeds, strict=True)]
    for name, groups, size in SUITE:
        n = groups * size
        spread = world.cluster_sd if groups > 1 else 0.0
        keys = tuple(f"{name}/{at}" for at in range(n))
        labels = tuple(f"g{at // size}" if groups > 1 else "" for at in range(n))
        items = ItemSet(keys, labels, digest([keys, labels]))
        given = groups < MIN_GROUPS  # then these very groups are what the score is about
        common = random.normal(0, spread, groups)
        shared = np.repeat(common, size) + random.normal(0, ITEM, n)
        right = []
        for at, level in enumerate(levels):
            effect = random.normal(0, spread, groups)
            own = np.repeat(effect, size) + random.normal(0, METHOD_ITEM, n)
            noise = ITEM**2 + METHOD_ITEM**2 + CHANCE**2 + world.seed_sd[at] ** 2
            noise += 0 if given else 2 * spread**2
            centres = level + (common + effect if given else np.zeros(1))
            right.append(50 * np.mean([1 + math.erf(c / math.sqrt(2 * noise)) for c in centres]))
            for seed, runs in enumerate(results[at]):
                latent = level + shared + own + shift[at][seed] + random.normal(0, CHANCE, n)
                values = (latent > 0).astype(np.float32)
                score = 100 * float(values.mean())  # groups of one size: both rules agree
                runs[name] = Result(
                    Score(score=score, n=n, metric="made_up"), ItemScores(items, values)
                )
        truth.append(right[1] - right[0])
    cells = [
        Cell(name, tuple(range(len(runs))), tuple(runs))
        for name, runs in zip(("reference", "method"), results, strict=True)
    ]
    return cells, np.array([*truth, np.mean(truth)])


WORLDS = {
    "three seeds": World(),
    "three seeds, no difference": World(gap=0.0),
    "three seeds that hardly matter": World(seed_sd=(0.0, 0.0)),
    "three seeds that matter much": World(seed_sd=(0.3, 0.3)),
    "reference whose seeds matter, method whose do not": World(seed_sd=(0.3, 0.02)),
    "two seeds": World(seeds=(2, 2)),
    "five seeds": World(seeds=(5, 5)),
    "five seeds against one, seeds of the one without effect": World((5, 1), (0.1, 0.0)),
    "one seed each, seeds without effect": World((1, 1), (0.0, 0.0)),
    "strong clusters": World(cluster_sd=0.6),
    "one seed each, seeds with an effect (not covered, and said so)": World((1, 1)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of coverage."""
    parser = argparse.ArgumentParser(prog="python -m harness.statistics.coverage")
    parser.add_argument("--boards", type=int, default=1000, help="simulated boards a line")
    parser.add_argument("--replicates", type=int, default=1000, help="of each bootstrap")
    chosen = parser.parse_args(arguments)
    print("| world | mean of seven | single benchmark | width | p < 0.05 |\n|---|---|---|---|---|")
    for name, world in WORLDS.items():
        found = simulate(world, chosen.boards, chosen.replicates)
        print(
            f"| {name} | {100 * found.mean:.1f} % | {100 * found.single:.1f} % | "
            f"{found.width:.1f} | {100 * found.rejected:.1f} % |", flush=True,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
