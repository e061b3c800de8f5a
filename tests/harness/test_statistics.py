"""Intervals, differences, ranks: against sums done by hand, invariants, and simulated truth."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest

from evaluation.statistics import mean_and_error
from harness.files import digest
from harness.record import Score
from harness.statistics import ranks
from harness.statistics.bootstrap import sample
from harness.statistics.compare import differences, holm, scores
from harness.statistics.coverage import World, simulate
from harness.statistics.design import Cell, Result, design
from harness.statistics.items import CACHE, ItemScores, ItemSet, ItemStore

FIRST = np.array([1])


def result(values, groups=None, score=None, keys=None, clusters=()) -> Result:
    keys = tuple(keys or map(str, range(len(values))))
    groups = tuple(groups or [""] * len(keys))
    items = ItemScores(
        ItemSet(keys, groups, digest([keys, groups, clusters]), tuple(clusters)),
        np.array(values, dtype=np.float32),
    )
    score = 100 * float(np.mean(values)) if score is None else score
    return Result(Score(score=score, n=len(values), metric="em"), items)


def bare(score, stderr=None, n=100) -> Result:
    return Result(Score(score=score, stderr=stderr, n=n, metric="em"), None)


def cell(name, *runs, seeds=None) -> Cell:
    every = tuple(run if isinstance(run, dict) else {"a": run} for run in runs)
    return Cell(name, tuple(seeds or range(len(every))), every)


def sampled(*cells, benchmarks=("a",), replicates=4000):
    return sample(design(cells, benchmarks), replicates)


def test_one_seed_is_the_paired_t_interval():
    mine, yours = [1, 1, 0, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 0, 1, 1]
    drawn = sampled(cell("r", result(yours)), cell("m", result(mine)))
    found = differences(drawn, 0, FIRST, 0)
    gaps = 100 * (np.array(mine) - np.array(yours))
    error = gaps.std(ddof=1) / math.sqrt(8)
    assert found.value[0] == pytest.approx(12.5)
    assert found.error[0] == pytest.approx(error, rel=0.04)
    assert found.freedom[0] == pytest.approx(7)
    assert found.high[0] - found.value[0] == pytest.approx(2.3646 * found.error[0], rel=1e-3)
    assert found.detectable[0] == pytest.approx((2.3646 + 0.8960) * found.error[0], rel=1e-3)


def test_pairing_takes_the_items_own_difficulty_out():
    hard = np.repeat([0, 1], 50)
    mine = hard.copy()
    mine[:5] = 1  # five more than the other, everything else alike
    drawn = sampled(cell("r", result(hard)), cell("m", result(mine)))
    paired = differences(drawn, 0, FIRST, 0).error[0]
    apart = math.hypot(*scores(drawn, 0).error)
    assert paired == pytest.approx(2.19, rel=0.05) and apart > 3 * paired


def test_groups_are_the_unit_where_there_are_some():
    groups = [f"g{at // 10}" for at in range(80)]
    values = [float(at // 10 % 2) for at in range(80)]  # a group is all right or all wrong
    drawn = sampled(cell("m", result(values, groups)))
    found = scores(drawn, 0)
    assert found.error[0] == pytest.approx(100 * 0.5345 / math.sqrt(8), rel=0.05)
    assert found.freedom[0] == pytest.approx(7)
    few = sampled(cell("m", result(values[:70], groups[:70])))  # seven groups count as given
    assert scores(few, 0).freedom[0] == pytest.approx(69)


def test_a_mean_over_groups_is_told_from_one_over_items():
    groups = ["g", "g", "g", "h"]
    made = design([cell("m", result([1, 1, 1, 0], groups, score=50.0))], ["a"])
    assert not made.notes and made.strata[0].sizes == pytest.approx([1 / 3] * 3 + [1])
    assert sample(made, 10).values[0, 0] == pytest.approx(50)
    other = design([cell("m", result([1, 1, 1, 0], groups, score=75.0))], ["a"])
    assert list(other.strata[0].sizes) == [1] * 4
    assert sample(other, 10).values[0, 0] == pytest.approx(75)


def test_a_score_that_is_not_its_items_mean_is_not_trusted():
    made = design([cell("m", result([1, 1, 0, 0], score=99.0))], ["a"])
    assert made.strata[0].sums == [None] and "not the mean" in made.notes[0]


def test_seeds_widen_the_interval_by_what_they_add():
    rng = np.random.default_rng(0)
    runs = [result((rng.random(400) < p).astype(float)) for p in (0.3, 0.5, 0.7)]
    drawn = sampled(cell("m", *runs))
    found = scores(drawn, 0)
    means = [run.score.score for run in runs]
    # Seeds dominate: the error of a mean of three, with about two degrees of freedom.
    assert found.error[0] == pytest.approx(np.std(means, ddof=1) / math.sqrt(3), rel=0.05)
    assert 1.95 < found.freedom[0] < 2.3


def test_seeds_that_differ_by_item_noise_alone_add_nothing():
    rng = np.random.default_rng(1)
    runs = [result((rng.random(2000) < 0.5).astype(float)) for _ in range(3)]
    drawn = sampled(cell("m", *runs))
    whole = np.mean([run.items.values for run in runs], axis=0)
    alone = 100 * whole.std(ddof=1) / math.sqrt(2000)
    assert scores(drawn, 0).error[0] < 1.45 * alone


def test_benchmarks_are_fixed_strata_of_the_mean():
    one = {"a": result([1, 0, 1, 0, 1, 1]), "b": result([0, 0, 0, 1])}
    drawn = sampled(cell("m", one), benchmarks=("a", "b"))
    single = [scores(drawn, at).error[0] for at in (0, 1)]
    mean = scores(drawn, 2)
    assert mean.value[0] == pytest.approx((100 * 4 / 6 + 25) / 2)
    assert mean.error[0] == pytest.approx(math.hypot(*single) / 2, rel=0.05)


def test_identical_runs_differ_by_exactly_nothing():
    runs = [{"a": result([1, 0, 1, 1]), "b": bare(40.0, 3.0)}, {"a": result([0, 0, 1, 1])}]
    runs[1]["b"] = bare(50.0, 2.0)
    drawn = sampled(cell("r", *runs), cell("m", *runs), benchmarks=("a", "b"))
    for measure in range(3):
        found = differences(drawn, measure, FIRST, 0)
        ends = (found.value[0], found.low[0], found.high[0], found.p[0], found.error[0])
        assert ends == (0.0, 0.0, 0.0, 1.0, 0.0)


def test_runs_without_items_are_compared_by_their_errors():
    drawn = sampled(cell("r", bare(40, 3)), cell("m", bare(50, 4)))
    found = differences(drawn, 0, FIRST, 0)
    assert found.value[0] == 10 and found.error[0] == pytest.approx(5, rel=0.05)
    assert drawn.with_errors.all() and not drawn.with_items.any()


def test_where_nothing_is_known_nothing_is_said():
    drawn = sampled(cell("r", bare(40)), cell("m", bare(40)), cell("n", bare(50)))
    found = differences(drawn, 0, np.array([1, 2]), 0)
    # The same numbers are the same; another number without an error says nothing.
    assert (found.value[0], found.p[0]) == (0, 1)
    assert np.isnan(found.p[1]) and np.isnan(found.low[1]) and found.value[1] == 10


def test_runs_asked_other_items_are_paired_on_the_shared_ones():
    one = result([1, 1, 0, 0], keys=["p", "q", "r", "s"])
    two = result([1, 0, 1], keys=["s", "q", "p"])
    made = design([cell("r", one), cell("m", two)], ["a"])
    assert "3 shared ones" in made.notes[0]
    drawn = sample(made, 10)
    assert drawn.values[0] == pytest.approx([200 / 3, 200 / 3])
    apart = design([cell("r", one), cell("m", result([1, 0], keys=["x", "y"]))], ["a"])
    assert "not paired" in apart.notes[0]
    assert sum(sums is not None for sums in apart.strata[0].sums) == 1


def test_draws_do_not_depend_on_who_else_is_there():
    rng = np.random.default_rng(2)
    cells = [
        cell(name, *(result((rng.random(50) < 0.4).astype(float)) for _ in range(3)))
        for name in "rmx"
    ]
    alone, among = sampled(*cells[:2]), sampled(*cells)
    assert np.allclose(alone.noise[0], among.noise[0][:, :2], atol=1e-5)


def test_holm_by_hand():
    found = holm(np.array([0.01, 0.04, 0.03, np.nan, 0.005]))
    assert found[[4, 0, 2, 1]] == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(found[3]) and holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_the_frontier_probability_by_hand():
    cost = np.array([1.0, 2.0, 2.0, 3.0])
    draws = np.array([[5, 6, 7, 6], [5, 4, 4, 8], [5, 9, 1, 9], [5, 6, 6, 7]])
    assert ranks.frontier_probability(cost, draws).tolist() == [1, 0.5, 0.5, 0.5]


def test_ranks_share_their_places():
    assert ranks.ranks(np.array([3.0, 9, 3, 1])).tolist() == [2.5, 1, 2.5, 4]
    values = np.array([[3.0, 9, 1], [5, 4, 3]])
    assert ranks.mean_rank(values).tolist() == [1.5, 1.5, 3]


def test_decision_accuracy_by_hand():
    small, large = np.array([1.0, 2, 3]), np.array([1.0, 3, 2])
    sure = large + np.array([[0.1, 0, -0.1]] * 20)
    found = ranks.decision(small, small[None].repeat(20, 0), large, sure)
    assert (found.methods, found.pairs, found.decided) == (3, 3, 3)
    assert found.accuracy == found.accuracy_decided == pytest.approx(2 / 3)
    tied = ranks.decision(np.zeros(3), np.zeros((20, 3)), large, sure)
    assert tied.accuracy == 0.5


@pytest.mark.parametrize("world", [World(), World(seeds=(1, 1), seed_sd=(0, 0))], ids=str)
def test_intervals_hold_the_truth(world):
    # 95 % of 150: below 88 % or so has a chance of about one in ten thousand. The command
    # python -m harness.statistics.coverage has the large version.
    found = simulate(world, boards=150, replicates=200)
    assert found.mean > 0.88 and found.single > 0.92


def test_no_false_alarms():
    found = simulate(World(gap=0.0), boards=150, replicates=200)
    assert found.rejected < 0.12


def test_clusters_are_the_unit_where_items_name_them():
    """Eight articles, each all right or all wrong, in a benchmark without groups."""
    articles = [f"a{at // 10}" for at in range(80)]
    values = [float(at // 10 % 2) for at in range(80)]
    drawn = sampled(cell("m", result(values, clusters=articles)))
    found = scores(drawn, 0)
    _, error = mean_and_error(values, [""] * 80, "items", articles)
    assert error == pytest.approx(100 * 0.5345 / math.sqrt(8), rel=1e-3)
    assert found.error[0] == pytest.approx(error, rel=0.05)
    assert found.freedom[0] == pytest.approx(7)


def test_results_from_before_clusters_pair_with_those_that_name_them():
    articles = [f"a{at // 10}" for at in range(80)]
    values = [float(at // 10 % 2) for at in range(80)]
    old, new = cell("old", result(values)), cell("new", result(values, clusters=articles))
    made = design([old, new], ["a"])
    assert made.notes == [] and len(made.strata[0].sizes) == 8
    assert np.array_equal(made.strata[0].sums[0], made.strata[0].sums[1])


def test_clusters_survive_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.statistics.items.CACHE_FROM", 1)
    rows = [{"item_id": f"{at}", "subject": "", "cluster": f"a{at}", "score": 1} for at in (0, 1)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    store = ItemStore()
    first = store.scores(tmp_path, "x.jsonl.gz")
    store.save()
    assert (tmp_path / CACHE).is_file()
    again = ItemStore().scores(tmp_path, "x.jsonl.gz")
    assert first.items == again.items and again.items.clusters == ("a0", "a1")
