"""What a plan promises: the ledger's own figures, before anything has run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.artifacts import Store
from harness.flops import Polynomial, model_flops, paper_train, recipe_key
from harness.micro_data import MODELS
from harness.overrides import UsageError, hydra_state
from harness.plan import models
from harness.plan.cells import _composed, _resolved, cells
from harness.plan.hardware import Hardware, devices
from harness.plan.lengths import COLUMNS, Profile, ProfileError, Sample, names, read_profile
from harness.plan.sweep import SweepPlan, plan_sweep

TULU = 5_817_792
PAPER = ["scale=llama2_7b", "target=multi_task"]
SELECT = ("warmup", "score", "queries", "order")


def planned(*words: str, profile: Profile | None = None) -> SweepPlan:
    return plan_sweep(cells(list(words)), profile or read_profile("mixed"), None)


def test_cells_are_hydras_in_hydras_order() -> None:
    found = cells(["-m", "method=random,length", "pool.size=10,20", "seed=1,2", "budget=5"])
    said = [(s.method.name, s.pool.size, s.seed, s.budget) for s in found]
    assert said == [(m, p, s, 5) for m in ("random", "length") for p in (10, 20) for s in (1, 2)]
    preset = cells(["experiment=demo", "budget=32"])  # what is said beats what the preset sweeps
    assert len(preset) == 6 * 2 and {s.budget for s in preset} == {32}
    assert all(s.features.with_losses for s in preset)


def test_parts_that_refer_to_what_is_swept_are_composed_whole() -> None:
    """IFD trains in the run's recipe."""
    found = cells(["-m", "method=random,ifd", "recipe.batch_size=32,64", "recipe=micro"])
    assert [s.method.recipe.batch_size for s in found if s.method.name == "ifd"] == [32, 64]
    swept = cells(["-m", "scale=micro,llama2_7b", "seed=0,1"])
    assert [s.model.name for s in swept] == ["micro"] * 2 + ["llama2_7b"] * 2


@pytest.mark.parametrize(
    ("words", "one"),
    [
        # its own words, values of the preset, groups and plain keys
        (["experiment=paper_table1"], {34: "target=gsm8k method=balanced seed=1"}),
        (["experiment=ablation_proxy"], {5: "model=micro model@selector_model=micro_proxy seed=2"}),
        # a key of what is swept
        (
            ["-m", "method=rds_plus,embed_gtr", "method.selector=mean_max", "target=mmlu,gsm8k"],
            {3: "method=embed_gtr target=gsm8k"},
        ),
        # a group that reaches over everything, and what refers to another part
        (
            ["-m", "seed=0,1", "scale=micro,llama2_7b", "method=rds_plus,ifd"],
            {7: "seed=1 scale=llama2_7b method=ifd", 0: "seed=0 scale=micro method=rds_plus"},
        ),
        # the preset sets a key of a group that is swept
        (["experiment=single_task", "pool=micro,jsonl"], {3: "target=gsm8k pool=jsonl"}),
    ],
)
def test_cells_put_together_are_those_that_hydra_composes(
    words: list[str], one: dict[int, str]
) -> None:
    found = cells(words)
    for place, own in one.items():
        keys = {word.partition("=")[0] for word in own.split()}
        kept = [w for w in words if w.partition("=")[0] not in {*keys, "-m"}]
        with hydra_state():
            whole = _resolved(_composed([*kept, *own.split()]))
        assert found[place].resolved == whole


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "method=random,rds_pluss"], "rds_plus"),
        (["-m", "pool.sise=1,2"], "pool.sise"),
        (["-m", "budget=5,-1"], "budget"),
        (["method=random,length"], "add -m"),
        (["method=random", "lost"], "lost"),
    ],
)
def test_a_wrong_word_is_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cells(words)


