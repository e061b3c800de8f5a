"""IFD against plain loops of one sample and values by hand, and what it may never do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness import ordering
from harness.answer_loss import answer_losses, assistant_header
from harness.artifacts import Store
from harness.chat import TemplateError
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.flops import model_flops, paper_forward
from harness.model import ModelConfig
from harness.pool import Pool
from harness.training import Lora, Recipe
from methods.ifd import IFD, pick
from tests.conftest import MakePool, conversation

WORDS = ["river", "stone", "cloud", "apple", "seven", "green", "night", "paper", "wheel", "honey"]


def context(pool: Pool, store: Store, model: ModelConfig, seed: int = 0, **more: Any) -> Context:
    settings = FeatureSettings(
        **{"rows_per_range": 16, "max_length": 96, "max_tokens": 512, **more}
    )
    features = Features(store, pool, LoadedModel(model), settings, progress=False)
    return Context(pool, [], seed, pool.size, features)


def method(**more: Any) -> IFD:
    recipe = Recipe(
        name="p", epochs=1, batch_size=4, micro_batch_size=4, learning_rate=1e-3, max_length=96,
        precision="fp32",
    )  # fmt: skip
    return IFD(**{"name": "ifd", "clusters": 3, "per_cluster": 4, "recipe": recipe, **more})


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        said = " ".join(rng.choice(WORDS, 6))
        answer = said if i % 2 else " ".join(rng.choice(WORDS, 6))
        rows.append({"id": f"{i:02}", "messages": conversation(f"Repeat: {said}", answer)})
    rows.append({"id": "long", "messages": conversation("word " * 200, "never seen")})
    rows.append({"id": "cut", "messages": conversation("Count", "one two three " * 60)})
    rows.append({"id": "turns", "messages": conversation("Hi", "Yes?", "Name a river", "Nile")})
    return make_pool(rows)


def plain(model: Any, tokenizer: Any, pieces: list[tuple[str, bool]]) -> tuple[float, int]:
    """Summed loss and number of the counted pieces' tokens, by transformers' own loss."""
    ids, labels = [tokenizer.bos_token_id], [-100]
    for text, counted in pieces:
        part = tokenizer(text, add_special_tokens=False).input_ids
        ids += part
        labels += part if counted else [-100] * len(part)
    count = sum(label >= 0 for label in labels)
    with torch.no_grad():
        found = model(torch.tensor([ids]), labels=torch.tensor([labels]))
    return found.loss.item() * count, count


def test_both_losses_by_a_plain_loop_over_several_turns(micro_model: ModelConfig) -> None:
    chat, model = micro_model.load_chat(), micro_model.load()
    rows = [
        conversation("What is 3 and 4?", "It is 7."),
        [
            {"role": "system", "content": "Be brief."},
            *conversation("Hi", "Yes?", "A river", "Nile"),
        ],
    ]
    found = answer_losses(
        model, chat, rows, max_length=96, max_tokens=64, flops=model_flops(model.config)
    )
    head = "<|assistant|>\n"
    whole = [
        [("<|user|>\nWhat is 3 and 4?\n" + head, False), ("It is 7.</s>", True)],
        [
            ("<|system|>\nBe brief.\n<|user|>\nHi\n" + head, False),
            ("Yes?</s>", True),
            ("\n<|user|>\nA river\n" + head, False),
            ("Nile</s>", True),
        ],
    ]
    for index, pieces in enumerate(whole):
        loss, count = plain(model, chat.tokenizer, pieces)
        assert found.tokens[index] == count
        assert found.conditioned[index] == pytest.approx(loss, rel=1e-4)
        alone = [
            plain(model, chat.tokenizer, [(head, False), (text, True)])
            for text, counted in pieces
            if counted
        ]
        assert sum(part[1] for part in alone) == count
        assert found.alone[index] == pytest.approx(sum(part[0] for part in alone), rel=1e-4)


def test_a_batch_changes_nothing_and_long_rows_are_left_out(
    pool: Pool, micro_model: ModelConfig
) -> None:
    chat, model = micro_model.load_chat(), micro_model.load()
    flops = model_flops(model.config)
    rows = [row.messages for row in pool.rows(range(pool.size))]
    told: list[tuple[int, int]] = []
    given: dict[str, Any] = {"max_length": 96, "flops": flops}
    one = answer_losses(
        model, chat, rows, max_tokens=10_000, on_batch=lambda *a: told.append(a), **given
    )
    two = answer_losses(model, chat, rows, max_tokens=1, **given)
    np.testing.assert_allclose(one.conditioned, two.conditioned, rtol=1e-5)
    np.testing.assert_allclose(one.alone, two.alone, rtol=1e-5)
    assert {pool.ids([i])[0] for i in np.flatnonzero(one.tokens == 0)} == {"long", "cut"}
    assert sum(n for n, _ in told) == len(rows) and sum(t for _, t in told) == one.read.sum()
    # a row of one turn: two passes, the head on the answer alone
    chosen = next(i for i in range(pool.size) if pool.ids([i]) == ["00"])
    length = len(chat.encode([rows[chosen]], 96)[0].ids)
    alone = 1 + len(assistant_header(chat)) + int(one.tokens[chosen])
    expected = flops.body([length, alone]) + 2 * int(one.tokens[chosen]) * flops.head(1)
    assert one.read[chosen] == length + alone and one.flops[chosen] == pytest.approx(expected)


def test_a_template_without_a_header_is_refused(micro_model: ModelConfig) -> None:
    bare = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    chat = micro_model.model_copy(update={"chat_template": bare}).load_chat()
    with pytest.raises(TemplateError, match="no assistant header"):
        assistant_header(chat)


def test_the_ordering_falls_from_one_and_copies_come_last(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    found = method().order(given)
    scores = method().scores(given)
    assert found.scores[0] <= 1 and np.all(np.diff(found.scores) <= 0)
    dropped = set(range(pool.size)) - set(found.positions.tolist())
    assert dropped == set(np.flatnonzero(~(scores <= 1)).tolist())
    assert {"long", "cut"} <= set(pool.ids(sorted(dropped)))
    ids = pool.ids(range(pool.size))
    copied = [scores[i] for i, name in enumerate(ids) if name.isdigit() and int(name) % 2]
    other = [scores[i] for i, name in enumerate(ids) if name.isdigit() and not int(name) % 2]
    assert np.median(copied) < np.median(other)  # the prompt gives the answer away

    # the scores are those of the pre-experienced model, not of the base model
    warm = given.warm_up(method().pre_experience(given), method().recipe, name="ifd")
    for place in (ids.index("03"), ids.index("turns")):
        row = [pool.rows([place])[0].messages]
        chat, flops = micro_model.load_chat(), model_flops(micro_model.load_config())
        both = [
            answer_losses(model, chat, row, max_length=96, max_tokens=64, flops=flops)
            for model in (warm.load(), micro_model.load())
        ]
        trained, base = (float(part.conditioned[0] / part.alone[0]) for part in both)
        assert scores[place] == pytest.approx(trained, rel=1e-4)
        assert abs(base - trained) > 1e-3


def test_the_ratio_of_perplexities_drops_the_same_rows(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    loss = method().scores(given)
    conditioned, alone, tokens = method()._losses(
        given, given.warm_up(method().pre_experience(given), method().recipe, name="ifd")
    )
    perplexity = method(ratio="perplexity").scores(given)
    assert len(list((store.root / "warmup").iterdir())) == 1  # both from one training and one pass
    assert np.array_equal(loss <= 1, perplexity <= 1)
    some = int(np.flatnonzero(tokens)[0])
    by_hand = np.exp(conditioned[some] / tokens[some]) / np.exp(alone[some] / tokens[some])
    assert perplexity[some] == pytest.approx(by_hand)


def test_pick_by_hand() -> None:
    # cluster 0: 21 rows of perplexity 0..20, so the band is 5..15: 11 rows, stride 11 // 3 = 3
    # cluster 1: 5 rows, band 1..3 of 0..4: 3 rows, stride 1; cluster 2: 2 rows, fewer than 3: both
    cluster = np.array([0] * 21 + [1] * 5 + [2] * 2)
    perplexity = np.array([*range(21), 4, 3, 2, 1, 0, 9, 9], dtype=float)
    found = pick(cluster, perplexity, 3, 25, 75)
    assert found.tolist() == [5, 8, 11, 22, 23, 24, 26, 27]
    # 4 rows asked: the band of cluster 1 has 3, fewer, so all of them
    assert pick(cluster, perplexity, 4, 25, 75).tolist() == [5, 7, 9, 11, 22, 23, 24, 26, 27]


def test_clusters_are_capped_and_the_first_rows_decide(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    few = method(pre_experience_rows=9, clusters=100).pre_experience(given)
    assert len(few) and len(np.unique(few)) == len(few) and few.max() < 9
    (cost,) = given.costs
    assert (cost.stage, cost.rows) == ("score", 9)

    small = context(Pool(_artifact(pool), 20), store, micro_model)
    large = context(pool, store, micro_model)
    chosen = [method(pre_experience_rows=20).pre_experience(g).tolist() for g in (small, large)]
    assert chosen[0] == chosen[1]  # a larger pool reuses the model of the smaller


def _artifact(pool: Pool) -> Any:
    import json
    from pathlib import Path

    from harness.artifacts import MANIFEST, Artifact

    info = json.loads(Path(pool.path / MANIFEST).read_text())["info"]
    return Artifact(pool.path, info, found=True, reused=True)


def test_the_bill_has_the_embedding_the_training_and_the_scoring(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    lora = method(pre_experience_rows=16).recipe.model_copy(
        update={"lora": Lora(r=2, lora_alpha=4, lora_dropout=0.0)}
    )
    method(pre_experience_rows=16, recipe=lora).order(given)
    n = model_flops(micro_model.load_config()).parameters
    bill = [(cost.stage, cost.rows, cost.flops_paper) for cost in given.costs]
    (embedding, warmup, scoring) = bill
    assert embedding == ("score", 16, paper_forward(n, 16))
    assert warmup[0] == "warmup" and warmup[2] == 3 * paper_forward(n, warmup[1])
    assert scoring == ("score", pool.size, paper_forward(n, pool.size))
    assert all(cost.flops > 0 and not cost.reused for cost in given.costs)
    again = context(pool, Store(store.root), micro_model)
    method(pre_experience_rows=16, recipe=lora).order(again)
    assert all(cost.reused for cost in again.costs)
    assert [c.flops for c in again.costs] == [c.flops for c in given.costs]


def test_nothing_left_is_an_error(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    pool = make_pool(
        [{"id": str(i), "messages": conversation("Count", f"{i} one two " * 60)} for i in range(4)]
    )
    with pytest.raises(ValueError, match=r"features\.max_length or has an IFD above 1"):
        method().order(context(pool, store, micro_model))


def test_identity_and_label_leave_out_what_changes_nothing() -> None:
    one = method()
    other = method(recipe=one.recipe.model_copy(update={"name": "x", "checkpoint_minutes": 1.0}))
    assert one.identity() == other.identity()
    slower = method(recipe=one.recipe.model_copy(update={"learning_rate": 1e-5}))
    assert one.identity() != slower.identity()
    assert one.label == "ifd[clusters=3,per_cluster=4]"


def test_a_budget_beyond_what_is_ranked_is_told_and_the_record_has_the_true_number(
    pool: Pool, store: Store, micro_model: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = SimpleNamespace(
        method=method(),
        selector=micro_model,
        features=FeatureSettings(max_length=96),
        seed=0,
        progress=False,
    )
    found = ordering.order(settings, store, pool, pool.size)
    left = len(found.positions)
    assert 0 < left <= pool.size - 2
    assert f"ifd ranks {left} of 43 rows: they are all that a budget of 43 trains on" in caplog.text
    assert found.selection(pool, pool.size).rows == left
    caplog.clear()
    ordering.order(settings, store, pool, left)
    assert not caplog.text