def constant(tokens: int, rows: int = 4) -> Profile:
    """Rows of so many tokens, half of them labels."""
    row = [tokens, tokens // 2, tokens - 1, tokens // 2, 1]
    assert len(row) == len(COLUMNS)
    table = np.array([row] * rows)
    return Profile("constant", "made up", table, 10**9, 4.0 * tokens, 5, {"mmlu": table})


# Figure 1, drawn by the paper's code (N = 8e9, GTR 110e6; 10k of 200k or 5.8M rows, 2 epochs), and
# Figure 3 (multi-task, 5.8M rows): paper.md part F, four digits.
FIGURE_1 = {
    ("random", 200_000): "1.966e+18",
    ("random", 5_800_000): "1.966e+18",
    ("balanced", 200_000): "1.966e+18",
    ("balanced", 5_800_000): "1.966e+18",
    ("embed_gtr", 200_000): "2.056e+18",
    ("embed_gtr", 5_800_000): "4.579e+18",
    ("embed_nv", 200_000): "8.520e+18",
    ("embed_nv", 5_800_000): "1.920e+20",
    ("top_ppl", 200_000): "8.520e+18",
    ("top_ppl", 5_800_000): "1.920e+20",
    ("mid_ppl", 200_000): "8.520e+18",
    ("mid_ppl", 5_800_000): "1.920e+20",
    ("rds_plus", 200_000): "8.520e+18",
    ("rds_plus", 5_800_000): "1.920e+20",
    ("ifd", 200_000): "1.517e+19",
    ("ifd", 5_800_000): "1.987e+20",
}
FIGURE_3 = {
    10_000: ("1.966e+18", "1.920e+20"),
    25_000: ("4.915e+18", "1.950e+20"),
    50_000: ("9.830e+18", "1.999e+20"),
    100_000: ("1.966e+19", "2.097e+20"),
    180_000: ("3.539e+19", "2.254e+20"),
    326_000: ("6.409e+19", "2.541e+20"),
    700_000: ("1.376e+20", "3.277e+20"),
    1_200_000: ("2.359e+20", "4.260e+20"),
    1_500_000: ("2.949e+20", "4.850e+20"),
    2_500_000: ("4.915e+20", "6.816e+20"),
}


@pytest.fixture
def the_papers_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plotting code's N: 8e9 for the 7B model and for NV, 110e6 for GTR."""
    sizes = {"sentence-transformers/gtr-t5-base": 110_000_000}
    for name in ("decoder", "encoder"):
        counted = getattr(models, name)

        def with_size(path: str, *more: object, counted=counted):
            return replace(counted(path, *more), parameters=sizes.get(path, 8_000_000_000))

        monkeypatch.setattr(f"harness.plan.work.{name}", with_size)


@pytest.mark.usefixtures("the_papers_sizes")
def test_every_point_of_figure_1() -> None:
    methods = ",".join(dict.fromkeys(method for method, _ in FIGURE_1))
    sweep = planned(
        "-m", f"method={methods}", "pool.size=200000,5800000", "budget=10000", *PAPER
    )  # fmt: skip
    found = {
        (run.words["method"], run.words["pool"]): f"{run.flops(*SELECT, 'train', paper=True):.3e}"
        for run in sweep.runs
    }
    assert found == FIGURE_1


def test_less_in_figure_1() -> None:
    """Its formula has no counterpart among stages: three passes, and four epochs on the picks."""
    n = 8e9
    assert f"{paper_train(n, 200_000, 3) + paper_train(n, 10_000, 4):.3e}" == "6.291e+19"
    assert f"{paper_train(n, 5_800_000, 3) + paper_train(n, 10_000, 4):.2e}" == "1.71e+21"


@pytest.mark.usefixtures("the_papers_sizes")
def test_every_point_of_figure_3() -> None:
    budgets = ",".join(map(str, FIGURE_3))
    words = ["-m", "method=random,rds_plus", "pool.size=5800000", f"budget={budgets}", *PAPER]
    found: dict[int, list[str]] = {}
    for run in planned(*words).runs:
        price = run.flops(*SELECT, "train", paper=True)
        found.setdefault(run.words["budget"], []).append(f"{price:.3e}")
    assert {budget: tuple(prices) for budget, prices in found.items()} == FIGURE_3
    (whole,) = planned("method=full_pool", "pool.size=5800000", *PAPER).runs
    assert f"{whole.flops('train', paper=True):.3e}" == "1.140e+21"  # "1.14e21" in part F


def test_a_plan_by_hand() -> None:
    """100 tokens a row: one pass of the body over pool and queries, six forwards a trained row."""
    sweep = planned(
        "method=rds_plus", "pool.size=1000", "budget=10", "recipe.gradient_checkpointing=false",
        *PAPER, profile=constant(100),
    )  # fmt: skip
    (run,) = sweep.runs
    body = 524_288 * 100**2 + 12_952_010_752 * 100
    assert run.flops("score") == 1000 * body
    assert run.flops("queries") == 4 * body
    assert run.flops("order") == 2 * 1000 * 4 * 4096  # every row with every query
    assert run.flops("train") == 10 * 2 * 3 * (body + 262_144_000 * 100)
    assert sweep.stored["score"] == 1000 * (3 * 4096 * 2 + 4)
    assert run.flops("score", paper=True) == 2 * 6_738_415_616 * 2048 * 1000


def test_what_is_shared_is_spent_once() -> None:
    """Pools nest, budgets share an ordering; a pass with losses leaves poolings."""
    words = ["method=top_ppl,rds_plus", "pool.size=1000,4000", "budget=10,20", *PAPER]
    sweep = planned("-m", *words, profile=constant(100))
    assert (len(sweep.runs), sweep.passes_asked, sweep.passes_done) == (8, 8, 2)
    dear = max(run.flops("score") for run in sweep.runs)
    assert sweep.spent["score"] == pytest.approx(dear)  # 1,000 rows, then the other 3,000
    other = planned(
        "-m", "method=rds_plus,top_ppl", *words[1:], profile=constant(100)
    )  # poolings first: the losses need a pass of their own
    assert other.spent["score"] > 1.9 * dear
    both = planned(
        "-m", "method=rds_plus,top_ppl", *words[1:], "features.with_losses=true",
        profile=constant(100),
    )  # fmt: skip
    assert both.spent["score"] == pytest.approx(dear)
    assert sweep.trainings_done == 8 and sweep.spent["train"] == pytest.approx(
        sum(run.flops("train") for run in sweep.runs)
    )


def test_methods_without_queries_make_one_run_for_all_targets() -> None:
    sweep = planned("-m", "method=random,rds_plus", "target=mmlu,gsm8k", "scale=llama2_7b",
                    "pool.size=1000", "budget=10")  # fmt: skip
    assert (sweep.asked, len(sweep.runs)) == (4, 3)
    assert sweep.passes_asked == 2 and sweep.passes_done == 1


def test_a_pool_of_unknown_size_is_said_to_be_one() -> None:
    words = ["experiment=paper_table2", "method=random", "seed=0"]
    assert "304,989" in planned(*words).notes[0] and "--rows" in planned(*words).notes[0]
    told = plan_sweep(cells(words), read_profile("mixed"), TULU)
    assert told.runs[0].words["pool"] == TULU and not told.notes
    assert not planned(*words, f"pool.size={TULU}").notes


def test_rows_are_cut_and_labels_with_them() -> None:
    sample = Sample(np.array([[50, 10, 49, 30, 1], [3000, 100, 2999, 2900, 1]]), 20)
    read, labels = sample.labelled(2048)
    assert read.tolist() == [49, 2047] and labels.tolist() == [30, 1948]
    assert sample.cut("tokens", 2048).tolist() == [50, 2048]
    assert sample.weight == 10 and sample.longest(0.5).table[0, 0] == 3000


def test_length_trains_on_the_longest() -> None:
    found = planned("-m", "method=random,length", "pool.size=100000", "budget=1000", *PAPER)
    random, longest = (run.flops("train") for run in found.runs)
    assert longest > 3 * random


def test_a_method_without_a_plan_is_named(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "examples" / "own_method"
    assert folder.is_dir()
    from methods.base import RowMethod

    class Silent(RowMethod):
        needs_model = True

        def scores(self, context):
            return np.zeros(1)

    (first,) = cells(["method=random", "pool.size=100", "budget=5"])
    silent = first.model_copy(update={"method": Silent(name="silent")})
    sweep = plan_sweep([silent], read_profile("micro"), None)
    assert not sweep.runs[0].known and "silent" in sweep.notes[0]


def test_shipped_counts_are_those_of_the_shipped_shapes() -> None:
    """Parameters as published; for decoders every product once (harness/flops has the tests)."""
    for path, shape in models.shapes().items():
        counted = models.shipped(path)
        assert counted and counted.parameters == shape["parameters"], path
        if models.embeds(path):
            continue
        width, layers, heads = (
            shape[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
        )
        groups = 2 * width * width * (1 + shape["num_key_value_heads"] / heads)
        linear = layers * (groups + 3 * width * shape["intermediate_size"])
        assert counted.body == Polynomial(4 * layers * width, int(2 * linear), 0), path
        assert counted.head == Polynomial(0, 2 * width * shape["vocab_size"], 0), path
        # All weights under checkpointing: the layers' forward once more, but for each one's last
        # product, whose result nothing needs unless a norm follows it (OLMo 2); the head's never.
        last = 0 if shape["model_type"] == "olmo2" else 2 * layers * width
        last = Polynomial(0, last * shape["intermediate_size"], 0)
        step = counted.body * 4 + counted.head * 3 - last
        assert counted.steps[recipe_key(None, True)] == step, path
        adapters = {key for key, step in counted.steps.items() if json.loads(key)[0]}
        assert len(adapters) > 1 and len(counted.adapters) > 1, path


@pytest.mark.slow
def test_shipped_counts_of_the_embedded_model() -> None:
    counted, known = model_flops(models.architecture("micro")), models.shipped("micro")
    assert known and (counted.body, counted.head) == (known.body, known.head)
    assert counted.parameters == known.parameters


@pytest.mark.slow
@pytest.mark.parametrize("path", [*MODELS, *models.shapes()])
def test_shipped_counts_are_what_is_counted(path: str) -> None:
    """``python -m harness.plan.counts`` writes the file."""
    from harness.plan.counts import count

    assert models.packed(count(path)) == models._counts()[path]


def test_a_plan_of_shipped_models_imports_no_torch() -> None:
    code = (
        "import sys; from harness.plan.__main__ import main; "
        "assert main(['experiment=paper_table1', '--json', 'seed=0', 'target=mmlu']) == 0; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["runs"]) == 10


def test_shipped_profiles_say_what_they_are() -> None:
    for name in names():
        profile = read_profile(name)
        assert len(profile.source) > 40 and profile.error < 0.025
        assert set(profile.queries) == set(profile.items) and len(profile.items) == 7
        tokens, prompt, read, labels, turns = profile.rows.T
        assert (prompt <= tokens + 1).all() and (read < tokens).all() and (labels < tokens).all()
        assert ((turns > 0) == (labels > 0)).all()


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    profile = constant(30)
    profile.write(tmp_path / "p.json")
    again = read_profile(str(tmp_path / "p.json"))
    assert np.array_equal(again.rows, profile.rows) and again.header == 5
    with pytest.raises(ProfileError, match=r"no shipped profile; those are .*micro"):
        read_profile("nowhere")
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ProfileError, match="no length profile"):
        read_profile(str(tmp_path / "p.json"))


def test_hours() -> None:
    assert Hardware("x", 100.0, 1, "s").hours(100e12 * 3600, 0.5) == 2
    assert devices()["h100_sxm"].tflops == pytest.approx(989.4)


def test_the_table_puts_seeds_together_and_cuts_no_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from harness.plan.__main__ import main

    assert main(["experiment=paper_table2", "scale=micro", "method=random,ifd", "seed=0,1,2"]) == 0
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["random"], ["ifd"])]
    assert [(row[0], row[1]) for row in rows] == [("random", "3"), ("ifd", "3")]
    assert "means over seeds" in text and "…" not in text
    assert all(float(number) >= 0 for row in rows for number in row[1:])


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.plan.__main__ import main

    assert main(["-m", "method=random,rds_plus", "budget=64", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [run["method"] for run in plan["runs"]] == ["random", "rds_plus"]
    assert main(["-m", "method=random,rds_plus", "budget=64"]) == 0
    assert "saved by sharing" in capsys.readouterr().out
    assert main(["method=nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert main(["--hardware", "abacus"]) == 2
    assert "h100_sxm" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method",
    [
        "top_ppl",
        "rds_plus",
        pytest.param("ifd", marks=pytest.mark.slow),
        pytest.param("less_micro", marks=pytest.mark.slow),
    ],
)
def test_the_plan_is_what_the_ledger_says(
    method: str, micro_model, world: Path, tmp_path: Path
) -> None:
    """With the lengths of all rows the plan's selection is the ledger's, FLOP by FLOP."""
    from harness.ordering import order
    from harness.plan.measure import measure
    from harness.pool import prepare

    words = ["pool.size=40", "budget=40", "suite.limit=2", f"pool.path={world / 'pool'}"]
    words += [f"suite.data={world / 'benchmarks'}", f"model.path={micro_model.path}"]
    words += [f"store={tmp_path}", "progress=false", f"method={method}"]
    (settings,) = cells(words)
    profile = measure(settings, "all", 40)
    assert profile.error == 0
    run = plan_sweep([settings], profile, None).runs[0]
    store = Store(settings.store)
    pool = prepare(settings.pool, store, progress=False)
    costs = order(settings, store, pool, 40).costs
    for stage in SELECT:
        ledger = sum(cost.flops for cost in costs if cost.stage == stage)
        # IFD alone knows no lengths of the turns of a row: it takes them as equal
        exact = pytest.approx(ledger, rel=0.02 if method == "ifd" else 1e-12)
        if stage != "warmup":  # of which rows drawn by chance are trained on
            assert run.flops(stage) == exact, stage
        paper = sum(cost.flops_paper for cost in costs if cost.stage == stage)
        assert run.flops(stage, paper=True) == pytest.approx(paper), stage
